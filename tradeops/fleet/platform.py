"""The platform release of a fleet: agent, guard and their libraries, described and signed like any release.

Its tree: `agent/` (standard library alone), `lib/` (locked libraries and the guard's rooms), `guard.py` (launcher).
"""

from __future__ import annotations

import gzip
import io
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tradeops.base.digest import canonical_json, digest_bytes, digest_file, short
from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import SignatureInvalid, TradeopsError, UsageError
from tradeops.contracts.codec import decode, encode
from tradeops.contracts.entitle import signed_bytes
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.manifest import PREDICATE_TYPE, STATEMENT_TYPE, File, Manifest, PythonAbi, Release, Start, Subject
from tradeops.contracts.signature import Signer, verify

SERVICE = "platform"
GUARD_LAUNCHER = "guard.py"
_MODE = 0o644
_ENVELOPE_BYTES_MAX = 64 << 20
_ENVELOPE, _TREE = "envelope.json", "tree"
_PACKAGE = Path(__file__).resolve().parent.parent
_ROOMS = ("agent", "base", "contracts", "wire", "guard")

Tree = Callable[[Path], None]
"""Fills a new folder with the platform's tree: release.daemon.platform_tree with its ingredients."""


@dataclass(frozen=True)
class Platform:
    """A built platform. folder: its tree on the operator's machine."""

    id: str
    envelope: Envelope
    manifest: Manifest
    folder: Path

    @property
    def number(self) -> int:
        """Its place among the platforms of the fleet."""
        return self.manifest.predicate.number

    @property
    def source(self) -> str:
        """The key that it was built from."""
        return str(self.manifest.predicate.provenance.get("source"))

    def signed_by(self, signer: Signer) -> bool:
        """Whether `signer` has signed it. A signature that does not hold counts for nothing."""
        return any(_signing_key(signature.armored, self.envelope.body()) == signer.public_line for signature in self.envelope.signatures)

    def part(self, digest: str) -> tuple[str, int, Path]:
        """(digest, size, path) of one file, as a bundle wants it. Raises UsageError when no file has that digest."""
        for file in self.manifest.predicate.files:
            if file.digest == digest:
                return digest, file.size, self.folder / file.path
        raise UsageError(f"the platform has no file {short(digest)}", where=self.id)

    def archive(self) -> bytes:
        """A gzipped tar of the tree, the same bytes each time: what enrolment sends. Raises OSError."""
        out = io.BytesIO()
        with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=3, mtime=0) as press, tarfile.open(fileobj=press, mode="w|") as tar:
            for file in self.manifest.predicate.files:
                member = tarfile.TarInfo(file.path)
                member.size, member.mode = file.size, file.mode
                with (self.folder / file.path).open("rb") as content:
                    tar.addfile(member, content)
        return out.getvalue()


def source_key(lock: Path, python: PythonAbi, package: Path = _PACKAGE) -> str:
    """Digest of everything a platform is made from: the lock of its libraries, our sources, the interpreter. Raises OSError."""
    sources = [path for room in _ROOMS for path in sorted((package / room).rglob("*.py"))]
    parts = [(path.relative_to(package).as_posix(), digest_file(path)) for path in sources]
    return digest_bytes(canonical_json([digest_file(lock), msgspec.to_builtins(python), parts]))


def build_platform(tree: Tree, signer: Signer, *, key: str, python: PythonAbi, folder: Path, number: int | None = None) -> Platform:
    """Build and sign a platform below `folder` (OperatorLayout.platforms), or take the one of the same `key` and signer there.

    key: of `source_key`.  number: rises with every platform of a fleet (A07); None: one above the newest here.
    Raises what `tree` and `signer` raise, OSError.
    """
    built = [found for path in _folders(folder) for found in [_kept(path)] if found]
    for found in built:
        if found.source == key and found.signed_by(signer) and number in (None, found.number):
            return found
    number = number or max((found.number for found in built), default=0) + 1
    kept = folder / f"{number}-{short(digest_bytes(canonical_json([key, signer.public_line])))}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as making:
        fresh = Path(making) / "platform"
        tree(fresh / _TREE)
        manifest = _manifest(fresh / _TREE, number, python, key)
        body = encode(manifest)
        envelope = Envelope.of(body, signer.sign(body, Purpose.PLATFORM))
        write_atomic(fresh / _ENVELOPE, msgspec.json.encode(envelope), mode=0o644)
        if kept.exists():
            shutil.rmtree(kept)
        fresh.rename(kept)
    return load_platform(kept)


def load_platform(folder: Path) -> Platform:
    """A built platform, its files compared with its manifest. Raises UsageError, OSError."""
    envelope = decode(read_bounded(folder / _ENVELOPE, _ENVELOPE_BYTES_MAX), Envelope, source=str(folder))
    manifest = decode(signed_bytes(envelope), Manifest, source=str(folder))
    if _scan(folder / _TREE) != manifest.predicate.files:
        raise UsageError("the tree is not what was signed", where=str(folder), next="delete the folder; the platform is then built again")
    return Platform(manifest.id(), envelope, manifest, folder / _TREE)


def _signing_key(armored: str, body: bytes) -> str | None:
    try:
        return verify(armored, body, Purpose.PLATFORM)
    except SignatureInvalid:
        return None


def _folders(folder: Path) -> Iterable[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def _kept(folder: Path) -> Platform | None:
    """A platform that is there whole; a damaged one counts for nothing and is built again."""
    try:
        return load_platform(folder)
    except (OSError, TradeopsError):
        return None


def _manifest(tree: Path, number: int, python: PythonAbi, key: str) -> Manifest:
    files = _scan(tree)
    table = digest_bytes(canonical_json(msgspec.to_builtins(files))).removeprefix("sha256:")
    release = Release(
        service=SERVICE,
        version=str(number),
        number=number,
        files=files,
        start=Start(argv=("{python}", "-I", "-B", "{tree}/" + GUARD_LAUNCHER)),
        python=python,
        limits=None,
        provenance={"source": key},
    )
    return Manifest(STATEMENT_TYPE, (Subject(SERVICE, {"sha256": table}),), PREDICATE_TYPE, release)


def _scan(tree: Path) -> tuple[File, ...]:
    return tuple(File(path.relative_to(tree).as_posix(), _MODE, path.stat().st_size, digest_file(path)) for path in _files(tree))


def _files(tree: Path) -> Iterator[Path]:
    """Every file in path order. Raises UsageError for anything that is neither file nor folder."""
    for path in sorted(tree.rglob("*"), key=lambda path: path.relative_to(tree).as_posix()):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            raise UsageError("a platform holds plain files only", where=str(path))
        yield path
