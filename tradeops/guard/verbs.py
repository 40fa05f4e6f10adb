"""What each verb makes of the state: a table from verb to a pure function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as with_
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from tradeops.base.clock import NS_PER_S
from tradeops.contracts.binding import OVERLAY_SCHEMA, Overlay
from tradeops.contracts.codec import convert, unknown_fields
from tradeops.contracts.directive import ADOPT, CANCEL, Scope, Verb
from tradeops.contracts.entitle import RUN_VERBS
from tradeops.contracts.layout import SLOTS
from tradeops.contracts.overlay import brought_back, loosened
from tradeops.contracts.status import Mark, MarkKind
from tradeops.contracts.units import PPM
from tradeops.guard import marks
from tradeops.guard.admit import Refusal
from tradeops.guard.marks import KILLS_ENDED_MAX, MARKS_MAX, Decision, Facts, Now, Order
from tradeops.guard.state import Lease, Permit, State

PERMIT_PEOPLE: Final = 2
_AGAIN: Final = {Verb.HALT: MarkKind.HALT, Verb.STANDBY: MarkKind.STANDBY}
"""What may be said again while its mark stands: a lost answer is asked for once more."""
LEASE_S_MAX: Final = 24 * 3600


def decide(state: State, order: Order, facts: Facts, now: Now) -> Decision:
    """The state after `order`. Raises Refusal: then the state stands as it is."""
    directive = order.directive
    if directive.verb is Verb.KILL:
        return _kill(state, order, now)
    if any(spent.id == directive.id for spent in state.spent):
        kind = _AGAIN.get(directive.verb)
        mark = marks.marked(state, kind, directive.id) if kind is not None else None
        if mark is not None:
            return Decision(state, already=True, cancel=None if mark.keeps_orders else directive.scope)
        raise Refusal("replayed", f"directive {directive.id} was taken before", "read /v1/status for what it came to; sign a new one")
    if order.run and directive.verb not in RUN_VERBS:
        raise Refusal("not_for_runs", f"a run's key may not {directive.verb}", "people sign it")
    if order.run and directive.run not in (None, order.run):
        raise Refusal("wrong_run", f"signed for run {order.run}, speaks of run {directive.run}")
    decision = _VERBS[directive.verb](state, order, facts, now)
    return with_(decision, state=marks.spend(decision.state, directive, now))


def _kill(state: State, order: Order, now: Now) -> Decision:
    directive = order.directive
    if directive.id in state.kills_ended:
        raise Refusal("spent", f"kill {directive.id} was ended by a permit", "sign a new kill: it is taken at once")
    standing = [mark for mark in marks.kills(state) if mark.id == directive.id]
    if any(mark.scope == directive.scope or mark.scope.everything() for mark in standing):
        return Decision(state, already=True, cancel=directive.scope)
    mark = Mark(MarkKind.KILL, directive.id, order.by, directive.reason, now.wall_ns, order.run, directive.scope)
    return Decision(marks.kill(state, mark, directive.issued_ns, now), cancel=directive.scope)


def _halt(state: State, order: Order, facts: Facts, now: Now) -> Decision:
    return Decision(_with_mark(state, order, MarkKind.HALT, now), cancel=order.directive.scope)


def _hold(state: State, order: Order, facts: Facts, now: Now) -> Decision:
    return Decision(_with_mark(state, order, MarkKind.HOLD, now))


def _standby(state: State, order: Order, facts: Facts, now: Now) -> Decision:
    """No slot writes from now on: the old writer is fenced before there is a new one (O09). What works is taken back, or kept for it.

    A run says its fence, as for an activation: one that was taken up elsewhere stands nobody down behind the other's back.
    """
    args = order.directive.args
    taken = _taken_up(state, order) if "fence" in args else state
    keeps = args.get("orders") == ADOPT
    return Decision(_with_mark(taken, order, MarkKind.STANDBY, now, keeps_orders=keeps), cancel=None if keeps else Scope())


def _with_mark(state: State, order: Order, kind: MarkKind, now: Now, *, keeps_orders: bool = False) -> State:
    directive = order.directive
    scope = directive.scope if kind is MarkKind.HALT else type(directive.scope)()
    stopped = any(mark.scope.everything() for mark in state.marks)
    if len(state.marks) >= MARKS_MAX and (stopped or not scope.everything()):
        advice = "it does not trade; end some first" if stopped else "halt the whole host, or end some first"
        raise Refusal("too_many", f"{MARKS_MAX} marks stand on this host", advice)
    mark = Mark(kind, directive.id, order.by, directive.reason, now.wall_ns, order.run, scope, keeps_orders)
    return replace(state, marks=(*state.marks, mark))


def _resume(state: State, order: Order, facts: Facts, now: Now) -> Decision:
    directive = order.directive
    if not directive.ends:
        raise Refusal("ends_nothing", "a resume names the halts it ends", "read their ids from /v1/status")
    named = [mark for mark in state.marks if mark.id in directive.ends]
    for mark in named:
        _may_resume(mark, order.run)
    _signed_after_floor(state, order)
    if facts.breaks and named:
        raise Refusal("reconciliation_break", f"reconciliation is open: {'; '.join(facts.breaks)}", "explain the break first")
    kept = tuple(mark for mark in state.marks if mark not in named)
    return Decision(replace(state, marks=kept), already=not named)


def _may_resume(mark: Mark, run: str | None) -> None:
    if mark.kind in (MarkKind.KILL, MarkKind.UNARMED):
        raise Refusal("needs_permit", f"{mark.id} is a {mark.kind}: a permit by two people ends it")
    if mark.kind is MarkKind.STANDBY:
        raise Refusal("needs_activation", f"{mark.id} is a standby: an activation ends it")
    if run is not None and mark.run != run:
        raise Refusal("not_its_own", f"{mark.id} was not set by run {run}", "one entitled person resumes it")
    if run is not None and mark.kind is MarkKind.HOLD:
        raise Refusal("needs_lease", f"{mark.id} is a hold", "the run ends it with a lease under a higher fence")


def _signed_after_floor(state: State, order: Order) -> None:
    if order.directive.issued_ns <= state.floor_ns:
        late_s = (state.floor_ns - order.directive.issued_ns) / NS_PER_S
        raise Refusal("signed_before", f"signed {late_s:.3f} s before this host was last killed or disarmed", "sign it anew, knowing that")


def _permit(state: State, order: Order, facts: Facts, now: Now) -> Decision:
    directive = order.directive
    until_ns, cause = directive.args.get("until_ns"), directive.args.get("cause", directive.reason)
    if len(set(order.people)) < PERMIT_PEOPLE:
        raise Refusal("people", f"signed by {order.by or 'nobody'}; a permit needs {PERMIT_PEOPLE} people", status=403)
    if not isinstance(cause, str) or not cause.strip():
        raise Refusal("no_cause", "a permit says its cause", "give it as the reason")
    if not directive.scope.everything():
        raise Refusal("scope", "a permit is for the whole host")
    if until_ns is not None and (not isinstance(until_ns, int) or isinstance(until_ns, bool) or until_ns <= now.wall_ns):
        raise Refusal("until", f"args.until_ns is {until_ns!r}: not a time to come, by this host's clock")
    _known_args(directive.args, {"cause", "until_ns"})
    unnamed = sorted({mark.id for mark in marks.kills(state)} - set(directive.ends))
    if unnamed:
        raise Refusal(
            "kill_not_named",
            f"does not name the standing kills {', '.join(unnamed)}",
            "both people look at each and sign a permit that names them",
        )
    _signed_after_floor(state, order)
    if facts.breaks:
        raise Refusal("reconciliation_break", f"reconciliation is open: {'; '.join(facts.breaks)}", "explain the break first")
    if facts.trader_problem:
        raise Refusal("not_proved", f"what runs here is not proved: {facts.trader_problem}", "deploy or repair the trader, then permit")
    permit = Permit(directive.id, directive.issued_ns, order.people, cause, order.envelope, until_ns)
    kept = tuple(mark for mark in state.marks if mark.kind not in (MarkKind.KILL, MarkKind.UNARMED))
    ended = tuple(dict.fromkeys((*state.kills_ended, *directive.ends)))[-KILLS_ENDED_MAX:]
    return Decision(replace(state, permit=permit, marks=kept, kills_ended=ended, latch_cleared=state.latch_seen))


def _known_args(args: dict[str, Any], known: set[str]) -> None:
    if extra := sorted(set(args) - known):
        raise Refusal("unknown_fields", f"args carry what this guard does not know: {', '.join(extra)}", "upgrade the platform")


def _activate(state: State, order: Order, facts: Facts, now: Now) -> Decision:
    """The token goes to a slot: only from a host that stands by, where it is proved that nobody writes (O09), and that nothing works,
    or what works is what the slot knows. A run says its fence too: one that was taken up elsewhere gives no slot the token any more.
    """
    args = order.directive.args
    _known_args(args, {"token", "slot", "orders", "fence"})
    token, slot = _count(args, "token"), args.get("slot")
    if slot not in SLOTS:
        raise Refusal("malformed", f"args.slot is {slot!r}, not one of {', '.join(SLOTS)}", status=400)
    if args.get("orders", CANCEL) not in (CANCEL, ADOPT):
        raise Refusal("malformed", f"args.orders is {args['orders']!r}, not {CANCEL} or {ADOPT}", status=400)
    _signed_after_floor(state, order)
    state = _taken_up(state, order)
    if token <= state.token:
        raise Refusal("older", f"activation token {token}, {state.token} was seen")
    kept = tuple(mark for mark in state.marks if mark.kind is not MarkKind.STANDBY)
    if kept == state.marks:
        raise Refusal("not_standing_by", f"slot {state.active} holds the token", "say `standby` first: it fences the old writer")
    if facts.writing:
        raise Refusal("not_stood_down", f"it is not proved that nobody writes: {facts.writing}", "wait, or stop the process that writes")
    if problem := facts.unfit.get(slot, "nothing is known of it"):
        raise Refusal("not_proved", f"slot {slot} is no proved standby: {problem}", "start it, or activate the other slot")
    note = _settled(state, args.get("orders") == ADOPT, facts, slot, now)
    return Decision(replace(state, marks=kept, token=token, active=slot), note=note)


def _settled(state: State, adopt: bool, facts: Facts, slot: str, now: Now) -> str:
    """What became of the orders that worked, where they were to be adopted. Raises Refusal when that is not settled."""
    if not (adopt and marks.keeps_orders(state, now)):
        if facts.working:
            raise Refusal("not_stood_down", f"nobody writes, but {facts.working}", "wait until they are cancelled")
        reasons = "; ".join(mark.reason for mark in state.marks if mark.kind is MarkKind.STANDBY)
        return f"nothing works: {reasons}" if adopt else ""
    if problem := facts.strange.get(slot, "nothing is known of it"):
        said = f"it is not proved that slot {slot} knows what works: {problem}"
        raise Refusal("not_adoptable", said, "wait: they are cancelled when that lasts; then activate it")
    return f"adopted: {facts.working or 'nothing works'}"


def _lease(state: State, order: Order, facts: Facts, now: Now) -> Decision:
    """The run's word on how long this host trades without it, and on how much of the flow it takes meanwhile."""
    directive, args = order.directive, order.directive.args
    _known_args(args, {"lease_s", "fence", "flow_cap_ppm"})
    lease_s, fence = _count(args, "lease_s"), _count(args, "fence")
    cap_ppm = _count(args, "flow_cap_ppm") if "flow_cap_ppm" in args else None
    run = order.run or directive.run
    if run is None:
        raise Refusal("no_run", "a lease names its run")
    if lease_s > LEASE_S_MAX:
        raise Refusal("too_long", f"a lease of {lease_s} s; at most {LEASE_S_MAX}")
    if cap_ppm is not None and (cap_ppm > PPM or not lease_s):
        raise Refusal("malformed", f"args.flow_cap_ppm is {cap_ppm}: at most {PPM}, and none with a lease that ends", status=400)
    _in_charge(state, run, fence, directive.issued_ns)
    kept = tuple(mark for mark in state.marks if not (mark.kind is MarkKind.HOLD and mark.run == run))
    lease = Lease(run, fence, lease_s, now.monotonic_ns + lease_s * NS_PER_S) if lease_s else None
    taken = replace(state, marks=kept, lease=lease, fence=fence, fence_run=run, leased_ns=directive.issued_ns)
    return Decision(replace(taken, flow_cap_ppm=cap_ppm))


