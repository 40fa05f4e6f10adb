"""The kill: independent roads to every host until it is confirmed blocked, then clear. Needs no lock, log or release.

HTTPS to the guard first; SSH `latch` for each host not confirmed in GRACE_S, on threads of its own so that neither
road starves the other; then the latch again with SIGKILL of the service; and, from here, the venues themselves for what
is not confirmed clear. Hosts that only a newer roster on the fleet's own hosts names are killed too. Every host ends
confirmed or named.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import msgspec

from tradeops.base.clock import NS_PER_MS, NS_PER_S, Clock
from tradeops.base.errors import ExitCode, TradeopsError
from tradeops.contracts.agent import AgentVerb, Latched
from tradeops.contracts.codec import convert
from tradeops.contracts.directive import DirectiveReply, OrderOutcomes
from tradeops.contracts.envelope import Envelope
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Outcome
from tradeops.fleet.ports import Agents, Controls, FanOut
from tradeops.fleet.roster import with_forgotten
from tradeops.safety.muster import Muster, newest

GRACE_S = 0.2
GRACE_PER_HOST_S = 0.002
"""A thousand TLS handshakes take their time: the second road starts that much later on a large fleet."""
STOP_AFTER_S = 1.0
VENUES_AFTER_S = 1.5
_ROUND_WAIT_MS = 500
_POLL_S = 0.02
_VENUE_POLL_S = 0.25
_ROUND_S = 2.0
_MUSTER_S = 3.0


@dataclass(frozen=True)
class Swept:
    """What one host still has at its venues after a mass cancel. working: None when a venue did not tell."""

    host: str
    working: int | None
    problem: str = ""


Sweeping = Callable[[Sequence[str], float], Sequence[Swept]]


@dataclass(frozen=True)
class Roads:
    """How a kill travels. sweep: mass cancel at the venues from here, within seconds; None: no venue is known here.

    muster: by what a newer roster is known and believed, None: the hosts were named, and no others are meant.
    """

    controls: Controls
    agents: Agents
    fan_out: FanOut
    clock: Clock
    sweep: Sweeping | None = None
    muster: Muster | None = None


@dataclass
class HostKill:
    """What is known of one host. blocked_ms, clear_ms: since the command began.  road: what confirmed it.

    roster: number of the one that it keeps, 0: none, or not told.
    """

    host: str
    road: str = ""
    blocked_ms: float | None = None
    clear_ms: float | None = None
    working: int | None = None
    orders: OrderOutcomes = field(default_factory=OrderOutcomes)
    stopped: bool = False
    roster: int = 0
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def confirmed(self) -> bool:
        """Blocked and clear."""
        return self.blocked_ms is not None and self.clear_ms is not None

    def next_step(self) -> str:
        """What a person does now about a host that is not confirmed."""
        if self.blocked_ms is None:
            return f"repeat the command; else reach {self.host} by its console and stop its trader, or have the venue cancel and block it"
        if self.clear_ms is None:
            return "have the venue confirm or cancel what still works; the command can be repeated at any time"
        return ""


@dataclass(frozen=True)
class KillReport:
    """The outcome for the whole fleet. found: hosts that only a newer roster names, and whose roster; killed like the others.

    unread: why a newer roster that a host keeps could not be read: hosts may be missing.
    """

    kill: str
    hosts: tuple[HostKill, ...]
    elapsed_ms: float
    found: dict[str, str] = field(default_factory=dict)
    unread: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """Zero only when every host is confirmed blocked and clear, and no host can be missing."""
        whole = all(host.confirmed for host in self.hosts) and not self.unread
        return ExitCode.PROVED if whole else ExitCode.KILL_INCOMPLETE

    def blocked(self) -> int:
        """Hosts confirmed blocked."""
        return sum(host.blocked_ms is not None for host in self.hosts)


class Board:
    """Who is confirmed so far: both roads write it, so it has a lock."""

    def __init__(self, hosts: Sequence[Host], clock: Clock, told: Callable[[HostKill], None], *, began_ns: int | None = None) -> None:
        self._clock = clock
        self._began_ns = clock.monotonic_ns() if began_ns is None else began_ns
        self._told = told
        self._lock = threading.Lock()
        self._by_name = {host.name: HostKill(host.name) for host in hosts}
        self._hosts = tuple(hosts)
        self._found: dict[str, str] = {}
        self._unread = ""

    def elapsed_s(self) -> float:
        """Since the command began."""
        return (self._clock.monotonic_ns() - self._began_ns) / NS_PER_S

    def not_blocked(self) -> list[Host]:
        """Hosts not confirmed blocked."""
        return [host for host in self._hosts if self._by_name[host.name].blocked_ms is None]

    def not_confirmed(self) -> list[Host]:
        """Hosts not confirmed blocked and clear."""
        return [host for host in self._hosts if not self._by_name[host.name].confirmed]

    def hosts(self) -> tuple[Host, ...]:
        """Every host that is killed here."""
        return self._hosts

    def keepers(self, number: int) -> list[Host]:
        """Hosts that keep a roster newer than `number`, the newest first."""
        newer = [host for host in self._hosts if self._by_name[host.name].roster > number]
        return sorted(newer, key=lambda host: -self._by_name[host.name].roster)

    def beside(self, hosts: Sequence[Host]) -> Board:
        """A board for further hosts of the same kill."""
        return Board(hosts, self._clock, self._told, began_ns=self._began_ns)

    def take_in(self, other: Board, source: str) -> None:
        """The hosts of another board are this kill's too. source: whose roster names them."""
        with self._lock:
            self._hosts += other._hosts
            self._by_name |= other._by_name
            self._found |= {host.name: source for host in other._hosts} | other._found
            self._unread = self._unread or other._unread

    def unread(self, why: str) -> None:
        """A newer roster is there and cannot be had."""
        with self._lock:
            self._unread = why

    def answer(self, host: str, reply: DirectiveReply) -> None:
        """A guard's word."""
        with self._lock:
            entry = self._by_name[host]
            if reply.error:
                entry.problems["https"] = reply.error
            self._blocked(entry, reply.accepted and reply.blocked, "https")
            entry.working = reply.working
            entry.roster = max(entry.roster, reply.roster_number)
            entry.orders = reply.orders
            if entry.blocked_ms is not None and reply.accepted and reply.clear and entry.clear_ms is None:
                entry.clear_ms = self._ms()
        self._told(entry)

    def latched(self, host: str, latched: Latched) -> None:
        """An agent's word."""
        with self._lock:
            entry = self._by_name[host]
            entry.roster = max(entry.roster, latched.roster_number)
            entry.stopped = entry.stopped or (latched.stopped is not None and latched.stopped.stopped)
            if latched.problems:
                entry.problems["ssh"] = "; ".join(latched.problems)
            durable = latched.latch > 0
            self._blocked(entry, durable and (latched.blocked or entry.stopped), "ssh stop" if entry.stopped else "ssh")
            if not durable:
                entry.problems["durable"] = "stopped, but the kill could not be kept there: it would trade again after a reboot"
        self._told(entry)

    def swept(self, swept: Swept, *, blocked_before: bool) -> None:
        """The venues' word. It confirms clear only when the host was blocked before they were asked."""
        with self._lock:
            entry = self._by_name[swept.host]
            entry.working = swept.working
            if swept.problem:
                entry.problems["venue"] = swept.problem
            elif swept.working == 0 and blocked_before and entry.clear_ms is None:
                entry.clear_ms = self._ms()
        self._told(entry)

    def problem(self, host: str, road: str, words: str) -> None:
        """A road that did not lead there."""
        with self._lock:
            entry = self._by_name[host]
            entry.problems[road] = words
        self._told(entry)

    def report(self, kill: str) -> KillReport:
        """Everything, hosts not confirmed first."""
        entries = sorted(self._by_name.values(), key=lambda entry: (entry.confirmed, entry.host))
        return KillReport(kill, tuple(entries), self._ms(), dict(self._found), self._unread)

    def _blocked(self, entry: HostKill, blocked: bool, road: str) -> None:
        if blocked and entry.blocked_ms is None:
            entry.blocked_ms = self._ms()
            entry.road = road

    def _ms(self) -> float:
        return (self._clock.monotonic_ns() - self._began_ns) / NS_PER_MS


