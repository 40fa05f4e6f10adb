"""What travels to a host's agent: the compressed envelope for `missing`, and one compressed stream of blobs for `receive`."""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from tradeops.base.digest import canonical_json, digest_bytes
from tradeops.base.errors import Refused
from tradeops.contracts.envelope import Envelope

Part = tuple[str, int, Path]
"""(digest, size in bytes, where the content lies)."""

SLICE_BYTES = 32 << 10
_READ_BYTES = 1 << 20
_SIZE = struct.Struct(">Q")
_LEVEL = 3
_PARCELS_KEPT = 16
_making = threading.Lock()


def announcement(envelope: Envelope) -> bytes:
    """zlib of the release's envelope: what `missing` carries."""
    return zlib.compress(msgspec.json.encode(envelope), 6)


def parcel(parts: Sequence[Part], spool: Path) -> tuple[Iterable[bytes], int]:
    """The stream of `parts` and its size: zlib over frames of 32-byte sha256, 8-byte big-endian size, content.

    The size must be known before the first byte leaves, so the stream is made once in `spool` and read from there by
    every host that lacks the same. Every content is hashed on its way. Raises Refused when one is damaged, OSError.
    """
    ordered = sorted(set(parts))
    path = spool / f"{digest_bytes(canonical_json([digest for digest, _, _ in ordered])).removeprefix('sha256:')}.z"
    with _making:
        if not path.exists():
            spool.mkdir(parents=True, exist_ok=True, mode=0o700)
            _drop_old(spool)
            _make(ordered, path)
        else:
            path.touch()
    return _slices(path), path.stat().st_size


def _slices(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(SLICE_BYTES):
            yield chunk


def frames(parts: Iterable[Part]) -> Iterator[bytes]:
    """The stream before compression. Raises Refused when a content is not what its digest and size say."""
    for digest, size, path in parts:
        yield bytes.fromhex(digest.removeprefix("sha256:")) + _SIZE.pack(size)
        hasher, left = hashlib.sha256(), size
        with path.open("rb") as file:
            while chunk := file.read(_READ_BYTES):
                hasher.update(chunk)
                left -= len(chunk)
                yield chunk
        if left != 0 or f"sha256:{hasher.hexdigest()}" != digest:
            raise Refused("the content is not what its digest says", where=str(path), next="delete it and build the release again")


def _make(parts: Sequence[Part], path: Path) -> None:
    making = path.with_name(f".{path.name}.{os.getpid()}")
    press = zlib.compressobj(_LEVEL)
    try:
        with making.open("wb") as out:
            for piece in frames(parts):
                out.write(press.compress(piece))
            out.write(press.flush())
        making.rename(path)
    finally:
        with suppress(FileNotFoundError):
            making.unlink()


def _drop_old(spool: Path) -> None:
    """Keep the newest: a parcel is worth keeping while a run carries it to many hosts, which may lack different things."""
    old = sorted(spool.glob("*.z"), key=lambda path: path.stat().st_mtime_ns)[:-_PARCELS_KEPT]
    for path in old:
        path.unlink(missing_ok=True)
