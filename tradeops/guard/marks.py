"""Marks and permit: what a directive, a trip or time makes of the state. Values in, values out; `now` is passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from tradeops.base.clock import NS_PER_S
from tradeops.contracts.directive import RISK_REDUCING, Directive, Scope
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.pages import Token
from tradeops.contracts.status import Mark, MarkKind, trip_id
from tradeops.guard.admit import Refusal
from tradeops.guard.state import Spent, State

MARKS_MAX: Final = 500
SPENT_MAX: Final = 10_000
SPENT_KEPT_NS: Final = 3600 * NS_PER_S
"""How long after its end a directive's id is kept, should the clock be set back."""
KILLS_ENDED_MAX: Final = 5_000
"""An ended kill forgotten beyond this would stop the host once more, never start it."""


@dataclass(frozen=True)
class Now:
    """Both clocks of this host."""

    wall_ns: int
    monotonic_ns: int


@dataclass(frozen=True)
class Facts:
    """What permits, resumes and activations are judged by. trader_problem: why what runs here is not proved, empty when it is.

    breaks: reconciliation breaks that are open.  release: what runs, for overlays.  writing: why it is not proved that
    no process of the host writes, working: that nothing works; empty when it is.  unfit: slot -> why its process is no proved
    standby, strange: slot -> why it is not proved that what works is what the journal told that process; empty when it is.
    """

    trader_problem: str = ""
    breaks: tuple[str, ...] = ()
    release: str = ""
    writing: str = "not looked at"
    working: str = "not looked at"
    unfit: Mapping[str, str] = field(default_factory=dict)
    strange: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """A directive whose signatures were verified: who is behind it."""

    directive: Directive
    envelope: Envelope
    people: tuple[str, ...]
    run: str | None = None

    @property
    def by(self) -> str:
        """The run or the people, for the mark."""
        return f"run {self.run}" if self.run else ", ".join(self.people)


@dataclass(frozen=True)
class Decision:
    """The state that follows. already: nothing new.  cancel: working orders to be taken back, as far as this covers.

    note: what the reply says of it.
    """

    state: State
    already: bool = False
    cancel: Scope | None = None
    note: str = ""


def trading(state: State, now: Now) -> bool:
    """A valid permit and no mark on the whole host."""
    return permitted(state, now) and all(not mark.scope.everything() for mark in state.marks)


def permitted(state: State, now: Now) -> bool:
    """Whether there is a permit that has not ended."""
    permit = state.permit
    return permit is not None and (permit.until_ns is None or now.wall_ns < permit.until_ns)


def blocked_scopes(state: State) -> tuple[Scope, ...]:
    """What is stopped while the rest of the host trades, each subset once."""
    narrow = [mark.scope for mark in state.marks if not mark.scope.everything()]
    if state.symbols_blocked:
        narrow.append(Scope(symbols=state.symbols_blocked))
    return tuple(dict.fromkeys(narrow))


def kills(state: State) -> tuple[Mark, ...]:
    """The kills that stand."""
    return tuple(mark for mark in state.marks if mark.kind is MarkKind.KILL)


def marked(state: State, kind: MarkKind, id: str) -> Mark | None:
    """The mark of that kind and id, if it stands."""
    return next((mark for mark in state.marks if mark.kind is kind and mark.id == id), None)


def token(state: State) -> Token:
    """Who may write: the active slot, or none while the host stands by."""
    stands_by = any(mark.kind is MarkKind.STANDBY for mark in state.marks)
    return Token(state.token, "" if stands_by else state.active)


def keeps_orders(state: State, now: Now) -> bool:
    """Whether nothing stops the host but standbys that leave what works to the slot that is activated."""
    whole = [mark for mark in state.marks if mark.scope.everything()]
    return permitted(state, now) and bool(whole) and all(mark.keeps_orders for mark in whole)


def take_back_kept(state: State, why: str) -> State:
    """The same standbys, and what works is cancelled after all."""
    kept = [mark for mark in state.marks if mark.keeps_orders]
    given_up = {
        mark.id: replace(mark, keeps_orders=False, reason=f"{mark.reason}; orders not adopted, but cancelled: {why}") for mark in kept
    }
    return replace(state, marks=tuple(given_up.get(mark.id, mark) for mark in state.marks)) if kept else state


def disarm(state: State, reason: str, by: str, now: Now) -> State:
    """Without a permit, and saying why. What was lost with it may not come back: nothing signed until now permits."""
    kept = tuple(mark for mark in state.marks if mark.kind is not MarkKind.UNARMED)
    mark = Mark(MarkKind.UNARMED, f"unarmed-{now.wall_ns}", by, reason, now.wall_ns)
    return replace(state, permit=None, marks=(*kept, mark), floor_ns=max(state.floor_ns, now.wall_ns))


def kill(state: State, mark: Mark, signed_ns: int, now: Now) -> State:
    """With a kill; one that covers the whole host ends its permit. signed_ns: when, by the signer's clock; 0 unknown."""
    floor_ns = max(state.floor_ns, min(signed_ns or now.wall_ns, now.wall_ns))
    killed = replace(state, marks=(*state.marks, mark), floor_ns=floor_ns)
    if not mark.scope.everything() or state.permit is None:
        return killed
    unarmed = Mark(MarkKind.UNARMED, f"unarmed-{now.wall_ns}", mark.by, f"the permit was ended by kill {mark.id}", now.wall_ns)
    return replace(killed, permit=None, marks=(*killed.marks, unarmed))


def trip(state: State, kind: MarkKind, control: str, measured: str, now: Now) -> State:
    """With the automatic mark of a control, unless that already stands. The mark names control and measured value."""
    if any(mark.kind is kind and mark.by == control for mark in state.marks):
        return state
    mark = Mark(kind, trip_id(control, now.wall_ns), control, measured, now.wall_ns)
    return kill(state, mark, 0, now) if kind is MarkKind.KILL else replace(state, marks=(*state.marks, mark))


def pass_time(state: State, now: Now) -> State:
    """What time alone does: it takes permits away and lets leases lapse, it never gives."""
    if state.permit is not None and not permitted(state, now):
        state = disarm(state, f"permit {state.permit.id} has ended", "time", now)
    lease = state.lease
    if lease is not None and not 0 < lease.until_ns - now.monotonic_ns <= lease.lease_s * NS_PER_S:
        reason = f"the lease of run {lease.run} ({lease.lease_s} s, fence {lease.fence}) was not renewed"
        mark = Mark(MarkKind.HOLD, f"hold-{lease.run}", "lease", reason, now.wall_ns, lease.run)
        held = marked(state, MarkKind.HOLD, mark.id) is not None
        state = replace(state, lease=None, marks=state.marks if held else (*state.marks, mark))
    return state


def spend(state: State, directive: Directive, now: Now) -> State:
    """With the directive's id taken. Ids that can still come again are never forgotten.

    Raises Refusal when they fill the list; what reduces risk is taken all the same, for its replay only reduces more.
    """
    kept = tuple(spent for spent in state.spent if spent.expires_ns + SPENT_KEPT_NS > now.wall_ns)
    if len(kept) < SPENT_MAX:
        return replace(state, spent=(*kept, Spent(directive.id, directive.expires_ns)))
    if directive.verb in RISK_REDUCING:
        return state
    said = f"{SPENT_MAX} directives that have not expired are remembered"
    raise Refusal("too_many", said, "wait until some expire; what stops is not affected")
