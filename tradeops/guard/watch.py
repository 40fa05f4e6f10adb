"""The trader as its neighbour sees it: vitals and /proc in, facts and trips out. Judgements are pure; `look` reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tradeops.base.clock import NS_PER_MS, NS_PER_S
from tradeops.base.digest import short
from tradeops.contracts.metrics import Counter
from tradeops.contracts.pages import read_vitals
from tradeops.contracts.status import HALTED, Vitals
from tradeops.guard.process import alive, start_ticks, started_by

STALE_NS_MAX: Final = 3_000 * NS_PER_MS
"""Older vitals halt a trader that trades (ours; no regulation gives a number)."""
FRESH_NS_MAX: Final = 1_000 * NS_PER_MS
"""What a permit and health demand."""
UNSEEN_NS_MAX: Final = 10 * NS_PER_S
"""A drop copy that is away for longer halts: what works is not known (ours; a reconnection takes a second or two)."""
_LOOK_NS_MAX: Final = NS_PER_S
"""What one look adds at most to the time that a drop copy was away: a guard that slept did not see it away."""
TAKE_NS_MAX: Final = 3 * NS_PER_S
"""How long a slot that was given the token may stand by all the same (ours; taking over takes milliseconds)."""
STANDBY: Final = "standby"
STARTING: Final = "starting"
FIT_STATES: Final = frozenset({"ready", HALTED})


@dataclass(frozen=True)
class Trader:
    """One slot's process. vitals None: none were ever written, or none that add up.  alive: the process that wrote them.

    strangers: further processes of the service, which no slot's process has started.  age_ns: of the vitals' beat.
    """

    vitals: Vitals | None = None
    age_ns: int | None = None
    alive: bool = False
    strangers: tuple[int, ...] = ()

    @property
    def writes(self) -> bool:
        """Whether it said that it is the host's writer."""
        return self.vitals is not None and self.vitals.writes

    def fresh(self, age_ns_max: int = FRESH_NS_MAX) -> bool:
        """Whether the vitals are of a living process and not older than that."""
        return self.alive and self.age_ns is not None and self.age_ns <= age_ns_max


@dataclass(frozen=True)
class Trip:
    """A control that has tripped, and what it measured."""

    control: str
    measured: str


@dataclass(frozen=True)
class Wanted:
    """What the host's slot is to run, None where it cannot be read. problem: why its binding cannot be used, empty when it can."""

    release: str | None = None
    binding: str | None = None
    problem: str = ""


def look(pages: Mapping[str, Path], now_ns: int, processes: tuple[int, ...] = ()) -> dict[str, Trader]:
    """Read every slot's page and ask /proc. processes: those of the service, as last scanned."""
    found = {slot: read_vitals(page) for slot, page in pages.items()}
    mains = [vitals.identity.pid for vitals in found.values() if vitals is not None]
    strangers = tuple(pid for pid in processes if not any(started_by(pid, main) for main in mains) and start_ticks(pid) is not None)
    return {slot: _trader(vitals, now_ns, strangers) for slot, vitals in found.items()}


def _trader(vitals: Vitals | None, now_ns: int, strangers: tuple[int, ...]) -> Trader:
    if vitals is None:
        return Trader(strangers=strangers)
    return Trader(vitals, max(0, now_ns - vitals.beat_ns), alive(vitals.identity.pid, vitals.identity.start_ticks), strangers)


def blocked(traders: Iterable[Trader], stopped_at: int | None, epoch: int, processes: Callable[[], tuple[int, ...]]) -> bool:
    """Proved that no order can leave: every slot's gate acknowledged the words that stop it with nothing queued, or no process lives.

    A process of the service that no slot's process has started acknowledges nothing: while one lives, nothing is proved.

    stopped_at: the first epoch since which the page says so; None: it does not.  processes: those of the service.
    """
    if stopped_at is None:
        return False
    living = [(trader.vitals, trader.strangers) for trader in traders if trader.vitals is not None and trader.alive]
    if not living:
        return not processes()
    return all(stopped_at <= vitals.ack_epoch <= epoch and vitals.send_queue == 0 and not strangers for vitals, strangers in living)


def halts_itself(trader: Trader, opened_at: int | None, epoch: int) -> bool:
    """Whether a trader that has seen that it may send says that it is halted all the same: it has reasons of its own (D05).

    opened_at: the first epoch since which the page lets orders leave; None: it does not, and a trader that is halted heeds it.
    """
    vitals = trader.vitals
    if opened_at is None or vitals is None or vitals.state != HALTED:
        return False
    return opened_at <= vitals.ack_epoch <= epoch


