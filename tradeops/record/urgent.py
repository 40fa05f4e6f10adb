"""The kill's own way to the audit chain: it never waits long and never fails; what could not be written is owed (A03)."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tradeops.base.clock import Clock
from tradeops.base.durable import append_durable, read_bounded
from tradeops.base.errors import TradeopsError
from tradeops.contracts.codec import decode, encode
from tradeops.record.audit import Audit
from tradeops.record.row import Kind, presentable

WAIT_S = 0.2
SETTLE_S = 5.0
_SPILL_BYTES_MAX = 64 << 20


class Owed(msgspec.Struct, frozen=True):
    """A record that the chain still lacks. meant: intent or outcome.  why: what kept it out."""

    meant: str
    verb: str
    actor: str
    wall_ns: int
    run: str | None
    hosts: tuple[str, ...]
    result: str
    detail: dict[str, Any]
    why: str

    def words(self) -> str:
        """For a person."""
        return f"not yet in the audit log: {self.meant} of {self.verb}: {self.why}"


class Urgent:
    """Records beside an act that must not wait: one thread writes, in order, however long the disk takes.

    `intent` and `outcome` come back within `wait_s`. At the end `settle` says what the chain still lacks, having put
    it into the first of `spills` that takes it; `redeem` brings it home later.
    """

    def __init__(self, audit: Audit, *, clock: Clock, actor: str, spills: Sequence[Path], wait_s: float = WAIT_S) -> None:
        self._audit = audit
        self._clock = clock
        self._actor = actor
        self._spills = tuple(spills)
        self._wait_s = wait_s
        self._jobs: queue.SimpleQueue[tuple[Callable[[], None], threading.Event]] = queue.SimpleQueue()
        self._rows: dict[int, int] = {}
        self._intents: dict[int, Owed] = {}
        self._pending: dict[int, Owed] = {}
        self._lock = threading.Lock()
        self._tickets = 0
        threading.Thread(target=self._work, name="urgent-audit", daemon=True).start()

    def intent(self, verb: str, *, run: str | None = None, hosts: Sequence[str] = (), detail: Mapping[str, Any] | None = None) -> int:
        """Begin to record; returns a ticket for `outcome`. Never raises for the log's sake."""
        owed = self._owe("intent", verb, run, hosts, "", detail)
        ticket = self._hand_over(owed, lambda ticket: self._write_intent(ticket, owed))
        self._intents[ticket] = owed
        return ticket

    def outcome(self, intent: int, result: str, *, detail: Mapping[str, Any] | None = None) -> None:
        """Begin to record what came of it. Never raises for the log's sake."""
        begun = self._intents[intent]
        owed = self._owe("outcome", begun.verb, begun.run, begun.hosts, result, detail)
        self._hand_over(owed, lambda _: self._write_outcome(intent, owed))

    def settle(self, timeout_s: float = SETTLE_S) -> tuple[Owed, ...]:
        """Wait for the disk once more; what is still not in the chain is put into a spill file and returned."""
        done = threading.Event()
        self._jobs.put((lambda: None, done))
        done.wait(timeout_s)
        with self._lock:
            owed = tuple(self._pending.values())
            self._pending.clear()
        for record in owed:
            self._spill(record)
        return owed

    def _owe(self, meant: str, verb: str, run: str | None, hosts: Sequence[str], result: str, detail: Mapping[str, Any] | None) -> Owed:
        return Owed(
            meant, verb, self._actor, self._clock.wall_ns(), run, tuple(hosts), result, presentable(detail or {}), "the disk did not answer"
        )

    def _hand_over(self, owed: Owed, write: Callable[[int], None]) -> int:
        with self._lock:
            self._tickets += 1
            ticket = self._tickets
            self._pending[ticket] = owed
        done = threading.Event()
        self._jobs.put((lambda: self._try(ticket, write), done))
        done.wait(self._wait_s)
        return ticket

    def _try(self, ticket: int, write: Callable[[int], None]) -> None:
        try:
            write(ticket)
        except (TradeopsError, OSError) as error:
            with self._lock:
                if ticket in self._pending:
                    self._pending[ticket] = msgspec.structs.replace(self._pending[ticket], why=str(error))
            return
        with self._lock:
            self._pending.pop(ticket, None)

    def _write_intent(self, ticket: int, owed: Owed) -> None:
        self._rows[ticket] = self._audit.intent(owed.verb, run=owed.run, hosts=owed.hosts, detail=owed.detail)

    def _write_outcome(self, intent: int, owed: Owed) -> None:
        if intent not in self._rows:
            raise TradeopsError("its intent is not in the chain")
        self._audit.outcome(self._rows[intent], owed.result, detail=owed.detail)

    def _work(self) -> None:
        while True:
            job, done = self._jobs.get()
            job()
            done.set()

    def _spill(self, record: Owed) -> None:
        for path in self._spills:
            try:
                append_durable(path, encode(record))
            except OSError:
                continue
            return


def redeem(audit: Audit, spills: Sequence[Path]) -> int:
    """Bring what is owed into the chain, as late rows; returns how many. Call it before the next act is recorded.

    Interrupted in the middle, it brings some of them twice, never one too few. Raises NotRecorded, then all of it is
    still owed; UsageError when a spill file is damaged.
    """
    count = 0
    for path in spills:
        taken = path.with_name(path.name + ".taken")
        # Renamed first: a kill at this moment spills into a new file, not into one about to be deleted.
        if path.exists() and not taken.exists():
            path.rename(taken)
        if taken.exists():
            count += _redeem_file(audit, taken)
            taken.unlink()
    return count


def _redeem_file(audit: Audit, path: Path) -> int:
    lines = read_bounded(path, _SPILL_BYTES_MAX).splitlines()
    for line in lines:
        owed = decode(line, Owed, source=str(path))
        told = {"meant": owed.meant, "happened_wall_ns": owed.wall_ns, "by": owed.actor, "why_late": owed.why, "detail": owed.detail}
        audit.append(Kind.LATE, owed.verb, run=owed.run, hosts=owed.hosts, result=owed.result, detail=told)
    return len(lines)
