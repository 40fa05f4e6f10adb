"""Backups are restored, not only made: whole, as they were, into an empty place (O08)."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tradeops.base.clock import VirtualClock
from tradeops.base.errors import TradeopsError, UsageError
from tradeops.contracts.layout import OperatorLayout
from tradeops.record.audit import Audit
from tradeops.record.backup import TABLE, make_backup, restore
from tradeops.record.chain import verify_chain


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / ".tradeops"
    for name, text in {
        "policy.json": "{}",
        "tls/ca.key": "a key",
        "releases/blobs/aa/b": "x" * 100_000,
        "releases/parcels/p.z": "p",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "tls" / "ca.key").chmod(0o600)
    (folder / "releases" / "blobs" / "aa" / "b").chmod(0o400)
    with audit_of(folder).pair("deploy", run="run-1"):
        pass
    return folder


def audit_of(folder: Path) -> Audit:
    return Audit(OperatorLayout(folder).audit, clock=VirtualClock(), actor="operator-1")


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_empty_site_is_restored_as_it_was(state: Path, tmp_path: Path) -> None:
    """O08: every file, private ones private, and the chain's head as before; the chain then goes on."""
    made = make_backup(state, audit_of(state), tmp_path / "backup.tar.gz", now_ns=5)
    back = restore(tmp_path / "backup.tar.gz", tmp_path / "new" / ".tradeops", digest=made.digest)
    new = tmp_path / "new" / ".tradeops"
    before = {name: data for name, data in tree(state).items() if not name.endswith(".lock") and "parcels" not in name}
    assert tree(new) == before
    assert back == made
    assert (new / "tls" / "ca.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "backup.tar.gz").stat().st_mode & 0o777 == 0o600
    assert audit_of(new).head() == audit_of(state).head()
    audit_of(new).intent("deploy")
    assert verify_chain(OperatorLayout(new).audit).whole()


def test_nothing_is_overwritten(state: Path, tmp_path: Path) -> None:
    """O08: neither an archive nor a folder with something in it."""
    archive = tmp_path / "backup.tar.gz"
    make_backup(state, audit_of(state), archive, now_ns=5)
    with pytest.raises(UsageError, match="already"):
        make_backup(state, audit_of(state), archive, now_ns=6)
    with pytest.raises(UsageError, match="not empty"):
        restore(archive, state)


def test_a_broken_chain_is_not_backed_up_as_if_it_were_whole(state: Path, tmp_path: Path) -> None:
    """O08, A01: the backup refuses, and leaves nothing behind."""
    path = OperatorLayout(state).audit
    path.write_bytes(path.read_bytes().replace(b"deploy", b"depl0y", 1))
    with pytest.raises(TradeopsError, match="not whole"):
        make_backup(state, audit_of(state), tmp_path / "backup.tar.gz", now_ns=5)
    assert [path.name for path in tmp_path.iterdir()] == [".tradeops"]


def repacked(archive: Path, change: Callable[[tarfile.TarInfo, bytes], list[tuple[str, bytes]]]) -> None:
    """The archive again, each member as `change` says."""
    with tarfile.open(archive) as tar:
        members = [(member, file.read()) for member in tar for file in [tar.extractfile(member)] if file]
    with tarfile.open(archive, "w:gz") as tar:
        for member, data in members:
            for name, content in change(member, data):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


CHANGES: dict[str, Callable[[tarfile.TarInfo, bytes], list[tuple[str, bytes]]]] = {
    "a changed file": lambda member, data: [(member.name, data.replace(b"a key", b"b key"))],
    "a missing file": lambda member, data: [] if "policy" in member.name else [(member.name, data)],
    "an extra file": lambda member, data: [(member.name, data)] + ([("state/zz", b"")] if "policy" in member.name else []),
    "a path that leaves": lambda member, data: [
        (member.name.replace("policy", "../policy"), data.replace(b"policy.json", b"../policy.json"))
    ],
    "a longer file": lambda member, data: [(member.name, data + b"x" if "ca.key" in member.name else data)],
    "another chain": lambda member, data: [(member.name, data.replace(b'"audit_rows":3', b'"audit_rows":4'))],
    "another schema": lambda member, data: [(member.name, data.replace(b"backup/v1", b"backup/v9"))],
    "no table": lambda member, data: [] if member.name == TABLE else [(member.name, data)],
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_altered_archive_restores_nothing(state: Path, tmp_path: Path, name: str) -> None:
    """O08: whatever was done to it, the place stays empty."""
    archive = tmp_path / "backup.tar.gz"
    make_backup(state, audit_of(state), archive, now_ns=5)
    repacked(archive, CHANGES[name])
    with pytest.raises(TradeopsError):
        restore(archive, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".restoring-*"))


def test_a_damaged_or_exchanged_archive_restores_nothing(state: Path, tmp_path: Path) -> None:
    """O08: cut short, not an archive, a flipped byte, or a whole one that is not the one whose digest was noted."""
    archive = tmp_path / "backup.tar.gz"
    made = make_backup(state, audit_of(state), archive, now_ns=5)
    good = archive.read_bytes()
    middle = len(good) // 2
    flipped = good[:middle] + bytes([good[middle] ^ 0xFF]) + good[middle + 1 :]
    for bad in (good[:middle], b"junk", gzip.compress(b"junk"), b"", flipped):
        archive.write_bytes(bad)
        with pytest.raises(TradeopsError):
            restore(archive, tmp_path / "new")
        assert not (tmp_path / "new").exists()
    archive.write_bytes(good)
    with pytest.raises(TradeopsError, match="noted"):
        restore(archive, tmp_path / "new", digest="sha256:" + "0" * 64)
    assert restore(archive, tmp_path / "new", digest=made.digest).files == made.files


def test_a_bad_place_for_the_archive_is_not_the_logs_fault(state: Path, tmp_path: Path) -> None:
    """What fails while the log is held still is told as what it is, and the log can be written again."""
    audit = audit_of(state)
    with pytest.raises(FileNotFoundError):
        make_backup(state, audit, tmp_path / "none" / "b.tar.gz", now_ns=1)
    with audit.pair("deploy", run="run-2"):
        pass