def writing(traders: Iterable[Trader], nobody_at: int | None, epoch: int, processes: Callable[[], tuple[int, ...]]) -> str:
    """Why it is not proved that no process of this host writes; empty when it is: each has seen the page name nobody, and left.

    nobody_at: the first epoch since which it does; None: it names a slot.  processes: those of the service.
    """
    if nobody_at is None:
        return "the stop page names a writer"
    living = [(trader.vitals, trader.strangers) for trader in traders if trader.vitals is not None and trader.alive]
    if not living and (pids := processes()):
        return f"processes of the service live and say nothing: {', '.join(map(str, pids))}"
    for vitals, strangers in living:
        slot = vitals.identity.slot
        if strangers:
            return f"further processes of the service live: {', '.join(map(str, strangers))}"
        if not nobody_at <= vitals.ack_epoch <= epoch:
            return f"slot {slot} has not acknowledged it"
        if vitals.writes or vitals.send_queue:
            return f"slot {slot} still writes, {vitals.working} orders open, {vitals.send_queue} bytes to send"
    return ""


def at_work(working: int | None) -> str:
    """Why it is not proved that nothing works; empty when it is. working: orders, None where that is not known."""
    return "" if working == 0 else "what works is not known" if working is None else f"{working} orders work, by drop copy"


def in_doubt(trader: Trader) -> tuple[str, ...]:
    """Orders of which the trader awaits the venue's answer: one that does not trade should have none on their way."""
    awaited = trader.vitals.unanswered if trader.vitals is not None and trader.alive else 0
    return (f"{awaited} orders: the venue has not said yet what became of them",) if awaited else ()


def unfit(trader: Trader, wanted: Wanted) -> str:
    """Why a slot's process is no proved standby; empty when it is one."""
    vitals = trader.vitals
    if vitals is None or not trader.alive:
        return "it has no process"
    if not trader.fresh():
        return f"its vitals are {(trader.age_ns or 0) / NS_PER_MS:.0f} ms old"
    if vitals.state != STANDBY or vitals.writes:
        return f"it is {vitals.state}"
    return misfit(trader, wanted) or wanted.problem


def unproved(trader: Trader, wanted: Wanted) -> str:
    """Why what runs here is not proved and fit to trade; empty when it is (K07, D17)."""
    vitals = trader.vitals
    if vitals is None:
        return "no trader writes its vitals"
    if not trader.alive:
        return f"its process {vitals.identity.pid} is gone"
    if not trader.fresh():
        return f"its vitals are {(trader.age_ns or 0) / NS_PER_MS:.0f} ms old"
    if vitals.state not in FIT_STATES:
        return f"it is {vitals.state}"
    if problem := misfit(trader, wanted) or wanted.problem:
        return problem
    if trader.strangers:
        return f"further processes of the service live: {', '.join(map(str, trader.strangers))}"
    if down := sorted(venue for venue, state in vitals.sessions.items() if state != "up"):
        return f"its session with {', '.join(down)} is down"
    if vitals.warnings:
        return f"it warned since its start: {'; '.join(vitals.warnings[:3])}"
    return ""


def misfit(trader: Trader, wanted: Wanted) -> str:
    """In what the running process differs from what the slot says; empty when in nothing."""
    if trader.vitals is None:
        return ""
    identity = trader.vitals.identity
    if wanted.release is None:
        return f"slot {identity.slot} leads to no release"
    if identity.release != wanted.release:
        return f"it runs release {short(identity.release)}, slot {identity.slot} says {short(wanted.release)}"
    if wanted.binding is not None and identity.binding != wanted.binding:
        return f"it runs binding {short(identity.binding)}, slot {identity.slot} says {short(wanted.binding)}"
    return ""


def watchdog(trader: Trader, wanted: Wanted) -> tuple[Trip, ...]:
    """What halts a host that trades: a trader that is gone, that no longer beats, or that is another than it should be."""
    if trader.vitals is None:
        return (Trip("trader-vitals", "no vitals can be read"),)
    identity = trader.vitals.identity
    if not trader.alive:
        return (Trip("trader-dead", f"process {identity.pid} is gone"),)
    trips = []
    if not trader.fresh(STALE_NS_MAX):
        age_ms = (trader.age_ns or 0) / NS_PER_MS
        trips.append(Trip("trader-beat", f"vitals are {age_ms:.0f} ms old, {STALE_NS_MAX / NS_PER_MS:.0f} ms allowed"))
    if problem := misfit(trader, wanted):
        trips.append(Trip("drift", problem))
    if wanted.problem:
        trips.append(Trip("binding", wanted.problem))
    return tuple(trips)


