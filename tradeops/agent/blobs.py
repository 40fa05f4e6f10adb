"""Content-addressed files: what a release lacks, and taking it in. What is half-written never gets a name."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from io import FileIO
from pathlib import Path
from typing import Any

from . import offer
from .errors import AgentError, bad_request, from_os_error
from .files import hash_file, parse_object, sweep, write_all
from .hostfile import Context
from .wire import Body

ENVELOPE_BYTES_MAX = 64 << 20
_FRAME = struct.Struct(">32sQ")
_CHUNK_BYTES = 1 << 18
_PARTIAL = ".partial-"


def missing(context: Context, body: Body) -> dict[str, Any]:
    """Take the release envelope, check who signed it, and say which of its files this host lacks, re-hashing what it has."""
    envelope = parse_object(_inflate(body), "the release envelope")
    manifest = offer.take(context, envelope)
    sweep(context.layout.blobs, _PARTIAL)
    wanted = {file.digest: file.size for file in manifest.files if file.link is None}
    lacking = {digest: size for digest, size in wanted.items() if not _whole(context.layout.blob(digest), digest, size)}
    return {"release": manifest.id, "missing": sorted(lacking), "bytes": sum(lacking.values())}


def receive(context: Context, body: Body) -> dict[str, Any]:
    """Take blobs that an offered release lacks. Raises AgentError (digest, bad_request, disk_full, read_only), PeerGone."""
    intake = _Intake(context)
    unpack = zlib.decompressobj()
    try:
        while compressed := body.read():
            while compressed:
                intake.feed(unpack.decompress(compressed, _CHUNK_BYTES))
                compressed = unpack.unconsumed_tail
        intake.feed(unpack.flush())
        if not unpack.eof or unpack.unused_data:
            raise bad_request("the stream of blobs does not end where its compression does")
        intake.finish()
    except zlib.error as error:
        raise bad_request(f"the stream of blobs is not zlib: {error}") from None
    except OSError as error:
        raise from_os_error(error) from None
    finally:
        intake.abandon()
    return {"stored": intake.stored}


class _Intake:
    """Cuts the unpacked stream into frames and names each file only when its bytes are all there and right."""

    def __init__(self, context: Context) -> None:
        self._layout = context.layout
        self._wanted = offer.wanted(context)
        self._buffer = b""
        self._digest = ""
        self._left = 0
        self._hasher = hashlib.sha256()
        self._file: FileIO | None = None
        self._partial = context.layout.blobs / f"{_PARTIAL}{os.getpid()}-0"
        self.stored = 0

    def feed(self, data: bytes) -> None:
        """The next unpacked bytes."""
        data = self._buffer + data
        self._buffer = b""
        at = 0
        while at < len(data):
            if self._file is None:
                if len(data) - at < _FRAME.size:
                    self._buffer = data[at:]
                    return
                self._open(*_FRAME.unpack_from(data, at))
                at += _FRAME.size
            taken = data[at : at + self._left]
            self._write(taken)
            at += len(taken)

    def finish(self) -> None:
        """Nothing may be left open at the end."""
        if self._file is not None or self._buffer:
            raise bad_request("the stream of blobs ends in the middle of one")

    def abandon(self) -> None:
        """Forget a half-written file."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._partial.unlink(missing_ok=True)

    def _open(self, raw_digest: bytes, size: int) -> None:
        self._digest = f"sha256:{raw_digest.hex()}"
        if self._wanted.get(self._digest) != size:
            raise bad_request(f"{self._digest} of {size} bytes is of no release that was offered here")
        self._left = size
        self._hasher = hashlib.sha256()
        self._file = self._partial.open("wb", buffering=0)
        if not size:
            self._write(b"")

    def _write(self, data: bytes) -> None:
        file = self._file
        if file is None:
            return
        write_all(file, data)
        self._hasher.update(data)
        self._left -= len(data)
        if self._left:
            return
        file.close()
        self._file = None
        if f"sha256:{self._hasher.hexdigest()}" != self._digest:
            self._partial.unlink()
            raise AgentError(
                "digest",
                f"what came as {self._digest} is something else",
                next="run it again; if it recurs, the path to the host alters data",
            )
        path = self._layout.blob(self._digest)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._partial.chmod(0o400)
        self._partial.replace(path)
        self.stored += 1


def _whole(path: Path, digest: str, size: int) -> bool:
    """Whether the blob is there with the right bytes: a damaged one is fetched again."""
    try:
        if path.stat().st_size != size:
            return False
        return hash_file(path) == digest
    except OSError:
        return False


def _inflate(body: Body) -> bytes:
    """The whole body, unpacked and bounded. Raises AgentError (bad_request)."""
    unpack = zlib.decompressobj()
    out = bytearray()
    try:
        while compressed := body.read():
            out += unpack.decompress(compressed, ENVELOPE_BYTES_MAX + 1 - len(out))
            if len(out) > ENVELOPE_BYTES_MAX:
                raise bad_request(f"the envelope is larger than {ENVELOPE_BYTES_MAX} bytes")
    except zlib.error as error:
        raise bad_request(f"the envelope is not zlib: {error}") from None
    if not unpack.eof:
        raise bad_request("the envelope is cut short")
    return bytes(out)
