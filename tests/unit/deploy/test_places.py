"""Where a release goes, and when two slots cannot take turns: said before anything is touched."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.sim.host import SimHost
from tests.sim.world import make_manifest
from tradeops.base.clock import VirtualClock
from tradeops.base.errors import Refused
from tradeops.contracts.agent import AgentVerb, Facts
from tradeops.contracts.binding import BINDING_SCHEMA, Binding, Venue
from tradeops.contracts.codec import convert
from tradeops.contracts.directive import Scope
from tradeops.contracts.manifest import Release, Start
from tradeops.contracts.status import Mark, MarkKind
from tradeops.deploy.places import Place, beside, here, places, refuse_adoption, refuse_turns

OLD, NEW = make_manifest(1), make_manifest(2)


def facts(**changes: Any) -> Facts:
    """A host that trades the old release in blue."""
    host = SimHost("h1", "f", VirtualClock(), {OLD.id(): OLD})
    host.runs_already(OLD.id())
    return replace(convert(host.handle(AgentVerb.FACTS, None, None, {}, b""), Facts), **changes)


def mark(kind: MarkKind, *, scope: Scope = Scope()) -> Mark:
    """By a person."""
    return Mark(kind, "m1", "operator-1", "look", 0, scope=scope)


def built(**changes: Any) -> Release:
    """The new release, otherwise."""
    return replace(NEW.predicate, **changes)


def test_a_release_goes_where_the_token_is_or_beside_it() -> None:
    """O09: in place into the slot that trades; by turns into the other, of which it is known what it led to."""
    blue = facts()
    green = replace(blue, active="green")
    assert places({"h1": blue, "h2": green}, take_turns=False) == {
        "h1": Place("blue", "blue", None),
        "h2": Place("green", "green", OLD.id()),
    }
    assert places({"h1": blue, "h2": green}, take_turns=True)["h2"] == Place("blue", "green", OLD.id())
    assert (here(blue), here(green), beside(blue, "blue"), beside(green, "green")) == (OLD.id(), None, False, True)


def test_a_host_that_stands_by_is_in_no_plan() -> None:
    """Nobody writes there: a run would prove nothing."""
    standing = facts(marks=(mark(MarkKind.STANDBY),))
    for take_turns in (True, False):
        with pytest.raises(Refused, match="no slot is active"):
            places({"h1": facts(), "h2": standing}, take_turns=take_turns)


@pytest.mark.parametrize(
    ("new", "old", "found", "what"),
    [
        (built(start=Start(("x",), identity="/id", port=80)), OLD.predicate, facts(), "no second slot"),
        (built(), OLD.predicate, replace(facts(), running=facts().running[:1]), "h1: it has one slot alone"),
        (built(), None, facts(), "h1: nothing runs there"),
        (built(), OLD.predicate, facts(marks=(mark(MarkKind.HALT),)), "h1: it does not trade"),
        (built(), replace(OLD.predicate, journal_writes=2), facts(), "cannot follow: the journal is of version 2"),
        (built(journal_writes=3), OLD.predicate, facts(), "no way back: the journal is of version 3"),
        (built(contracts={"page": 2}), replace(OLD.predicate, contracts={"page": 1, "x": 1}), facts(), "contract 'page' is 1"),
    ],
)
def test_what_cannot_work_is_refused_by_the_plan(new: Release, old: Release | None, found: Facts, what: str) -> None:
    """O09, D10, D13: each thing that two slots need, taken away alone."""
    with pytest.raises(Refused, match=what):
        refuse_turns(new, {"h1": found}, {"h1": old} if old else {})


def test_orders_are_adopted_where_every_venue_keeps_them() -> None:
    """O09: a venue that drops them at a logout is named, with the hosts whose binding says so."""

    def bound(**kept: bool) -> Binding:
        venues = tuple(Venue(name, "ws://o", "ws://m", "ws://d", "A", keep_on_logout=keeps) for name, keeps in kept.items())
        return Binding(BINDING_SCHEMA, "f", "lab", "h", "trader", venues, (), {})

    refuse_adoption({"h1": bound(one=True, two=True), "h2": bound(one=True)})
    with pytest.raises(Refused, match=r"logs out \(two on h1, h3\)") as refused:
        refuse_adoption({"h1": bound(one=True, two=False), "h2": bound(one=True), "h3": bound(two=False)})
    assert refused.value.where == "two" and "keep_on_logout" in (refused.value.next or "")


def test_what_narrows_trading_does_not_keep_two_slots_apart() -> None:
    """A halt of one symbol leaves decisions to compare; journals and contracts that both know are no obstacle."""
    narrow = facts(marks=(mark(MarkKind.HALT, scope=Scope(symbols=("AAA",))),))
    both = {"journal_reads": (1, 2), "journal_writes": 1, "contracts": {"page": 1}}
    refuse_turns(built(**both), {"h1": narrow}, {"h1": replace(OLD.predicate, **both)})