class TakingOver:
    """A slot that holds the token and does not write, or another that still does (O09). Pure."""

    def __init__(self) -> None:
        self._since_ns: int | None = None

    def measure(self, active: Trader, beside: Trader, working: int | None, now_ns: int, *, named: bool) -> tuple[Trip, ...]:
        """active: the slot that holds the token.  beside: the other one.  working: orders, which a slot without a session leaves alone.

        named: whether the page names the active slot; while it names nobody, nobody is to take it.
        """
        vitals = active.vitals if named and active.alive else None
        idle = vitals is not None and (not vitals.writes or (vitals.state == STARTING and bool(working)))
        self._since_ns = (self._since_ns or now_ns) if idle else None
        trips = []
        if self._since_ns is not None and now_ns - self._since_ns > TAKE_NS_MAX:
            does = "has taken up no order that works" if active.writes else "stands by"
            said = f"holds the token for {(now_ns - self._since_ns) / NS_PER_S:.1f} s and {does}"
            trips.append(Trip("trader-standby", f"{said}, {TAKE_NS_MAX / NS_PER_S:.0f} s allowed"))
        if beside.vitals is not None and beside.alive and beside.vitals.writes:
            identity = beside.vitals.identity
            trips.append(Trip("two-writers", f"slot {identity.slot}, process {identity.pid}, writes without the token"))
        return tuple(trips)


class Unseen:
    """Drop copies that have been away for too long (K12). Pure."""

    def __init__(self) -> None:
        self._away_ns: dict[str, int] = {}
        self._looked_ns: int | None = None

    def measure(self, ready: Mapping[str, bool], now_ns: int) -> tuple[Trip, ...]:
        """ready: of each venue, whether its drop copy is whole now."""
        passed_ns = 0 if self._looked_ns is None else min(now_ns - self._looked_ns, _LOOK_NS_MAX)
        self._looked_ns = now_ns
        self._away_ns = {name: self._away_ns[name] + passed_ns if name in self._away_ns else 0 for name, up in ready.items() if not up}
        long = [f"of {name} not ready for {ns / NS_PER_S:.1f} s" for name, ns in self._away_ns.items() if ns > UNSEEN_NS_MAX]
        return (Trip("drop-copy", f"{'; '.join(long)}, {UNSEEN_NS_MAX / NS_PER_S:.0f} s allowed"),) if long else ()


class OutVersusIn:
    """Orders that left, by drop copy, against signals that came in (R06): since both were first seen together, and lately.

    Lately, because a day of honest signals would hide a runaway until it had sent ten times as many orders. Pure.
    """

    def __init__(self, *, ratio_max: int = 10, slack_orders: int = 100, window_ns: int = 5 * NS_PER_S) -> None:
        """window_ns: what is lately for orders; signals count for twice as long, since orders may follow late."""
        self._ratio_max = ratio_max
        self._slack = slack_orders
        self._window_ns = window_ns
        self._process: tuple[int, int] | None = None
        self._seen: deque[tuple[int, int, int]] = deque()
        self._first = (0, 0)

    def measure(self, trader: Trader, orders_out: int, now_ns: int, *, whole: bool) -> Trip | None:
        """orders_out: new and changed orders that the venues have reported since this guard started.  whole: their drop copies
        are; until they were once, what they report may be of long ago.
        """
        if trader.vitals is None:
            return None
        identity = trader.vitals.identity
        signals = trader.vitals.counters.get(Counter.SIGNALS, 0)
        if self._process != (identity.pid, identity.start_ticks):
            if not whole:
                return None
            self._process, self._first = (identity.pid, identity.start_ticks), (signals, orders_out)
            self._seen.clear()
        self._seen.append((now_ns, signals, orders_out))
        while now_ns - self._seen[0][0] > 2 * self._window_ns:
            self._seen.popleft()
        out_before = next(out for at_ns, _, out in self._seen if now_ns - at_ns <= self._window_ns)
        lately = self._judge(orders_out - out_before, signals - self._seen[0][1], f" in {self._window_ns / NS_PER_S:.0f} s")
        return self._judge(orders_out - self._first[1], signals - self._first[0], "") or lately

    def _judge(self, went_out: int, came_in: int, when: str) -> Trip | None:
        allowed = self._slack + self._ratio_max * came_in
        if went_out <= allowed:
            return None
        return Trip("out-versus-in", f"{went_out} orders out{when}, {came_in} signals in; {allowed} allowed")
