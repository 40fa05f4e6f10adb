"""The operator's store: signed manifests by release id, file contents by digest. Nothing in it is ever changed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tradeops.base.digest import digest_bytes, digest_file, is_digest, short
from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import Refused, TradeopsError, UsageError
from tradeops.contracts.codec import decode
from tradeops.contracts.entitle import entitled, signed_bytes
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.manifest import File, Manifest
from tradeops.contracts.policy import Policy
from tradeops.release import bundle
from tradeops.release.manifest import check_manifest

ENVELOPE_BYTES_MAX = 64 << 20
_PREFIX_CHARS_MIN = 4
_COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredRelease:
    """A release in the store. id: its digest, as everywhere."""

    id: str
    manifest: Manifest
    envelope: Envelope
    root: Path

    def blob(self, digest: str) -> Path:
        """Where the content of a file lies."""
        return blob_path(self.root, digest)


def blob_path(root: Path, digest: str) -> Path:
    """`blobs/aa/<64 hex>` below the store's root. Raises UsageError for anything but a digest."""
    if not is_digest(digest):
        raise UsageError(f"{digest[:80]!r} is not a digest", where=str(root))
    name = digest.removeprefix("sha256:")
    return root / "blobs" / name[:2] / name


class Store:
    """A folder of releases; made when the first one is put. Fits deploy's port `Releases`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._read: dict[str, StoredRelease] = {}

    def put(self, envelope: Envelope, tree: Path) -> StoredRelease:
        """Keep a signed release whose files lie in `tree`. Raises UsageError when a file is not as the manifest says.

        The envelope comes last, so that what has one is whole.
        """
        release = self._opened(envelope)
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in contents(release.manifest):
            self._put_blob(file, tree / file.path)
        write_atomic(self._envelope_path(release.id), msgspec.json.encode(envelope))
        return release

    def adopt(self, envelope: Envelope) -> StoredRelease:
        """Keep a signed release whose contents are here already, as another release's. Raises Refused naming what is missing or damaged."""
        release = self._opened(envelope)
        if bad := [file.path for file in contents(release.manifest) if not is_whole(release.blob(file.digest), file.digest)]:
            raise Refused(
                f"{len(bad)} files are damaged or missing, as {bad[0]}", where=release.id, next="build or import the release again"
            )
        write_atomic(self._envelope_path(release.id), msgspec.json.encode(envelope))
        return release

    def _opened(self, envelope: Envelope) -> StoredRelease:
        body = signed_bytes(envelope)
        manifest = decode(body, Manifest, source="release")
        check_manifest(manifest)
        return StoredRelease(digest_bytes(body), manifest, envelope, self.root)

    def get(self, reference: str) -> StoredRelease:
        """By id or a unique beginning of it (with or without `sha256:`). Raises UsageError, Refused (altered)."""
        wanted = reference.removeprefix("sha256:").lower()
        found = [name for name in self._names() if name.startswith(wanted)] if len(wanted) >= _PREFIX_CHARS_MIN else []
        if len(found) == 1:
            return self._load(found[0])
        if found:
            raise UsageError(
                f"{reference!r} fits {len(found)} releases", next="give more digits: " + ", ".join(name[:16] for name in found[:5])
            )
        raise UsageError(f"there is no release {reference[:80]!r}", where=str(self.root), next="`tradeops releases list` shows them")

    def list(self) -> Sequence[StoredRelease]:
        """All releases, the newest number of each service first. Raises Refused when one was altered."""
        releases = [self._load(name) for name in self._names()]
        return sorted(releases, key=lambda one: (one.manifest.predicate.service, -one.manifest.predicate.number, one.id))

    def newest(self, service: str, *, below: int | None = None) -> StoredRelease | None:
        """The release of `service` with the highest number, or with the highest one below `below`. Raises as `list`."""
        for one in self.list():
            release = one.manifest.predicate
            if release.service == service and (below is None or release.number < below):
                return one
        return None

    def numbered(self, service: str, number: int) -> StoredRelease | None:
        """The release of `service` with this number. Raises as `list`."""
        found = self.newest(service, below=number + 1)
        return found if found and found.manifest.predicate.number == number else None

    def authors(self, release: str, policy: Policy) -> tuple[str, ...]:
        """Who signed it, by their names in the policy. Raises SignatureInvalid, Refused; as `get`."""
        return entitled(policy, "release", self.get(release).envelope, Purpose.RELEASE, now_ns=None, host=None).people

    def manifest(self, release: str) -> Manifest:
        """The manifest by id. Raises as `get`."""
        return self.get(release).manifest

    def announcement(self, release: str) -> bytes:
        """The body of the agent's `missing`. Raises as `get`."""
        return bundle.announcement(self.get(release).envelope)

    def parcel(self, release: str, missing: Sequence[str]) -> tuple[Iterable[bytes], int]:
        """The body of the agent's `receive` and its whole size; the same for every host that lacks the same.

        Raises Refused when a host asks for what is not the release's, or a blob here is damaged.
        """
        stored = self.get(release)
        sizes = {file.digest: file.size for file in contents(stored.manifest)}
        if foreign := [digest for digest in missing if digest not in sizes]:
            raise Refused(f"the host asks for {foreign[0][:80]!r}, which is no part of {short(stored.id)}")
        return bundle.parcel([(digest, sizes[digest], stored.blob(digest)) for digest in missing], self.root / "parcels")

    def _names(self) -> Sequence[str]:
        try:
            return sorted(path.stem for path in (self.root / "envelopes").iterdir() if path.suffix == ".json" and len(path.stem) == 64)
        except FileNotFoundError:
            return []

    def _envelope_path(self, release: str) -> Path:
        folder = self.root / "envelopes"
        folder.mkdir(exist_ok=True)
        return folder / f"{release.removeprefix('sha256:')}.json"

    def _load(self, name: str) -> StoredRelease:
        if name in self._read:
            return self._read[name]
        path = self.root / "envelopes" / f"{name}.json"
        envelope = decode(read_bounded(path, ENVELOPE_BYTES_MAX), Envelope, source=str(path))
        body = signed_bytes(envelope)
        if digest_bytes(body) != f"sha256:{name}":
            raise Refused("the release is not the one its name says", where=str(path), next="delete it and build or fetch it again")
        manifest = decode(body, Manifest, source=str(path))
        check_manifest(manifest)
        self._read[name] = StoredRelease(f"sha256:{name}", manifest, envelope, self.root)
        return self._read[name]

    def _put_blob(self, file: File, source: Path) -> None:
        """Contents are not flushed one by one: each is hashed wherever it is used, and putting it again mends it."""
        path = blob_path(self.root, file.digest)
        if path.exists() and digest_file(path) == file.digest:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            copy_checked(source, path, file.digest)
        except OSError as error:
            raise UsageError(f"cannot be kept: {error.strerror or error}", where=str(source), holds="the release was not made") from None


def contents(manifest: Manifest) -> Iterator[File]:
    """A file for every content that lies in the store: each digest once, links left out (the manifest holds them whole)."""
    seen: set[str] = set()
    for file in manifest.predicate.files:
        if file.link is None and file.digest not in seen:
            seen.add(file.digest)
            yield file


def is_whole(path: Path, digest: str) -> bool:
    """Whether a content is there and has that digest."""
    try:
        return digest_file(path) == digest
    except (OSError, TradeopsError):
        return False


def copy_checked(source: Path, target: Path, digest: str) -> None:
    """Copy a file whose content must have `digest`; all or nothing, read-only. Raises UsageError when it has not, OSError."""
    hasher = hashlib.sha256()
    fd, name = tempfile.mkstemp(prefix=".putting-", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as out, source.open("rb") as file:
            while chunk := file.read(_COPY_BYTES):
                hasher.update(chunk)
                out.write(chunk)
            os.fchmod(out.fileno(), 0o400)
        if f"sha256:{hasher.hexdigest()}" != digest:
            raise UsageError("the file changed while it was read", where=str(source), next="build again when nothing writes there")
        Path(name).rename(target)
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()