def kill(
    roads: Roads,
    hosts: Sequence[Host],
    envelope: Envelope,
    kill_id: str,
    *,
    deadline_s: float,
    told: Callable[[HostKill], None],
    whole_host: bool = True,
) -> KillReport:
    """Send the signed kill to every host by every road until all are confirmed or `deadline_s` is over.

    whole_host: without a scope; a scoped kill goes to guards alone, since an agent can only stop everything.
    """
    board = Board(hosts, roads.clock, told)
    _strike(roads, board, hosts, envelope, deadline_s=deadline_s, whole_host=whole_host, known=hosts)
    return board.report(kill_id)


def _strike(
    roads: Roads, board: Board, hosts: Sequence[Host], envelope: Envelope, *, deadline_s: float, whole_host: bool, known: Sequence[Host]
) -> None:
    """Every road at once to the hosts of a board. known: every host that is killed already, on this board or beside it."""
    works = [_road(board, "https", lambda: _https(roads, board, envelope, deadline_s))]
    if whole_host:
        works.append(_road(board, "ssh", lambda: _ssh(roads, board, envelope, deadline_s, len(hosts))))
        if roads.sweep is not None:
            sweep = roads.sweep
            works.append(_road(board, "venue", lambda: _venues(roads, sweep, board, deadline_s, len(hosts))))
    if roads.muster is not None:
        muster = roads.muster

        def further(newer: Muster, found: Sequence[Host], before: Sequence[Host]) -> Board:
            beside, roads_on = board.beside(found), replace(roads, muster=newer)
            _strike(roads_on, beside, found, envelope, deadline_s=deadline_s, whole_host=whole_host, known=(*before, *found))
            return beside

        works.append(_road(board, "roster", lambda: _forgotten(roads, muster, board, known, further, deadline_s)))
    roads.fan_out.together(works)