def _taken_up(state: State, order: Order) -> State:
    """The state that has seen the fence of a run's directive; people have none. Raises Refusal when a newer session is in charge."""
    if order.run is None:
        return state
    fence = _count(order.directive.args, "fence")
    _in_charge(state, order.run, fence, order.directive.issued_ns)
    if _held(state, order.run) or (fence, order.run) == (state.fence, state.fence_run):
        return state  # under a hold the lease alone takes the fence: it ends the hold with it
    return replace(state, fence=fence, fence_run=order.run, leased_ns=0)


def _in_charge(state: State, run: str, fence: int, issued_ns: int) -> None:
    """A fence belongs to one run, and what that run signed later counts. Raises Refusal."""
    if fence < state.fence or (fence == state.fence and state.fence_run not in ("", run)):
        raise Refusal("fenced", f"fence {fence} of run {run}; {state.fence} of {state.fence_run or 'another run'} was seen")
    hold = _held(state, run)
    if hold is not None and fence <= state.fence:
        raise Refusal("held", f"{hold.id} stands", "take the run up again under a higher fence, or one person resumes")
    if fence == state.fence and issued_ns < state.leased_ns:
        raise Refusal("older", "a lease that this run signed later was taken", "it came late; the newer one stands")


def _held(state: State, run: str) -> Mark | None:
    return next((mark for mark in state.marks if mark.kind is MarkKind.HOLD and mark.run == run), None)


