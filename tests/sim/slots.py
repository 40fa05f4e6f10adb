"""One host's two slots without sockets: the guard's real memory and verbs, traders' real tenure, gate and journal, a venue's book.

What a step does is drawn by the caller; whatever the order, `World.check` says what must hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tests.sim.process import BINDING, RELEASE, Process
from tests.support.guardstate import ARMED, T0, order
from tradeops.base.clock import NS_PER_MS, NS_PER_S, VirtualClock
from tradeops.contracts.directive import ADOPT, CANCEL, Verb
from tradeops.contracts.layout import SLOTS
from tradeops.contracts.status import MarkKind, Vitals
from tradeops.guard import marks, watch
from tradeops.guard.admit import Refusal
from tradeops.guard.adoption import Shown, Unclaimed, strange
from tradeops.guard.marks import Decision, Facts
from tradeops.guard.memory import Memory
from tradeops.guard.state import Store
from tradeops.guard.stop import StopKeeper
from tradeops.guard.verbs import decide
from tradeops.guard.watch import Trader, Wanted
from tradeops.trader.gate.verdict import Cause
from tradeops.trader.journal import JournalError
from tradeops.trader.messages import Order, OrderEvent
from tradeops.trader.orders.ids import sequence_of
from tradeops.wire.protocol import WorkingOrder


@dataclass
class World:
    """sent: every order that ever left, by id.  working: id -> the slot that is connected for it; "" when it was left at work.

    adopted: how many orders went over with the token.  ended: by the venue, untold to nobody who asks.
    """

    folder: Path
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(wall_ns=T0, monotonic_ns=1000 * NS_PER_S))
    sent: dict[str, Order] = field(default_factory=dict)
    working: dict[str, str] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    last: dict[str, Vitals] = field(default_factory=dict)
    moved: int = 0
    adopted: int = 0
    ended: set[str] = field(default_factory=set)
    _said: int = 0
    _highest: int = 0

    def __post_init__(self) -> None:
        self.memory: Memory | None = None
        self._unclaimed = Unclaimed()
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

    def standby(self, orders: str = CANCEL) -> None:
        """Somebody says standby."""
        if self.memory is not None:
            one = self._order(Verb.STANDBY, args={"orders": orders})
            self.memory.reduce(decide(self.memory.state, one, Facts(), self.memory.now()).state)

    def tend(self) -> None:
        """What a guard does at each beat about orders that nobody looks after."""
        if self.memory is None:
            return
        if self._unclaimed.measure(self.memory.state.marks, self.clock.monotonic_ns()):
            self.memory.reduce(marks.take_back_kept(self.memory.state, "nobody came"))
        if self._stopped():
            self._end(one for one, slot in self.working.items() if not slot)

    def _stopped(self) -> bool:
        """Whether whoever has orders at work takes them back."""
        words = self.memory.stop.words if self.memory is not None else None
        return words is not None and not (words.may_send or words.narrowing.keep_orders)

    def _end(self, ids: Iterable[str]) -> None:
        """The venue ends these."""
        for one in list(ids):
            del self.working[one]
            self.ended.add(one)

    def activate(self, slot: str, orders: str = CANCEL) -> None:
        """Somebody says activate; taken or refused as the guard sees fit."""
        memory = self.memory
        if memory is None:
            return
        number = memory.state.token + 1
        one = self._order(Verb.ACTIVATE, args={"token": number, "slot": slot, "orders": orders})
        if self._add(lambda state: decide(state, one, self.facts(), memory.now())):
            assert self.writers() == [], "activated while a process writes"
            assert orders == ADOPT or not self.working, "activated while orders work"
            assert set(self.working.values()) <= {""}, "an order is at work over a session that nobody has"
            assert self.working.keys() <= self._known_to(slot), "an order is at work that the slot does not know"
            self.adopted += len(self.working)
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
        shown = {"sim": Shown([self._shown(one) for one in self.working], self.ended)}
        told = {slot: trader.vitals.open_orders if trader.vitals else None for slot, trader in traders.items()}
        apart = {slot: strange(orders, shown, ("sim",)) for slot, orders in told.items()}
        return Facts(writing=writing, working="orders work" if self.working else "", unfit=unfit, strange=apart)

    def _shown(self, one: str) -> WorkingOrder:
        """As a drop copy shows it."""
        order = self.sent[one]
        return WorkingOrder(
            venue_id=f"V{one}",
            client_id=one,
            account="a",
            session="h-trader",
            symbol=order.symbol,
            side=order.side,
            qty=order.quantity,
            price=order.price,
            cumulative_qty=0,
            leaves_qty=order.quantity,
            tif=order.tif,
            tags=order.tags,
        )

    def _known_to(self, slot: str) -> set[str]:
        """Ids that the journal holds open, as the slot's process would read it now."""
        process = self.processes[slot]
        process.ledger.replay(process.tenure._follower.new())
        return {tracked.order.id for tracked in process.ledger.orders.open()}

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
            self._end(one for one, came in self.working.items() if came == slot)

    def turn(self, slot: str, *, says: bool) -> None:
        """Its loop turns."""
        if process := self.processes.get(slot):
            process.turn(says=says)
            self._hear(process)
            if not process.session.down:
                self.working = {one: came or slot for one, came in self.working.items()}  # the session is the host's

    def leave(self, slot: str) -> None:
        """Its links have left, when they were to."""
        if process := self.processes.get(slot):
            if process.leave():
                self.working = {one: "" if came == slot else came for one, came in self.working.items()}
            self._hear(process)

    def send(self, slot: str) -> None:
        """It tries to send an order."""
        process = self.processes.get(slot)
        if process is not None and (left := process.try_to_send()):
            assert left not in self.sent, "an id was sent twice"
            self.sent[left] = process.order(sequence_of(left, "h") or 0)
            self.working[left] = slot

    def answer(self, *, ends: bool = True) -> None:
        """The venue says of every order that is open for whoever is connected where it stands. ends: it has ended what works."""
        for process in self.processes.values():
            if process.tenure.writes and not process.session.down:
                for tracked in process.ledger.orders.open():
                    works = tracked.order.id in self.working
                    if ends and works:
                        self._end([tracked.order.id])
                    process.ledger.happen(tracked, OrderEvent.ACCEPTED if works and not ends else OrderEvent.CANCELLED)
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
        assert self.working.keys() <= self.sent.keys() and not self.working.keys() & self.ended
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
            self.tend()
            self.answer(ends=self._stopped())
        self._settled()

    def _settled(self) -> None:
        """Whoever is named writes, and what works is exactly what it knows; where nobody is, nothing that was given up works."""
        assert self.memory is not None
        named = self.memory.stop.words.token.slot
        assert self.writers() == ([named] if named else []), (self.memory.state, self.writers())
        assert self.memory.state.active in SLOTS
        known = {tracked.order.id for slot in self.writers() for tracked in self.processes[slot].ledger.orders.open()}
        assert known == set(self.working) or self.memory.stop.words.narrowing.keep_orders, (known, self.working)

    def close(self) -> None:
        """Let go of everything."""
        for slot in SLOTS:
            self.crash(slot)
        if self.memory is not None:
            self.memory.stop.close()
