"""Moving the activation token on hosts: the slot that writes is stood down, and only where that is proved another is activated (O09)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tradeops.contracts.directive import ADOPT, CANCEL, DirectiveReply, Verb
from tradeops.contracts.status import MarkKind, Status
from tradeops.deploy.crew import Crew, PhaseFailed
from tradeops.deploy.locks import confirm, not_taken
from tradeops.deploy.phases import SlotOf, statuses
from tradeops.deploy.settle import settle
from tradeops.fleet.outcome import Outcome, errors, values

CUTOVER, STAND_DOWN, ORDERS = "cutover", "stand-down", "orders"
_BLOCKED_MS = 500


def give_token(crew: Crew, names: Sequence[str], slot: SlotOf, orders: str) -> None:
    """The token of these hosts to a slot, unless that has it: stood down, activated under a higher number, seen to write.

    orders: what becomes of those that work.  Hosts of one fence go together, and at once one after the other: nobody trades on a host
    in between. Raises PhaseFailed, KillArrived, Ousted.
    """
    with crew.phase(CUTOVER, names):
        confirm(crew, names)
        seen = _ask(crew, CUTOVER, names)
        pending = [name for name in names if _left(crew, slot, name, seen[name])]
        for key in sorted({_key(crew, name, slot) for name in pending}):
            group = [name for name in pending if _key(crew, name, slot) == key]
            _stand_down(crew, CUTOVER, [name for name in group if not _stands_by(seen[name])], orders)
            _activate(crew, group, key[0], 1 + max(seen[name].token for name in group), orders)
        left = partial(_left, crew, slot)
        hopeless = partial(_halted_since, seen)
        settle(crew, CUTOVER, names, lambda some: statuses(crew, some), left, deadline_s=crew.playbook.deadlines.prove, hopeless=hopeless)


def stand_down(crew: Crew, names: Sequence[str]) -> None:
    """No slot of these hosts writes from here on, and what works is taken back. Raises PhaseFailed, KillArrived, Ousted."""
    with crew.phase(STAND_DOWN, names):
        confirm(crew, names)
        _stand_down(crew, STAND_DOWN, names, CANCEL)


def _key(crew: Crew, name: str, slot: SlotOf) -> tuple[str, int]:
    """Hosts that one directive may name."""
    return slot(crew.plan.part(name)), crew.states[name].fence or 0


def _ask(crew: Crew, phase: str, names: Sequence[str]) -> dict[str, Status]:
    found = statuses(crew, names)
    if failures := errors(found):
        raise PhaseFailed(phase, failures)
    return values(found)


def _becomes(orders: str) -> dict[str, int | str]:
    """What directives say of working orders: nothing, where guards of before that word do the same."""
    return {"orders": orders} if orders == ADOPT else {}


def _stand_down(crew: Crew, phase: str, names: Sequence[str], orders: str) -> None:
    """A lost answer is read back: the mark is there, or it is not."""
    if names:
        reason = f"cutover of {crew.plan.service} {crew.plan.number}"
        replies = crew.direct(Verb.STANDBY, names, reason, args=_becomes(orders), wait_ms=_BLOCKED_MS)
        _require(crew, phase, replies, lambda status: "" if _stands_by(status) else "it was not stood down")


def _activate(crew: Crew, names: Sequence[str], slot: str, token: int, orders: str) -> None:
    """Guards take it when they have proof that nobody writes, and that nothing works or the slot knows what does, for which they are
    given the time of a drain. What became of orders that were to be adopted is told and written down.
    """
    replies = crew.direct(
        Verb.ACTIVATE,
        names,
        f"{crew.plan.playbook} of {crew.plan.service} {crew.plan.number}",
        args={"token": token, "slot": slot, **_becomes(orders)},
        wait_ms=int(crew.playbook.deadlines.drain * 1000),
    )
    _require(crew, CUTOVER, replies, lambda status: "" if (status.active, status.token) == (slot, token) else "the token did not go over")
    notes = {name: reply.note for name, reply in values(replies).items() if reply.note}
    for name, note in notes.items():
        crew.tell(CUTOVER, name, "done", note)
    if notes:
        crew.journal.note(ORDERS, orders, crew.site.clock.wall_ns(), **notes)


def _require(crew: Crew, phase: str, replies: Mapping[str, Outcome[DirectiveReply]], point: Callable[[Status], str]) -> None:
    """Raises PhaseFailed for hosts that neither took it nor show it."""
    failures = not_taken(replies)
    seen = values(statuses(crew, list(failures))) if failures else {}
    if left := {name: error for name, error in failures.items() if name not in seen or point(seen[name])}:
        crew.raise_stops(left)
        raise PhaseFailed(phase, left)


def _left(crew: Crew, slot: SlotOf, name: str, status: Status) -> str:
    """What is still to come until the slot writes; "" when it does."""
    wanted, vitals = slot(crew.plan.part(name)), status.vitals
    if _stands_by(status):
        return "it stands by, no slot writes"
    if status.active != wanted:
        return f"slot {status.active} has the token"
    writes = vitals is not None and vitals.writes and vitals.identity.slot == wanted
    return "" if writes else f"slot {wanted} has the token and does not write"


def _stands_by(status: Status) -> bool:
    return any(mark.kind is MarkKind.STANDBY for mark in status.marks)


def _halted_since(seen: Mapping[str, Status], status: Status) -> bool:
    """A slot that does not take over is halted by its guard within seconds, and does not come up by waiting."""
    known = {mark.id for mark in seen[status.host].marks}
    return any(mark.kind is MarkKind.HALT and mark.id not in known for mark in status.marks)
