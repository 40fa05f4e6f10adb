"""The audit chain: one JSON row per line, each holding the hash of the one before, on disk before the act (A01, A03)."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.base.digest import digest_bytes
from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import Refused, TradeopsError, UsageError
from tradeops.contracts.codec import decode, encode
from tradeops.record.row import NOTHING_BEFORE, ROW_BYTES_MAX, Kind, Row, parse_row, presentable, spell

_HEAD_BYTES_MAX = 4096
_TAIL_BYTES = 64 << 10
_LOCK_NS = 5 * NS_PER_S
_LOCK_POLL_S = 0.005


class NotRecorded(Refused):
    """The audit log cannot be written, so what was to be recorded must not happen (A03). Kill does not ask."""

    runbook = "audit-log"


class Head(msgspec.Struct, frozen=True):
    """The newest row. chain: hash of the first row, which names the chain."""

    chain: str
    seq: int
    head: str


def head_file(path: Path) -> Path:
    """Where the writer of the log at `path` notes its newest row: an end that was cut off is found by it."""
    return path.with_name(path.name + ".head")


def noted_head(path: Path) -> Head | None:
    """The head that the writer noted last, None when it noted none. Raises UsageError when the note is damaged, OSError."""
    note = head_file(path)
    try:
        return decode(read_bounded(note, _HEAD_BYTES_MAX), Head, source=str(note))
    except FileNotFoundError:
        return None


@dataclass
class Pair:
    """An intent whose outcome is still to come; set `result` and `detail` before the block ends."""

    intent: int
    result: str = "done"
    detail: dict[str, Any] = field(default_factory=dict)


class Log(Protocol):
    """Where acts are recorded: `Audit`, whose failure stops the act, or `Urgent`, which never does."""

    def intent(self, verb: str, *, run: str | None = None, hosts: Sequence[str] = (), detail: Mapping[str, Any] | None = None) -> int:
        """Record what is about to be done; returns what `outcome` names it by."""
        ...

    def outcome(self, intent: int, result: str, *, detail: Mapping[str, Any] | None = None) -> None:
        """Record what came of it."""
        ...


@contextmanager
def paired(
    log: Log, verb: str, *, run: str | None = None, hosts: Sequence[str] = (), detail: Mapping[str, Any] | None = None
) -> Iterator[Pair]:
    """Intent before the block, outcome after it, whatever ends it."""
    pair = Pair(log.intent(verb, run=run, hosts=hosts, detail=detail))
    try:
        yield pair
    except BaseException as error:
        log.outcome(pair.intent, type(error).__name__, detail={**pair.detail, "error": str(error)})
        raise
    log.outcome(pair.intent, pair.result, detail=pair.detail)


class Audit:
    """One log file. Any number of processes and threads may write to it; each row is flushed to disk before the call returns."""

    def __init__(self, path: Path, *, clock: Clock, actor: str) -> None:
        """actor: the person or job that every row of this object names."""
        self.path = path
        self._clock = clock
        self._actor = actor
        self._open: dict[int, Row] = {}

    def intent(self, verb: str, *, run: str | None = None, hosts: Sequence[str] = (), detail: Mapping[str, Any] | None = None) -> int:
        """Record what is about to be done; returns the row's number. Raises NotRecorded: then it must not be done."""
        return self.append(Kind.INTENT, verb, run=run, hosts=hosts, detail=detail)

    def outcome(self, intent: int, result: str, *, detail: Mapping[str, Any] | None = None) -> None:
        """Record what came of it. Raises NotRecorded; UsageError when there is no such intent."""
        row = self._open.pop(intent, None) or next((row for row in self.rows_back() if row.seq == intent), None)
        if row is None or row.kind is not Kind.INTENT:
            raise UsageError(f"row {intent} is no intent", where=str(self.path))
        self.append(Kind.OUTCOME, row.verb, run=row.run, hosts=row.hosts, of=intent, result=result, detail=detail)

    @contextmanager
    def pair(
        self, verb: str, *, run: str | None = None, hosts: Sequence[str] = (), detail: Mapping[str, Any] | None = None
    ) -> Iterator[Pair]:
        """See `paired`. Raises NotRecorded before anything is done."""
        with paired(self, verb, run=run, hosts=hosts, detail=detail) as pair:
            yield pair

    def head(self) -> tuple[str, int, str]:
        """(chain, number, hash) of the newest row: what witnesses keep (A02). Begins the chain when there is none yet."""
        with self._locked():
            newest = self._newest()
            return newest.chain, newest.seq, newest.head

    def append(
        self,
        kind: Kind,
        verb: str,
        *,
        run: str | None = None,
        hosts: Sequence[str] = (),
        of: int | None = None,
        result: str = "",
        detail: Mapping[str, Any] | None = None,
    ) -> int:
        """Write one row, wait for the disk, return its number. Raises NotRecorded."""
        with self._locked():
            fields = {"run": run, "hosts": list(hosts), "of": of, "result": result, "detail": presentable(detail or {})}
            row = self._write(self._newest(), kind, verb, fields)
        if kind is Kind.INTENT:
            self._open[row.seq] = row
        return row.seq

    @contextmanager
    def held_still(self) -> Iterator[None]:
        """Nobody writes to the log while the block runs. Raises NotRecorded when another writer holds it; the block's own OSError."""
        failed: OSError | None = None
        with self._locked():
            try:
                yield
            except OSError as error:
                failed = error
        if failed is not None:
            raise failed

    def rows_back(self) -> Iterator[Row]:
        """Rows from the newest to the oldest. Raises NotRecorded when one is damaged. A torn last line is passed over."""
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise NotRecorded(f"the audit log cannot be read: {error.strerror or error}", where=str(self.path)) from None
        for line in reversed(data[: data.rfind(b"\n") + 1].splitlines()):
            yield self._parse(line)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time; every failure of the disk becomes NotRecorded."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._wait_for(lock)
                yield
            finally:
                os.close(lock)
        except OSError as error:
            raise NotRecorded(
                f"the audit log cannot be written: {error.strerror or error}",
                where=str(self.path),
                holds="nothing was done; kill-switch and halt still work, and are recorded afterwards",
                next="make room, or make the folder writable, and try again",
            ) from None

    def _wait_for(self, lock: int) -> None:
        """A writer that was stopped in the middle must not hold up the others for ever. Raises OSError at the deadline."""
        until_ns = self._clock.monotonic_ns() + _LOCK_NS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._clock.monotonic_ns() >= until_ns:
                    raise OSError(errno.EAGAIN, f"another writer has held it for {_LOCK_NS // NS_PER_S} s") from None
                self._clock.sleep_s(_LOCK_POLL_S)
            else:
                return

    def _newest(self) -> Head:
        """The last whole row, after mending a torn line. Begins the chain when there is no file."""
        known = self._noted()
        if not self.path.exists():
            if known is not None:
                raise self._damaged(f"it is gone; it had {known.seq} rows")
            return self._begin()
        whole, torn = self._tail()
        if whole is None:
            if known is not None:
                raise self._damaged(f"it is empty; it had {known.seq} rows")
            self._cut(torn)
            return self._begin()
        row = self._parse(whole)
        if known is not None and row.seq < known.seq:
            raise self._damaged(f"it ends at row {row.seq}; it had {known.seq}")
        head = Head(known.chain if known else self._first().hash, row.seq, row.hash)
        return self._mend(head, torn) if torn else head

    def _mend(self, head: Head, torn: bytes) -> Head:
        """A torn last line is a row that was never confirmed, so its act was never begun: cut it off, and say so."""
        self._cut(torn)
        seen = {"bytes": len(torn), "digest": digest_bytes(torn)}
        row = self._write(head, Kind.MENDED, "audit", {"run": None, "hosts": [], "of": None, "result": "", "detail": seen})
        return Head(head.chain, row.seq, row.hash)

    def _begin(self) -> Head:
        nothing: dict[str, Any] = {"run": None, "hosts": [], "of": None, "result": "", "detail": {"nonce": secrets.token_hex(16)}}
        row = self._write(Head("", 0, NOTHING_BEFORE), Kind.GENESIS, "audit", nothing)
        return Head(row.hash, row.seq, row.hash)

    def _write(self, after: Head, kind: Kind, verb: str, fields: Mapping[str, Any]) -> Row:
        who = {"kind": kind.value, "actor": self._actor, "verb": verb, "prev": after.head}
        line = spell({"seq": after.seq + 1, "wall_ns": self._clock.wall_ns(), **who, **fields})
        self._append_line(line)
        row = parse_row(line)
        write_atomic(head_file(self.path), encode(Head(after.chain or row.hash, row.seq, row.hash)))
        return row

    def _append_line(self, line: bytes) -> None:
        """The line, whole and on disk, or nothing of it. Raises OSError."""
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            before = os.fstat(fd).st_size
            try:
                view = memoryview(line + b"\n")
                while view:
                    view = view[os.write(fd, view) :]
                os.fsync(fd)
            except OSError:
                os.ftruncate(fd, before)
                raise
        finally:
            os.close(fd)

    def _tail(self) -> tuple[bytes | None, bytes]:
        """The last whole line, and what stands behind it without a line's end."""
        for window in (_TAIL_BYTES, 2 * (ROW_BYTES_MAX + 2)):
            with self.path.open("rb") as file:
                start = max(0, file.seek(0, os.SEEK_END) - window)
                file.seek(start)
                lines, _, torn = file.read().rpartition(b"\n")
            before, _, last = lines.rpartition(b"\n")
            if start == 0 or before:
                break
        return last or None, torn

    def _first(self) -> Row:
        with self.path.open("rb") as file:
            return self._parse(file.readline(ROW_BYTES_MAX + 2).rstrip(b"\n"))

    def _cut(self, torn: bytes) -> None:
        os.truncate(self.path, self.path.stat().st_size - len(torn))

    def _noted(self) -> Head | None:
        try:
            return noted_head(self.path)
        except TradeopsError as error:
            raise self._damaged(str(error)) from None

    def _parse(self, line: bytes) -> Row:
        try:
            return parse_row(line)
        except UsageError as error:
            raise self._damaged(error.what) from None

    def _damaged(self, what: str) -> NotRecorded:
        return NotRecorded(
            f"the audit log is damaged: {what}",
            where=str(self.path),
            holds="nothing was done; kill-switch and halt still work, and are recorded afterwards",
            next="`tradeops audit verify` shows where; put the file aside as evidence and restore it from a backup",
        )
