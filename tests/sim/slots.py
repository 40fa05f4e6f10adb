"""One host's two slots without sockets: the guard's real memory and verbs, traders' real tenure, gate and journal, a venue's book.

What a step does is drawn by the caller; whatever the order, `World.check` says what must hold.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tests.support.guardstate import ARMED, T0, order
from tests.support.trader import MemorySession
from tradeops.base.clock import NS_PER_MS, NS_PER_S, VirtualClock
from tradeops.contracts.directive import Verb
from tradeops.contracts.identity import Identity
from tradeops.contracts.layout import SLOTS
from tradeops.contracts.status import MarkKind, Vitals
from tradeops.contracts.units import UNIT
from tradeops.guard import watch
from tradeops.guard.admit import Refusal
from tradeops.guard.marks import Decision, Facts
from tradeops.guard.memory import Memory
from tradeops.guard.state import Store
from tradeops.guard.stop import StopKeeper
from tradeops.guard.verbs import decide
from tradeops.guard.watch import Trader, Wanted
from tradeops.trader.bus import Looked
from tradeops.trader.gate.gate import Gate
from tradeops.trader.gate.page import StopWatch
from tradeops.trader.gate.verdict import Cause, Level, Patience
from tradeops.trader.journal import Journal, JournalError
from tradeops.trader.ledger import Blank, Ledger
from tradeops.trader.messages import Order, OrderEvent
from tradeops.trader.orders.ids import client_id
from tradeops.trader.standing import Standing
from tradeops.trader.tenure import Tenure, held
from tradeops.wire.protocol import Side, Tags

RELEASE, BINDING = "sha256:r", "sha256:b"
TAGS = Tags(strategy="s", release=RELEASE, host="h", desk="d")
PATIENCE = Patience(500 * NS_PER_MS, 2 * NS_PER_S)
_PIDS = itertools.count(100)


class Process:
    """One slot's trader. vitals: what it last said, which may be long ago."""

    def __init__(self, page: Path, folder: Path, slot: str, clock: VirtualClock) -> None:
        """Raises JournalError: it exits at once."""
        token = held(page, slot)
        journal = None if token is None else Journal(folder, token=token)
        self.slot = slot
        self.clock = clock
        self.standing = Standing()
        self.ledger = Ledger(journal or Blank(), clock)
        self.ledger.replay(journal.replay() if journal else ())
        self.session = MemorySession(clock)
        self.session.down = journal is None
        self.gate = Gate(StopWatch(page, clock, PATIENCE, slot))
        self.gate.attach("sim", self.session)
        self.tenure = Tenure(slot=slot, folder=folder, journal=journal, ledger=self.ledger, gate=self.gate, standing=self.standing)
        self.tenure.on_taken = self._enter
        self.vitals: Vitals | None = None
        self._identity = Identity("trader", RELEASE, BINDING, 0, slot, next(_PIDS), 1, 0)

    def _enter(self) -> None:
        self.session.down = False

    def turn(self, *, says: bool) -> None:
        """One look, in the order of the real bus: acknowledge, and say so when it is new; then the tenure. says: vitals are due."""
        verdict = self.gate.look()
        if verdict.level is Level.HALTED and self.tenure.writes:
            self.session.queue.clear()
        if self.gate.acknowledge(verdict):
            self.say()
        self.tenure.on_look(Looked(verdict, self.clock.monotonic_ns()))
        self.ledger.commit()
        if says:
            self.say()

    def leave(self) -> None:
        """The venue was left: what the loop does after a look that allowed it."""
        if self.tenure.leaving:
            self.session.down = True
            self.tenure.left()
            self.say()

    def say(self) -> None:
        """Write the vitals."""
        acknowledged = self.gate.acknowledged
        state = "standby" if self.standing.standby else "ready"
        self.vitals = Vitals(
            self._identity,
            self.clock.monotonic_ns(),
            state,
            acknowledged.epoch,
            acknowledged.latch,
            self.gate.send_queue,
            self.ledger.orders.open_count,
            *({}, {}, {}, {}, {}, {}, {}),
            writes=self.tenure.writes,
        )

    def try_to_send(self) -> str:
        """One order through journal and gate; its id when it left."""
        if not self.tenure.writes:
            return ""
        sequence = self.ledger.next_sequence()
        one = self.order(sequence)
        tracked = self.ledger.intend(one, sequence)
        self.ledger.commit()
        self.ledger.happen(tracked, OrderEvent.SENT)
        if self.gate.send(one, lambda: None) is Cause.NONE:
            return one.id
        self.ledger.happen(tracked, OrderEvent.WITHHELD)
        return ""

    def order(self, sequence: int) -> Order:
        """A whole order of this host."""
        return Order(client_id("h", sequence), "ACME", "sim", Side.BUY, UNIT, UNIT, TAGS)

    def die(self) -> None:
        """Without a word: what was not committed is lost, the lock falls."""
        self.tenure._follower.close()
        if self.tenure.journal is not None:
            self.tenure.journal._db.close()
            os.close(self.tenure.journal._lock)


