"""A release as one file: built once, carried from one fleet's machine to another's, and never built again for the second (D16)."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path
from typing import IO

import msgspec

from tradeops.base.digest import digest_bytes, short
from tradeops.base.errors import Refused, UsageError
from tradeops.contracts.codec import decode
from tradeops.contracts.entitle import signed_bytes
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.manifest import Manifest
from tradeops.contracts.policy import Policy
from tradeops.release.store import ENVELOPE_BYTES_MAX, Store, StoredRelease, contents
from tradeops.release.verify import verify_envelope, verify_stored

ENVELOPE = "release.json"


def write_archive(stored: StoredRelease, policy: Policy, path: Path) -> None:
    """Write the whole release into a new file: the same bytes from the same release.

    Raises UsageError when there is such a file, Refused when the release is damaged, OSError.
    """
    verify_stored(stored, policy)
    if path.exists():
        raise UsageError("there is such a file already", where=str(path), next="name another")
    with path.open("xb") as file, tarfile.open(fileobj=file, mode="w|") as tar:
        _add(tar, ENVELOPE, len(body := msgspec.json.encode(stored.envelope)), io.BytesIO(body))
        for entry in sorted(contents(stored.manifest), key=lambda entry: entry.digest):
            with stored.blob(entry.digest).open("rb") as blob:
                _add(tar, entry.digest.removeprefix("sha256:"), entry.size, blob)


def read_archive(path: Path, store: Store, policy: Policy, *, digest: str | None = None) -> StoredRelease:
    """Keep the release of an archive, after its signatures and every content were checked by this fleet's policy.

    digest: the id that it must have; None: the archive is trusted for what it holds.

    Raises SignatureInvalid, Refused (not entitled, damaged, or another release than the one that has its number here),
    UsageError (no archive).
    """
    try:
        with tarfile.open(path, mode="r:") as tar, tempfile.TemporaryDirectory(prefix="tradeops-import-") as folder:
            envelope = _envelope(tar, path)
            manifest = verify_envelope(envelope, policy)
            _refuse_another(digest_bytes(signed_bytes(envelope)), digest, path)
            _refuse_rebuilt(digest_bytes(signed_bytes(envelope)), manifest, store, path)
            for entry in contents(manifest):
                target = Path(folder, entry.path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(_member(tar, entry.digest.removeprefix("sha256:"), entry.size, path))
            return store.put(envelope, Path(folder))
    except tarfile.TarError as error:
        raise UsageError(f"not the archive of a release: {error}", where=str(path), next="`tradeops releases export` writes one") from None


def _refuse_another(found: str, wanted: str | None, path: Path) -> None:
    if wanted is not None and found != wanted:
        raise Refused(f"the archive holds {found}, not {wanted} (D16)", where=str(path), holds="the store is as it was")


def _refuse_rebuilt(found: str, manifest: Manifest, store: Store, path: Path) -> None:
    release = manifest.predicate
    taken = store.numbered(release.service, release.number)
    if taken is not None and taken.id != found:
        raise Refused(
            f"number {release.number} of {release.service} is {short(taken.id)} here, and {short(found)} in the archive: "
            "what was built again is another release (D16)",
            where=str(path),
            holds="the store is as it was",
            next="promote the release that was tried, by its digest",
        )


def _envelope(tar: tarfile.TarFile, path: Path) -> Envelope:
    return decode(_member(tar, ENVELOPE, None, path), Envelope, source=str(path))


def _member(tar: tarfile.TarFile, name: str, size: int | None, path: Path) -> bytes:
    """A member's bytes. size: what it must be; None: as it is, bounded. Raises Refused."""
    try:
        member = tar.getmember(name)
    except KeyError:
        raise Refused(f"the archive lacks {name[:12]}", where=str(path), next="export the release again") from None
    data = tar.extractfile(member) if member.isreg() and member.size <= (size or ENVELOPE_BYTES_MAX) else None
    if data is None or (size is not None and member.size != size):
        raise Refused(f"{name[:12]} in the archive is not what the manifest says", where=str(path), next="export the release again")
    return data.read()


def _add(tar: tarfile.TarFile, name: str, size: int, content: IO[bytes]) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    tar.addfile(member, content)
