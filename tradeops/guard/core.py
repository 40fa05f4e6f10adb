"""The guard itself: everything it owns, and what it does ten times a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from tradeops.base.clock import NS_PER_MS, NS_PER_S, Clock
from tradeops.base.durable import write_atomic
from tradeops.base.errors import TradeopsError
from tradeops.base.logs import event
from tradeops.contracts.directive import Scope, Verb
from tradeops.contracts.entitle import entitled
from tradeops.contracts.envelope import Purpose
from tradeops.contracts.host import HostFile
from tradeops.contracts.layout import SLOTS, HostLayout
from tradeops.contracts.status import Mark, MarkKind
from tradeops.guard import admit, adoption, marks, process, verbs, watch
from tradeops.guard.killing import Killing, Means, Progress
from tradeops.guard.marks import Facts, Order
from tradeops.guard.memory import SILENT_NS, Memory
from tradeops.guard.reconcile import Reconciler
from tradeops.guard.site import Site, Slot, read_kill, read_secret
from tradeops.guard.state import State, Store
from tradeops.guard.stop import StopKeeper
from tradeops.guard.venue import VenueDesk
from tradeops.guard.watch import OutVersusIn, TakingOver, Trader, Trip, Unseen

_LOG = logging.getLogger("guard")
BEAT_S: Final = 0.1
_SCAN_BEATS: Final = 20
_SCAN_AGAIN_NS: Final = 50 * NS_PER_MS
_LATCHED_MAX: Final = 1_000
_KILLINGS_MAX: Final = 200
CLOCK_NS_MAX: Final = 2 * NS_PER_S
"""How far this host's clock may be from a venue's (ours; no regulation gives a number)."""


class Guard:
    """One host's guard. `start`, then `run`; directing.py and views.py speak for it to the outside."""

    def __init__(
        self, layout: HostLayout, host: HostFile, clock: Clock, *, scan: process.Scan = process.service_processes, beat_s: float = BEAT_S
    ) -> None:
        self.layout = layout
        self.host = host
        self.clock = clock
        self._scan = scan
        self._beat_s = beat_s
        silent_ns = max(SILENT_NS, int(3 * beat_s * NS_PER_S))
        self.memory = Memory(Store(layout.guard_state / "state.json"), StopKeeper(layout.stop_page), clock, silent_ns=silent_ns)
        self.memory.boot()
        self.site = Site(layout, host, policy_number=self.memory.state.policy_number)
        self.traders: dict[str, Trader] = {slot: Trader() for slot in SLOTS}
        self.breaks: tuple[str, ...] = ()
        self.desks: dict[str, VenueDesk] = {}
        self.killings: dict[str, Killing] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._desk_tasks: dict[str, asyncio.Task[None]] = {}
        self._processes: tuple[int, ...] = ()
        self._scanned: tuple[int, tuple[int, ...]] | None = None
        self._ratio = OutVersusIn()
        self._unseen = Unseen()
        self._taking = TakingOver()
        self._unclaimed = adoption.Unclaimed()
        self._reconciler = Reconciler()
        self._latched = {mark.id for mark in marks.kills(self.memory.state)}
        self._adopt_latch(always=True)

    # -- what it does ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Guard, until cancelled; a failure of any part ends it, and with it the beat, and so the trading."""
        async with asyncio.TaskGroup() as tasks:
            self._group = tasks
            self._open_desks()
            self._take_up_stops()
            tasks.create_task(self.memory.keep(), name="keep")
            tasks.create_task(self._scan_processes(), name="scan")
            tasks.create_task(self._beat(), name="beat")

    async def _beat(self) -> None:
        while True:
            self.tick()
            await asyncio.sleep(self._beat_s)

    def tick(self) -> None:
        """One beat: the page first, then everything that could end the trading."""
        permitted = self.memory.state.permit is not None
        damaged = self.memory.beat()
        if self.site.refresh():
            self._open_desks()
        for mark in self._adopt_latch(always=bool(damaged)):
            self.stop_orders(mark.id, mark.scope, self.clock.monotonic_ns(), force=True)
        self.memory.reduce(marks.pass_time(self._with_policy_number(), self.memory.now()))
        self.look()
        self._stop_fan_out()
        unseen = self._unseen.measure({name: desk.ready for name, desk in self.desks.items()}, self.clock.monotonic_ns())
        named = bool(self.memory.stop.words.token.slot)
        taking = self._taking.measure(self.trader, self.standby, self.working(), self.clock.monotonic_ns(), named=named)
        self._take_back_unclaimed()
        if marks.trading(self.memory.state, self.memory.now()):
            for trip in (*self._halting(), *unseen, *taking):
                self.trip(MarkKind.HALT, trip)
        elif (permitted and self.memory.state.permit is None) or self.working():
            self._take_up_stops()

    def _stop_fan_out(self) -> None:
        """Orders that no signal explains are killed on a halted host too: whoever sends them does not heed the halt."""
        whole = bool(self.desks) and all(desk.ready for desk in self.desks.values())
        orders_out = sum(desk.orders_out for desk in self.desks.values())
        fanned = self._ratio.measure(self.trader, orders_out, self.clock.monotonic_ns(), whole=whole)
        if fanned and not any(mark.scope.everything() for mark in marks.kills(self.memory.state)):
            self.trip(MarkKind.KILL, fanned)

    def _take_back_unclaimed(self) -> None:
        """Orders that were kept for a slot that does not come are nobody's: cancelled, as if they had not been kept."""
        if self._unclaimed.measure(self.memory.state.marks, self.clock.monotonic_ns()):
            why = self._writing() or self._strange(self.other_slot) or f"slot {self.other_slot} was not activated"
            event(_LOG, logging.ERROR, "kept orders given up", why=why)
            self.memory.reduce(marks.take_back_kept(self.memory.state, f"after {adoption.KEPT_NS_MAX / NS_PER_S:.0f} s {why}"))
            self._take_up_stops()

    def _with_policy_number(self) -> State:
        number = self.site.policy.number if self.site.policy else 0
        state = self.memory.state
        return state if number <= state.policy_number else msgspec.structs.replace(state, policy_number=number)

    @property
    def trader(self) -> Trader:
        """The active slot's process, as last looked at."""
        return self.traders[self.memory.state.active]

    @property
    def standby(self) -> Trader:
        """The other slot's, as last looked at."""
        return self.traders[self.other_slot]

    @property
    def other_slot(self) -> str:
        """The slot that does not hold the token."""
        return next(slot for slot in SLOTS if slot != self.memory.state.active)

    def look(self) -> Trader:
        """The active slot's process as it is now."""
        self.breaks = self._reconcile(self._look())
        return self.trader

    def _look(self) -> int:
        """Look at both slots' processes; when, by CLOCK_MONOTONIC."""
        now_ns = self.clock.monotonic_ns()
        self.traders = watch.look({slot: self.layout.vitals_page(slot) for slot in SLOTS}, now_ns, self._processes)
        return now_ns

    def trip(self, kind: MarkKind, trip: Trip) -> None:
        """An automatic mark, and what follows from it."""
        before = self.memory.state
        self.memory.reduce(marks.trip(before, kind, trip.control, trip.measured, self.memory.now()))
        if self.memory.state is not before:
            event(_LOG, logging.ERROR, "tripped", control=trip.control, measured=trip.measured, mark=kind.value)
            mark = next(mark for mark in self.memory.state.marks if mark.kind is kind and mark.by == trip.control)
            self.stop_orders(mark.id, mark.scope, self.clock.monotonic_ns(), force=kind is MarkKind.KILL)

    def _halting(self) -> Iterable[Trip]:
        if not self.kept:
            yield from watch.watchdog(self.trader, self.slot().wanted())
        if self.breaks:
            yield Trip("reconciliation", "; ".join(self.breaks))
        if problem := self.clock_problem():
            yield Trip("clock", problem)

    # -- what it knows -----------------------------------------------------------------------------------------

    @property
    def kept(self) -> bool:
        """Whether the service is not ours: it sends no orders, and may run or not while it is permitted; its keeper stops it."""
        return self.host.identity == "url"

    @property
    def learning(self) -> tuple[str, ...]:
        """Symbols whose positions cannot be compared yet."""
        return self._reconciler.learning

    def slot(self) -> Slot:
        """What the active slot is to run."""
        return self.site.slot(self.memory.state.active)

    def facts(self) -> Facts:
        """What permits and resumes are judged by, looked at now."""
        self.look()
        slot = self.slot()
        unknown = tuple(f"drop copy of {name}: not connected" for name, desk in self.desks.items() if not desk.ready)
        unknown += tuple(f"position {symbol}: not compared yet" for symbol in self.learning)
        unknown += () if marks.trading(self.memory.state, self.memory.now()) else watch.in_doubt(self.trader)
        idle = self.kept and not self.trader.alive and not self._scan_now()
        problem = ("" if idle else watch.unproved(self.trader, slot.wanted())) or self._venues_problem() or self.clock_problem()
        unfit = {name: watch.unfit(trader, self.site.slot(name).wanted()) for name, trader in self.traders.items()}
        strange = {name: self._strange(name) for name in self.traders}
        return Facts(problem, self.breaks + unknown, slot.release or "", self._writing(), watch.at_work(self.working()), unfit, strange)

    def _writing(self) -> str:
        """Why it is not proved that nobody writes."""
        stop = self.memory.stop
        return watch.writing(self.traders.values(), stop.nobody_at, stop.epoch, self._scan_now)

    def _strange(self, slot: str) -> str:
        """Why it is not proved that what works is what the journal told the process of that slot."""
        known = self._venues_known()
        return adoption.problem(self.traders[slot], self.site.slot(slot).binding, self.desks) if known else watch.at_work(None)

    def _venues_problem(self) -> str:
        if not self.site.venues_known():
            return "where it trades is not known: a slot holds a release without a binding that can be used"
        unheard = self._unheard()
        return f"nothing listens to the drop copy of {', '.join(unheard)}" if unheard else ""

    def _unheard(self) -> list[str]:
        """Venues that a binding names, or that the process itself says it trades at, without a drop copy here."""
        vitals = self.trader.vitals if self.trader.alive else None
        said = [session.partition("/")[0] for session in vitals.sessions] if vitals else []
        named = [*(venue.name for venue in self.site.venues()), *said]
        return [name for name in dict.fromkeys(named) if name not in self.desks]

    def _venues_known(self) -> bool:
        """Whether what works is told by drop copies: of every venue that a binding names or the process trades at."""
        return self.site.venues_known() and not self._unheard()

    def blocked(self, scope_epoch: int | None = None) -> bool:
        """Whether it is proved that no order can leave; with an epoch: none of the subset that was stopped then."""
        stop = self.memory.stop
        self._look()
        stopped_at = stop.stopped_at if stop.stopped_at is not None else scope_epoch
        return watch.blocked(self.traders.values(), stopped_at, stop.epoch, self._scan_now)

    def _scan_now(self) -> tuple[int, ...]:
        """The service's processes, not older than a moment: asked many times a second while a kill waits."""
        now_ns = self.clock.monotonic_ns()
        if self._scanned is None or now_ns - self._scanned[0] > _SCAN_AGAIN_NS:
            self._scanned = (now_ns, self._scan(self.layout.releases))
        return self._scanned[1]

    def working(self, scope: Scope | None = None) -> int | None:
        """Working orders by drop copy; None: not known of every venue."""
        counts = [desk.working(scope) for desk in self.desks.values()]
        if not self._venues_known() or any(count is None for count in counts):
            return None
        return sum(len(count) for count in counts if count is not None)

    def clock_problem(self) -> str:
        """By how much this host's clock is off, when that is more than allowed."""
        for name, desk in self.desks.items():
            offset_ns = desk.clock_offset_ns()
            if offset_ns is not None and abs(offset_ns) > CLOCK_NS_MAX:
                return f"this host's clock is {offset_ns / NS_PER_S:+.3f} s off that of {name}, {CLOCK_NS_MAX / NS_PER_S:.0f} s allowed"
        return ""

    def problems(self) -> tuple[str, ...]:
        """Everything that a person should know of, in plain words."""
        found = [*self.memory.problems.values(), *self.site.problems.values(), *self.breaks]
        found += [slot.problem for slot in self.site.slots.values() if slot.problem]
        found += [f"{name}: {what}: {problem}" for name, desk in self.desks.items() for what, problem in desk.problems.items()]
        found += [
            f"{killing.progress.id}: {what}: {text}"
            for killing in self.killings.values()
            for what, text in killing.progress.problems.items()
        ]
        if self.standby.alive and (problem := watch.unfit(self.standby, self.site.slot(self.other_slot).wanted())):
            found.append(f"standby in slot {self.other_slot}: {problem}")
        if self.trader.strangers:
            found.append(f"further processes of the service: {', '.join(map(str, self.trader.strangers))}")
        if clock := self.clock_problem():
            found.append(clock)
        return tuple(found)

    def _reconcile(self, now_ns: int) -> tuple[str, ...]:
        filled: dict[str, int] = {}
        for desk in self.desks.values():
            for symbol, quantity in desk.filled.items():
                filled[symbol] = filled.get(symbol, 0) + quantity
        memory = tuple((name, desk.memory) for name, desk in self.desks.items())
        vitals = self.trader.vitals if self.trader.alive else None
        working = self.working() if self.desks else None
        return self._reconciler.measure(vitals, filled, working, memory, now_ns)

    # -- stopping ----------------------------------------------------------------------------------------------

    def stop_orders(self, id: str, scope: Scope, received_ns: int, *, force: bool) -> Killing:
        """See a stop through to clear; one that is on its way, or there, is that one. force: end a trader that does not acknowledge."""
        known = self.killings.get(id)
        if known is not None and (not self._tasks[id].done() or (known.progress.clear_ms is not None and self.working(scope) == 0)):
            return known
        epoch = self.memory.stop.epoch
        means = Means(
            clock=self.clock,
            blocked=lambda: self.blocked(epoch),
            desks=self.desks.values,
            venues_known=self._venues_known,
            stands=lambda: any(mark.id == id for mark in self.memory.state.marks),
            end_trader=self._end_trader if force and scope.everything() else None,
        )
        killing = Killing(Progress(id, scope, received_ns), means)
        self._forget_old_killings()
        self.killings[id] = killing
        self._tasks[id] = self._group.create_task(killing.run(), name=f"stop {id}")
        return killing

    def _forget_old_killings(self) -> None:
        done = [old for old, task in self._tasks.items() if task.done()]
        for old in done[: max(0, len(self.killings) - _KILLINGS_MAX)]:
            del self.killings[old], self._tasks[old]

    def _take_up_stops(self) -> None:
        """Every stop that stands is seen through, also one of an earlier guard, and one after which something works again."""
        now_ns = self.clock.monotonic_ns()
        for mark in self.memory.state.marks:
            if mark.kind in (MarkKind.KILL, MarkKind.HALT, MarkKind.UNARMED, MarkKind.STANDBY) and not mark.keeps_orders:
                self.stop_orders(mark.id, mark.scope, now_ns, force=False)

    async def _end_trader(self) -> str:
        """The last road on a host: SIGKILL. What went wrong, or empty."""
        event(_LOG, logging.ERROR, "ending the trader", pids=self._scan(self.layout.releases))
        if self.host.stop_command:
            return await process.run_bounded(self.host.stop_command, timeout_s=5.0)
        pids = {pid: process.start_ticks(pid) for pid in self._scan(self.layout.releases)}
        pids |= {trader.vitals.identity.pid: trader.vitals.identity.start_ticks for trader in self.traders.values() if trader.vitals}
        try:
            for pid, ticks in pids.items():
                if ticks is not None:
                    process.end(pid, ticks)
        except PermissionError as error:
            return f"this guard may not end it: {error}"
        return ""

    def _adopt_latch(self, *, always: bool = False) -> tuple[Mark, ...]:
        """Take over the kills that came over SSH; a latch without any that can be verified is a kill of its own. The new ones."""
        memory, word = self.memory, self.memory.stop.latch
        if word == memory.state.latch_seen and not always:
            return ()
        before = state = memory.state
        found: set[str] = set()
        for path in sorted(self.layout.latched.glob("*.json"))[:_LATCHED_MAX]:
            state, kill = self._adopted(state, path)
            found |= {kill} if kill else set()
        unexplained = word != before.latch_seen and found <= self._latched
        self._latched |= found
        if word != state.latch_cleared and (unexplained or not any(mark.scope.everything() for mark in marks.kills(state))):
            said = "the agent's latch was raised, and no kill beside it can be verified"
            state = marks.trip(state, MarkKind.KILL, f"latch-{word}", said, memory.now())
        if word != before.latch_seen:
            event(_LOG, logging.WARNING, "latch adopted", word=word)
            state = msgspec.structs.replace(state, latch_seen=word)
        memory.reduce(state)
        return tuple(mark for mark in marks.kills(state) if mark not in before.marks)

    def _adopted(self, state: State, path: Path) -> tuple[State, str]:
        """The state with the kill of that file, and its id if it stops the whole host; empty: the file explains no latch."""
        try:
            parsed = admit.parse(envelope := read_kill(path))
            directive = admit.widen(parsed)
            if directive.verb is not Verb.KILL or self.site.policy is None:
                return state, ""
            admit.address(directive, host=self.host.host, fleet=self.host.fleet)
            who = entitled(self.site.policy, directive.verb, envelope, Purpose.DIRECTIVE, now_ns=None, host=self.host.host)
            decision = verbs.decide(state, Order(directive, envelope, who.people, who.run), Facts(), self.memory.now())
            return decision.state, directive.id if directive.scope.everything() else ""
        except (OSError, TradeopsError) as error:
            event(_LOG, logging.WARNING, "latched kill not taken", file=path.name, problem=str(error))
            return state, ""

    # -- its parts ---------------------------------------------------------------------------------------------

    def _open_desks(self) -> None:
        """A desk for every venue that a binding names; one whose endpoints changed is replaced."""
        wanted = {venue.name: venue for venue in self.site.venues()}
        for name, desk in list(self.desks.items()):
            if wanted.get(name) != desk.venue:
                self._desk_tasks.pop(name).cancel()
                del self.desks[name]
        for name, venue in wanted.items():
            if name not in self.desks:
                secret = read_secret(self.layout, venue.secret) if venue.secret else None
                self.desks[name] = VenueDesk(venue, host=self.host.host, secret=secret, clock=self.clock)
                self._desk_tasks[name] = self._group.create_task(self.desks[name].run(), name=f"desk {name}")

    async def _scan_processes(self) -> None:
        while True:
            self._processes = await asyncio.to_thread(self._scan, self.layout.releases)
            await asyncio.sleep(_SCAN_BEATS * self._beat_s)

    def share_overlay(self) -> None:
        """Lay the overlay in force where the trader reads it. Raises OSError."""
        if self.memory.state.overlay is not None:
            path = self.layout.overlay_file
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, msgspec.json.encode(self.memory.state.overlay), mode=0o644)