def _count(args: dict[str, Any], name: str) -> int:
    value = args.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise Refusal("malformed", f"args.{name} is {value!r}, not a whole number of zero or more", status=400)
    return value


def _overlay(state: State, order: Order, facts: Facts, now: Now) -> Decision:
    args = order.directive.args
    _known_args(args, {"overlay"})
    new = _read_overlay(args.get("overlay"))
    if new.fleet != order.directive.fleet:
        raise Refusal("wrong_fleet", f"the overlay is for fleet {new.fleet!r}", status=400)
    if new.number <= state.overlay_number:
        raise Refusal("older", f"overlay {new.number}, {state.overlay_number} is in force")
    if state.overlay is not None:
        old = _read_overlay(msgspec.json.decode(state.overlay.body())["args"]["overlay"])
        _keeps_flags(old, new)
        if state.overlay_release == facts.release:
            _tighter(old, new)
    return Decision(
        replace(
            state, overlay_number=new.number, overlay=order.envelope, overlay_release=facts.release, symbols_blocked=new.symbols_blocked
        )
    )


def _read_overlay(raw: object) -> Overlay:
    try:
        overlay = convert(raw, Overlay)
    except msgspec.ValidationError as error:
        raise Refusal("malformed", f"args.overlay: {error}", status=400) from None
    if extra := unknown_fields(msgspec.json.encode(raw), Overlay):
        raise Refusal(
            "unknown_fields", f"the overlay carries what this guard does not know: {', '.join(sorted(extra))}", "upgrade the platform"
        )
    if overlay.schema != OVERLAY_SCHEMA:
        raise Refusal("unknown_schema", f"overlay schema {overlay.schema!r}, this guard knows {OVERLAY_SCHEMA!r}")
    if ahead := [flag for flag, number in overlay.flags_off.items() if not 1 <= number <= overlay.number]:
        raise Refusal("malformed", f"overlay {overlay.number} says that a later one turned off {', '.join(ahead)}", status=400)
    return overlay


def _keeps_flags(old: Overlay, new: Overlay) -> None:
    """What an overlay has turned off or buried no overlay brings back. Raises Refusal naming it."""
    if found := brought_back(old, new):
        raise Refusal("loosens", f"overlay {new.number} would loosen {', '.join(found)}", "turning a flag on is a release, with its gates")


def _tighter(old: Overlay, new: Overlay) -> None:
    """An overlay over the same release may only tighten. Raises Refusal naming what it would loosen."""
    if found := loosened(old, new):
        raise Refusal("loosens", f"overlay {new.number} would loosen {', '.join(found)}", "loosening is a release, with its gates")


_VERBS: Final[dict[Verb, Callable[[State, Order, Facts, Now], Decision]]] = {
    Verb.HALT: _halt,
    Verb.RESUME: _resume,
    Verb.PERMIT: _permit,
    Verb.STANDBY: _standby,
    Verb.ACTIVATE: _activate,
    Verb.OVERLAY: _overlay,
    Verb.HOLD: _hold,
    Verb.LEASE: _lease,
}
