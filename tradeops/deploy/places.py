"""In which slot the release goes on each host, and whether two slots can take turns there. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tradeops.base.errors import Refused
from tradeops.contracts.agent import Facts, Running
from tradeops.contracts.binding import Binding
from tradeops.contracts.layout import SLOTS
from tradeops.contracts.manifest import Release
from tradeops.contracts.status import MarkKind
from tradeops.release.flags import journal_conflict


@dataclass(frozen=True)
class Place:
    """slot: where the release goes.  active: the one that holds the activation token.  idle: what the other one is linked to."""

    slot: str
    active: str
    idle: str | None


def here(facts: Facts) -> str | None:
    """The release of the slot that holds the token: what runs there, or what would start where nothing runs."""
    running = in_slot(facts, facts.active)
    return (running.release or running.linked) if running else None


def in_slot(facts: Facts, slot: str) -> Running | None:
    """What is in a slot; None: the host has none of that name."""
    return next((running for running in facts.running if running.slot == slot), None)


def lives(facts: Facts, slot: str) -> bool:
    """Whether a slot has a process."""
    running = in_slot(facts, slot)
    return running is not None and running.pid is not None


def other_slot(slot: str) -> str:
    """The one beside it."""
    return next(name for name in SLOTS if name != slot)


def beside(facts: Facts, active: str) -> bool:
    """Whether a process lives in the slot that is not `active`."""
    return lives(facts, other_slot(active))


def stands_by(facts: Facts) -> bool:
    """Whether the host was told that no slot of it writes."""
    return any(mark.kind is MarkKind.STANDBY for mark in facts.marks)


def places(facts: Mapping[str, Facts], *, take_turns: bool) -> dict[str, Place]:
    """Where the release goes: into the slot that trades, or, where slots take turns, into the one beside it.

    Raises Refused where a host stands by: nobody writes there, and a run would prove nothing.
    """
    if standing := sorted(name for name, fact in facts.items() if stands_by(fact)):
        raise Refused(
            "no slot is active",
            where=", ".join(standing),
            holds="nothing was touched",
            next="`tradeops runs list`; `tradeops runs abort RUN` gives the token to the slot that had it",
        )
    found = {}
    for name, fact in facts.items():
        idle = in_slot(fact, other_slot(fact.active))
        found[name] = Place(other_slot(fact.active) if take_turns else fact.active, fact.active, idle.linked if idle else None)
    return found


def refuse_adoption(bindings: Mapping[str, Binding]) -> None:
    """Raises Refused where working orders cannot be left to the next slot: the session changes hands. bindings: by host."""
    dropped: dict[str, list[str]] = {}
    for host, binding in bindings.items():
        for venue in binding.venues:
            if not venue.keep_on_logout:
                dropped.setdefault(venue.name, []).append(host)
    if dropped:
        where = "; ".join(f"{venue} on {', '.join(hosts)}" for venue, hosts in dropped.items())
        raise Refused(
            f"working orders cannot be adopted: by its binding a venue cancels them when their session logs out ({where})",
            where=", ".join(dropped),
            holds="nothing was touched",
            next="write `orders: cancel`; or, where a venue offers it, `keep_on_logout: true` in its binding, and sign that",
        )


def refuse_turns(release: Release, facts: Mapping[str, Facts], running: Mapping[str, Release]) -> None:
    """Raises Refused where a cutover cannot work. running: what each host runs now."""
    if release.start.kept:
        raise Refused(
            "the service has no second slot: it listens on one port of its host, and knows no standby",
            holds="nothing was touched",
            next="`tradeops deploy --rolling`; HAProxy before it drains each host first",
        )
    problems = {name: "; ".join(said) for name in facts if (said := list(_against(release, facts[name], running.get(name))))}
    if problems:
        raise Refused(
            f"two slots cannot take turns on {len(problems)} of {len(facts)} hosts\n"
            + "\n".join(f"{name}: {words}" for name, words in problems.items()),
            where=", ".join(problems),
            holds="nothing was touched",
            next="put right what is named, or `tradeops deploy --rolling`",
        )


def _against(new: Release, facts: Facts, old: Release | None) -> Iterator[str]:
    if in_slot(facts, other_slot(facts.active)) is None:
        yield "it has one slot alone: enrol it with both"
    if old is None:
        yield "nothing runs there that the release could stand beside"
        return
    if marks := [f"{mark.kind} by {mark.by}" for mark in facts.marks if mark.scope.everything()]:
        yield f"it does not trade, so nothing can be compared ({', '.join(marks)})"
    if conflict := journal_conflict(old, new):
        yield f"the release cannot follow: {conflict}"
    if conflict := journal_conflict(new, old):
        yield f"there would be no way back: {conflict}"
    for name in sorted(old.contracts.keys() & new.contracts.keys()):
        if old.contracts[name] != new.contracts[name]:
            yield f"contract {name!r} is {old.contracts[name]} in one slot and {new.contracts[name]} in the other"
