"""What a host is doing: vitals (trader to guard, in the shared page) and status, health (guard to operator)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tradeops.contracts.directive import Scope
from tradeops.contracts.identity import Identity

STATUS_SCHEMA = "tradeops/status/v1"
HEALTH_SCHEMA = "tradeops/health/v1"
OPEN_ORDERS_MAX = 300
"""What fits on the vitals page beside the rest."""


class MarkKind(StrEnum):
    """Why a host does not trade (design: marks)."""

    UNARMED = "unarmed"
    KILL = "kill"
    HALT = "halt"
    HOLD = "hold"
    STANDBY = "standby"


def trip_id(control: str, wall_ns: int) -> str:
    """Of the mark that a control sets."""
    return f"{control}-{wall_ns}"


class Mark(msgspec.Struct, frozen=True):
    """One reason not to trade. by: person, run, or the control that tripped with its measured value.

    scope: what it stops; anything but the whole leaves the rest of the host trading.  keeps_orders: of a standby: what works
    is left to the slot that is activated.
    """

    kind: MarkKind
    id: str
    by: str
    reason: str
    since_wall_ns: int
    run: str | None = None
    scope: Scope = Scope()
    keeps_orders: bool = False

    @property
    def tripped(self) -> bool:
        """Whether a control of the host's own set it, and no person and no run: such marks are named after control and time."""
        return self.id == trip_id(self.by, self.since_wall_ns)


class OpenOrder(msgspec.Struct, frozen=True, array_like=True):
    """An order without an end in the host's journal. Price and quantities in 1e-9 units."""

    venue: str
    id: str
    symbol: str
    side: str
    price: int
    quantity: int
    filled: int


class Histogram(msgspec.Struct, frozen=True):
    """Counts per bucket; `upper_s` are inclusive upper edges in seconds, the last bucket is open."""

    upper_s: tuple[float, ...]
    counts: tuple[int, ...]
    sum_s: float


HALTED = "halted"
"""The state of a trader that sends nothing: the stop page says so, or it has reasons of its own."""
OWN_HALT = f"{HALTED}: "
"""How the warning begins with which a trader says that it halts itself, and why."""


class Vitals(msgspec.Struct, frozen=True):
    """What the trader's hot loop writes several times a second. Times: nanoseconds; quantities, money: 1e-9 units.

    beat_ns: CLOCK_MONOTONIC.  state: starting, recovering, ready, halted, standby, stopping.  ack_epoch, ack_latch: the stop
    page's words the gate last acted on.  send_queue: bytes handed over and not yet on the wire.  sessions: venue, or venue/feed ->
    up or down.  feed_age_ns: per feed, corrected by the feed's clock offset.  warnings: since start (D17).
    writes: holds the host's journal and may use its sessions; a standby does not, its state is `standby`.
    token: the activation under which it writes, 0 for none.  unanswered: of the working orders, those of which the venue has yet to
    say what became of what was asked last: a new one, a cancel, a query.
    open_orders: of a standby, while orders are kept for the slot that is activated: what the journal told it; None: not said, or more
    than OPEN_ORDERS_MAX.
    """

    identity: Identity
    beat_ns: int
    state: str
    ack_epoch: int
    ack_latch: int
    send_queue: int
    working: int
    sessions: dict[str, str]
    feed_age_ns: dict[str, int]
    positions: dict[str, int]
    counters: dict[str, int]
    gauges: dict[str, float]
    histograms: dict[str, Histogram]
    limits: dict[str, int]
    warnings: tuple[str, ...] = ()
    writes: bool = True
    token: int = 0
    unanswered: int = 0
    open_orders: tuple[OpenOrder, ...] | None = None

    def own_halts(self) -> tuple[str, ...]:
        """Why it halts itself, in its own words."""
        return tuple(warning for warning in self.warnings if warning.startswith(OWN_HALT))


class Status(msgspec.Struct, frozen=True):
    """GET /v1/status. trading: a valid permit, no mark, a live trader that does not halt itself. clear, working: from drop copy; None
    unknown.

    vitals: of the active slot.  active, token: the slot that holds the activation token, or held it last when the host
    stands by, and the token's number.  standby: vitals of the other slot's process, None when none lives.
    flow_cap_ppm: the share of signals that a run has left to this host, None for all; the overlay may leave less.
    speaks: which words of directives it knows (contracts.directive.SPEAKS).
    """

    schema: str
    host: str
    fleet: str
    trading: bool
    marks: tuple[Mark, ...]
    permit: str | None
    vitals: Vitals | None
    vitals_age_ms: float | None
    epoch: int
    blocked: bool
    clear: bool | None
    working: int | None
    platform: str
    wall_ns: int
    policy_number: int
    roster_number: int
    overlay_number: int
    problems: tuple[str, ...] = ()
    active: str = "blue"
    token: int = 0
    standby: Vitals | None = None
    standby_age_ms: float | None = None
    flow_cap_ppm: int | None = None
    speaks: int = 0


class Check(msgspec.Struct, frozen=True):
    """A fact about one host: yes, no or unknown, with what was measured."""

    name: str
    verdict: str
    detail: str


class Health(msgspec.Struct, frozen=True):
    """GET /v1/health: healthy only when every check says yes."""

    schema: str
    host: str
    healthy: bool
    checks: tuple[Check, ...]
