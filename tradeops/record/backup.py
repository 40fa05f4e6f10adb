"""Backups of the operator's state: one archive, every file's digest in it, restored only whole and only into an empty place (O08)."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from tradeops.base.digest import digest_bytes, digest_file
from tradeops.base.durable import fsync_dir
from tradeops.base.errors import Refused, UsageError
from tradeops.contracts.codec import decode, encode
from tradeops.contracts.layout import OperatorLayout
from tradeops.record.audit import Audit
from tradeops.record.chain import verify_chain

SCHEMA = "tradeops/backup/v1"
TABLE = "backup.json"
_TABLE_BYTES_MAX = 64 << 20
_DAMAGED = (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error)
_LEFT_OUT = ("parcels",)
"""Folders that are made again when needed."""


class BackupFile(msgspec.Struct, frozen=True):
    """One file: path below the state folder, permission bits, size, digest."""

    path: str
    mode: int
    size: int
    digest: str


class BackupTable(msgspec.Struct, frozen=True):
    """What an archive begins with. audit_head, audit_rows: of the chain at that moment."""

    schema: str
    wall_ns: int
    files: tuple[BackupFile, ...]
    audit_rows: int
    audit_head: str


@dataclass(frozen=True)
class BackupReport:
    """What was written or restored. digest: of the table, which names every file: keep it somewhere else."""

    files: int
    bytes: int
    digest: str
    audit_rows: int
    audit_head: str


def make_backup(state: Path, audit: Audit, archive: Path, *, now_ns: int) -> BackupReport:
    """Write everything below `state` into a new `archive`, mode 0600: it holds the CA's key.

    The audit log is held still meanwhile. Raises Refused when its chain is not whole, UsageError (archive is there,
    files that change meanwhile), OSError.
    """
    if archive.exists():
        raise UsageError("there is such a file already", where=str(archive), next="name another; backups are never overwritten")
    with audit.held_still():
        report = verify_chain(audit.path)
        if not report.whole():
            raise Refused(f"the audit log is not whole: {report.problems[0].what}", next="`tradeops audit verify` shows where")
        files = tuple(_scan(state))
        table = BackupTable(SCHEMA, now_ns, files, report.rows, report.head)
        _write(state, archive, table)
    return _report(table)


def restore(archive: Path, into: Path, *, digest: str | None = None) -> BackupReport:
    """Unpack `archive` into the empty or missing folder `into`, every file hashed; all of it or nothing.

    digest: the one noted when the backup was made; None: the archive is trusted for what it says. Raises UsageError
    (not empty, no backup), Refused (altered, or its audit chain is not the one it was), OSError.
    """
    if into.exists() and any(into.iterdir()):
        raise UsageError("the folder is not empty", where=str(into), next="restore into a new folder and move it into place")
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restoring-", dir=into.parent) as making:
        fresh = Path(making) / "state"
        fresh.mkdir(mode=0o700)
        with _open(archive) as tar:
            table = _table(tar, archive)
            if digest is not None and digest_bytes(encode(table)) != digest:
                raise Refused("it is not the backup whose digest was noted", where=str(archive))
            _unpack(tar, table, fresh, archive)
        _check_chain(fresh, table, archive)
        with suppress(FileNotFoundError):
            into.rmdir()
        fresh.rename(into)
    fsync_dir(into.parent)
    return _report(table)


def _scan(state: Path) -> Iterator[BackupFile]:
    for folder, names, files in os.walk(state):
        names[:] = sorted(name for name in names if name not in _LEFT_OUT)
        for name in sorted(files):
            path = Path(folder, name)
            found = path.lstat()
            if name.endswith(".lock") or not stat.S_ISREG(found.st_mode):
                continue
            yield BackupFile(path.relative_to(state).as_posix(), stat.S_IMODE(found.st_mode), found.st_size, digest_file(path))


def _write(state: Path, archive: Path, table: BackupTable) -> None:
    fd, name = tempfile.mkstemp(prefix=f".{archive.name}.", dir=archive.parent)
    try:
        with os.fdopen(fd, "wb") as out:
            with tarfile.open(fileobj=out, mode="w:gz", compresslevel=3) as tar:
                _add(tar, TABLE, 0o600, io.BytesIO(encode(table)), len(encode(table)))
                for file in table.files:
                    with (state / file.path).open("rb") as content:
                        _add(tar, f"state/{file.path}", file.mode, content, file.size)
            out.flush()
            os.fsync(out.fileno())
        _check_written(Path(name), table)
        os.link(name, archive)
    finally:
        Path(name).unlink()
    fsync_dir(archive.parent)


def _add(tar: tarfile.TarFile, name: str, mode: int, content: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, mode
    tar.addfile(member, content)


def _check_written(archive: Path, table: BackupTable) -> None:
    """Read it back: a backup that cannot be restored is none."""
    with _open(archive) as tar, tempfile.TemporaryDirectory(prefix=".checking-", dir=archive.parent) as checking:
        _unpack(tar, _table(tar, archive), Path(checking), archive)
        _check_chain(Path(checking), table, archive)


def _open(archive: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(archive, mode="r:gz")
    except _DAMAGED as error:
        raise UsageError(f"not a backup: {error}", where=str(archive)) from None


def _table(tar: tarfile.TarFile, archive: Path) -> BackupTable:
    try:
        first = tar.next()
        content = tar.extractfile(first) if first is not None and first.name == TABLE and first.size <= _TABLE_BYTES_MAX else None
        data = content.read() if content else b""
    except _DAMAGED as error:
        raise UsageError(f"not a backup: {error}", where=str(archive)) from None
    table = decode(data, BackupTable, source=str(archive))
    if table.schema != SCHEMA:
        raise UsageError(f"a backup of schema {table.schema[:64]!r} is not understood", where=str(archive))
    return table


def _unpack(tar: tarfile.TarFile, table: BackupTable, into: Path, archive: Path) -> None:
    """Exactly the files of the table, in its order. Raises Refused for anything else."""
    for file in table.files:
        parts = file.path.split("/")
        member = _next(tar, archive)
        if member is None or member.name != f"state/{file.path}" or any(part in ("", ".", "..") for part in parts) or "\0" in file.path:
            raise Refused(f"{file.path!r} is not where it should be", where=str(archive), holds="nothing was restored")
        target = into / file.path
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = tar.extractfile(member) if member.isreg() and member.size == file.size else None
        _copy(content, target, file, archive)
    if _next(tar, archive) is not None:
        raise Refused("it holds more than its table says", where=str(archive), holds="nothing was restored")


def _next(tar: tarfile.TarFile, archive: Path) -> tarfile.TarInfo | None:
    try:
        return tar.next()
    except _DAMAGED as error:
        raise Refused(f"the archive is damaged: {error}", where=str(archive), holds="nothing was restored") from None


def _copy(content: IO[bytes] | None, target: Path, file: BackupFile, archive: Path) -> None:
    try:
        with target.open("xb") as out:
            if content is not None:
                shutil.copyfileobj(content, out, 1 << 20)
            out.flush()
            os.fchmod(out.fileno(), file.mode & 0o700)
            os.fsync(out.fileno())
    except _DAMAGED as error:
        raise Refused(f"the archive is damaged: {error}", where=str(archive), holds="nothing was restored") from None
    if digest_file(target) != file.digest:
        raise Refused(f"{file.path} is not what its digest says", where=str(archive), holds="nothing was restored")


def _check_chain(state: Path, table: BackupTable, archive: Path) -> None:
    """The audit chain in it is whole and ends where the table says."""
    path = OperatorLayout(state).audit
    report = verify_chain(path) if path.exists() else None
    if report is None or not report.whole() or (report.rows, report.head) != (table.audit_rows, table.audit_head):
        raise Refused("the audit chain in it is not the one it was", where=str(archive), holds="nothing was restored")


def _report(table: BackupTable) -> BackupReport:
    total = sum(file.size for file in table.files)
    return BackupReport(len(table.files), total, digest_bytes(encode(table)), table.audit_rows, table.audit_head)