def _forgotten(
    roads: Roads,
    muster: Muster,
    board: Board,
    known: Sequence[Host],
    further: Callable[[Muster, Sequence[Host], Sequence[Host]], Board],
    deadline_s: float,
) -> None:
    """As soon as a host tells of a newer roster: read it, and kill the hosts that only it names as all the others."""
    while True:
        if keepers := board.keepers(muster.number):
            try:
                keeper, roster = newest(muster, keepers, roads.controls, roads.agents, roads.fan_out, timeout_s=_MUSTER_S)
            except TradeopsError as error:
                board.unread(f"a roster newer than {muster.number} is kept by {keepers[0].name}, and cannot be had: {error}")
                return
            muster = replace(muster, number=roster.number)
            known = (*known, *(host for host in board.hosts() if host not in known))
            if found := with_forgotten(known, roster.hosts)[len(known) :]:
                board.take_in(further(muster, found, known), f"roster {roster.number} of {keeper.name}")
        elif not board.not_confirmed() or board.elapsed_s() >= deadline_s:
            return
        else:
            roads.clock.sleep_s(_POLL_S)


def _road(board: Board, name: str, travel: Callable[[], None]) -> Callable[[], None]:
    """A road that breaks down, by whatever mistake, is a problem of its hosts and never the end of the other roads."""

    def work() -> None:
        try:
            travel()
        except Exception as error:  # noqa: BLE001  a kill's report must come out, whatever one road ran into
            for host in board.not_confirmed():
                with suppress(Exception):  # the mistake may be in what is told: the report comes out all the same
                    board.problem(host.name, name, f"the road broke down: {type(error).__name__}: {error}")

    return work


def _https(roads: Roads, board: Board, envelope: Envelope, deadline_s: float) -> None:
    """Post the kill again and again, which is harmless: each answer tells blocked and clear as they are then."""
    while (left_s := deadline_s - board.elapsed_s()) > 0:
        hosts = board.not_confirmed()
        if not hosts:
            return
        round_s = min(_ROUND_S + GRACE_PER_HOST_S * len(hosts), left_s)
        roads.controls.direct(
            hosts, envelope, deadline_s=round_s, wait_ms=_ROUND_WAIT_MS, answered=lambda name, outcome: _note(board, name, outcome)
        )
        if board.not_confirmed():
            roads.clock.sleep_s(_POLL_S)


def _note(board: Board, name: str, outcome: Outcome[DirectiveReply]) -> None:
    if isinstance(outcome, Done):
        board.answer(name, outcome.value)
    else:
        board.problem(name, "https", outcome.error.what)


def _ssh(roads: Roads, board: Board, envelope: Envelope, deadline_s: float, fleet_size: int) -> None:
    """Latch each host that is not blocked after its grace, then stop its service, until all are blocked or time is up."""
    grace_s = GRACE_S + GRACE_PER_HOST_S * fleet_size
    while board.not_blocked() and board.elapsed_s() < min(grace_s, deadline_s):
        roads.clock.sleep_s(_POLL_S)
    while (left_s := deadline_s - board.elapsed_s()) > 0:
        hosts = board.not_blocked()
        if not hosts:
            return
        force = board.elapsed_s() > grace_s + STOP_AFTER_S
        _latch_all(roads, board, envelope, hosts, stop=force, limit_s=min(left_s, 5.0))
        if board.not_blocked():
            roads.clock.sleep_s(_POLL_S)


def _venues(roads: Roads, sweep: Sweeping, board: Board, deadline_s: float, fleet_size: int) -> None:
    """Cancel at the venues for the hosts that are not confirmed by then, until they are or time is up."""
    wait_s = VENUES_AFTER_S + GRACE_PER_HOST_S * fleet_size
    while board.not_confirmed() and board.elapsed_s() < min(wait_s, deadline_s):
        roads.clock.sleep_s(_POLL_S)
    while (left_s := deadline_s - board.elapsed_s()) > 0:
        hosts = [host.name for host in board.not_confirmed()]
        if not hosts:
            return
        open_hosts = {host.name for host in board.not_blocked()}
        for swept in sweep(hosts, left_s):
            board.swept(swept, blocked_before=swept.host not in open_hosts)
        roads.clock.sleep_s(_VENUE_POLL_S)


def _latch_all(roads: Roads, board: Board, envelope: Envelope, hosts: Sequence[Host], *, stop: bool, limit_s: float) -> None:
    plain = msgspec.to_builtins(envelope)

    def latch(host: Host) -> None:
        session = roads.agents.open(host, timeout_s=limit_s)
        try:
            answer = session.call(AgentVerb.LATCH, timeout_s=limit_s, directive=plain, wait_ms=_ROUND_WAIT_MS, stop=stop)
        finally:
            session.close()
        try:
            board.latched(host.name, convert(answer, Latched))
        except msgspec.ValidationError as error:
            raise TradeopsError(f"its agent's answer is not one: {error}", where=host.name) from None

    outcomes = roads.fan_out.run(hosts, latch, deadline_s=limit_s + 1.0, concurrency=len(hosts))
    for name, outcome in outcomes.items():
        if not isinstance(outcome, Done):
            board.problem(name, "ssh", outcome.error.what)