@dataclass
class World:
    """sent: every id that ever left.  working: id -> the slot whose session it came over."""

    folder: Path
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(wall_ns=T0, monotonic_ns=1000 * NS_PER_S))
    sent: list[str] = field(default_factory=list)
    working: dict[str, str] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    last: dict[str, Vitals] = field(default_factory=dict)
    moved: int = 0
    _said: int = 0
    _highest: int = 0

    def __post_init__(self) -> None:
        self.memory: Memory | None = None
        self.guard()
        self.permit()

    # -- the guard ---------------------------------------------------------------------------------------------

    def guard(self) -> None:
        """It starts, or starts again."""
        if self.memory is not None:
            self.memory.stop.close()
        self.memory = Memory(Store(self.folder / "state.json"), StopKeeper(self.folder / "stop.page"), self.clock)
        self.memory.boot()
        self.memory.store.save(self.memory.state)

    def lose_state(self) -> None:
        """The guard's state is gone, and the guard with it. The page is whole: with both lost, numbers begin anew and the
        journal, which remembers, keeps everybody out until a person names a higher one (test_tenure.py).
        """
        if self.memory is not None:
            self.memory.beat()
        (self.folder / "state.json").unlink()
        self.guard()

    def permit(self) -> None:
        """Two people have permitted."""
        if self.memory is not None:
            kept = tuple(mark for mark in self.memory.state.marks if mark.kind is not MarkKind.UNARMED)
            self._add(lambda state: Decision(replace(state, permit=ARMED.permit, marks=kept)))

    def save(self) -> None:
        """What is in force has reached the disk."""
        if self.memory is not None:
            self.memory.store.save(self.memory.state)

    def standby(self) -> None:
        """Somebody says standby."""
        if self.memory is not None:
            self.memory.reduce(decide(self.memory.state, self._order(Verb.STANDBY), Facts(), self.memory.now()).state)

    def activate(self, slot: str) -> None:
        """Somebody says activate; taken or refused as the guard sees fit."""
        memory = self.memory
        if memory is None:
            return
        number = memory.state.token + 1
        one = self._order(Verb.ACTIVATE, args={"token": number, "slot": slot})
        if self._add(lambda state: decide(state, one, self.facts(), memory.now())):
            assert self.writers() == [], "activated while a process writes"
            assert not self.working, "activated while orders work"
            assert number > self._highest, "a number came twice"
            self._highest, self.moved = number, self.moved + 1

    def facts(self) -> Facts:
        """As the guard's core puts them together, from what was last said."""
        assert self.memory is not None
        now_ns, stop = self.clock.monotonic_ns(), self.memory.stop
        traders = {
            slot: Trader(self.last[slot], now_ns - self.last[slot].beat_ns, self._lives(slot)) if slot in self.last else Trader()
            for slot in SLOTS
        }
        silent = tuple(1 for process in self.processes.values() if process.vitals is None)
        writing = watch.writing(traders.values(), stop.nobody_at, stop.epoch, lambda: silent)
        writing = writing or ("processes without vitals" if silent else "")
        unfit = {slot: watch.unfit(trader, Wanted(RELEASE, BINDING)) for slot, trader in traders.items()}
        return Facts(writing=writing, working="orders work" if self.working else "", unfit=unfit)

    def _lives(self, slot: str) -> bool:
        """Whether the very process that wrote the slot's vitals lives."""
        process = self.processes.get(slot)
        return process is not None and process.vitals is self.last[slot]

    def _order(self, verb: Verb, **fields: Any) -> Any:
        self._said += 1
        now_ns = self.clock.wall_ns()
        return order(verb, f"d{self._said}", issued_ns=now_ns, expires_ns=now_ns + NS_PER_S, **fields)

    def _add(self, judge: Any) -> bool:
        assert self.memory is not None
        try:
            asyncio.run(self.memory.add(judge))
        except Refusal:
            return False
        return True

    # -- the slots and the venue -------------------------------------------------------------------------------

    def start(self, slot: str) -> None:
        """Its process starts, unless it runs; one that cannot have the journal exits."""
        if slot not in self.processes:
            try:
                self.processes[slot] = Process(self.folder / "stop.page", self.folder, slot, self.clock)
            except JournalError:
                return

    def crash(self, slot: str) -> None:
        """Its process dies; the venue takes back what came over its session."""
        process = self.processes.pop(slot, None)
        if process is not None:
            process.die()
            self.working = {one: came for one, came in self.working.items() if came != slot}

    def turn(self, slot: str, *, says: bool) -> None:
        """Its loop turns."""
        if process := self.processes.get(slot):
            process.turn(says=says)
            self._hear(process)

    def leave(self, slot: str) -> None:
        """Its links have left, when they were to."""
        if process := self.processes.get(slot):
            process.leave()
            self._hear(process)

    def send(self, slot: str) -> None:
        """It tries to send an order."""
        process = self.processes.get(slot)
        if process is not None and (left := process.try_to_send()):
            self.sent.append(left)
            self.working[left] = slot

    def answer(self) -> None:
        """The venue ends what works, and says so to whoever is connected and knows it."""
        for process in self.processes.values():
            if process.tenure.writes and not process.session.down:
                for tracked in process.ledger.orders.open():
                    self.working.pop(tracked.order.id, None)
                    process.ledger.happen(tracked, OrderEvent.CANCELLED)
                process.ledger.commit()

    def _hear(self, process: Process) -> None:
        if process.vitals is not None:
            self.last[process.slot] = process.vitals

    # -- what must hold ----------------------------------------------------------------------------------------

    def writers(self) -> list[str]:
        """Slots whose process holds the journal now, whatever it has said."""
        return [slot for slot, process in self.processes.items() if process.tenure.writes]

    def check(self) -> None:
        """Never two writers, never two open gates, no id twice, no number back."""
        assert len(self.writers()) <= 1
        probes = {slot: process.gate.refusal(process.order(0)) for slot, process in self.processes.items()}
        assert list(probes.values()).count(Cause.NONE) <= 1
        connected = [slot for slot, process in self.processes.items() if not process.session.down]
        assert len(connected) <= 1 and set(connected) <= set(self.writers())
        assert len(set(self.sent)) == len(self.sent)
        assert self.memory is None or self.memory.state.token >= self._highest

    def settle(self) -> None:
        """Everything is up and time passes: the page names one slot, which writes, or none, and nobody does."""
        if self.memory is None:
            self.guard()
        assert self.memory is not None
        for slot in SLOTS:
            self.start(slot)
        for _ in range(12):
            self.clock.advance_ns(60 * NS_PER_MS)
            self.memory.beat()
            for slot in SLOTS:
                self.start(slot)
                self.turn(slot, says=True)
                self.leave(slot)
                self.check()
            self.answer()
        named = self.memory.stop.words.token.slot
        assert self.writers() == ([named] if named else []), (self.memory.state, self.writers())
        assert self.memory.state.active in SLOTS

    def close(self) -> None:
        """Let go of everything."""
        for slot in SLOTS:
            self.crash(slot)
        if self.memory is not None:
            self.memory.stop.close()
