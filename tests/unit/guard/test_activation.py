"""Standby and activation: the old writer is fenced first, then the token goes to one slot, from proof alone (O09)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.guardstate import ARMED, FIT, NOW, T0, after, code, order, permit
from tradeops.contracts.directive import Scope, Verb
from tradeops.contracts.pages import Token
from tradeops.guard import marks
from tradeops.guard.marks import Facts, Order
from tradeops.guard.state import State
from tradeops.guard.verbs import decide

STANDING_BY = after(replace(ARMED, token=4), order(Verb.STANDBY, "s1", issued_ns=T0 - 3))


def activate(slot: str = "blue", token: Any = 5, **args: Any) -> Order:
    """The token to a slot."""
    return order(Verb.ACTIVATE, "a1", args={"token": token, "slot": slot, **args})


def facts(**changes: Any) -> Facts:
    """Those that are fit, but for what is said."""
    return dataclasses.replace(FIT, **changes)


def test_a_host_that_stands_by_names_nobody_until_a_newer_activation() -> None:
    """The old writer is fenced first, what works is taken back; then the token goes to one slot."""  # O09
    decision = decide(ARMED, order(Verb.STANDBY, "s1"), Facts(), NOW)
    assert decision.cancel == Scope() and not marks.trading(decision.state, NOW)
    assert marks.token(STANDING_BY) == Token(4, "")
    for slot in ("blue", "green"):
        active = after(STANDING_BY, activate(slot), facts=facts(unfit={"blue": "", "green": ""}))
        assert marks.trading(active, NOW) and marks.token(active) == Token(5, slot)


@pytest.mark.parametrize(
    ("expected", "state", "one", "found"),
    [
        ("older", STANDING_BY, activate(token=4), FIT),
        ("not_standing_by", replace(ARMED, token=4), activate(), FIT),
        ("not_stood_down", STANDING_BY, activate(), facts(writing="slot blue still writes")),
        ("not_stood_down", STANDING_BY, activate(), Facts()),
        ("not_proved", STANDING_BY, activate("green"), FIT),
        ("not_proved", STANDING_BY, activate(), facts(unfit={})),
        ("malformed", STANDING_BY, activate("red"), FIT),
        ("malformed", STANDING_BY, activate(token=True), FIT),
        ("unknown_fields", STANDING_BY, activate(force=True), FIT),
        ("signed_before", after(STANDING_BY, order(Verb.KILL, "k9", issued_ns=T0 - 1)), activate(), FIT),
    ],
)
def test_an_activation_is_refused(expected: str, state: State, one: Order, found: Facts) -> None:
    """Each thing it needs, taken away alone: two writers are never made by a directive."""  # O09
    assert code(state, one, found) == expected


def test_a_run_that_was_taken_up_elsewhere_stands_nobody_down() -> None:
    """O09: the newer session's activation is as good as its lease; what the older one still says is refused, and what it says later too."""

    def by(verb: Verb, fence: int, **args: Any) -> Order:
        return order(verb, f"{verb}-{fence}", run="run-1", args={"fence": fence, **args})

    newer = after(after(ARMED, by(Verb.STANDBY, 8)), by(Verb.ACTIVATE, 8, token=9, slot="blue"), facts=FIT)
    assert marks.trading(newer, NOW)
    assert code(newer, by(Verb.STANDBY, 7)) == "fenced"
    assert code(newer, by(Verb.LEASE, 7, lease_s=60)) == "fenced"
    assert marks.trading(after(newer, by(Verb.LEASE, 8, lease_s=60)), NOW)
    assert not marks.trading(after(newer, order(Verb.STANDBY, "people-say-no-fence")), NOW)


def test_a_run_that_was_taken_up_elsewhere_activates_nothing() -> None:
    """O09: the newer session's lease is known; the older one's fence, none, or another run's is refused. People say none."""
    leased = after(STANDING_BY, order(Verb.LEASE, "l1", run="run-1", args={"lease_s": 60, "fence": 8}))

    def by(run: str, **args: Any) -> Order:
        return order(Verb.ACTIVATE, "a1", run=run, args={"token": 5, "slot": "blue", **args})

    assert code(leased, by("run-1", fence=7)) == "fenced"
    assert code(leased, by("run-2", fence=8)) == "fenced"
    assert code(leased, by("run-1")) == "malformed"
    assert marks.token(after(leased, by("run-1", fence=8))) == marks.token(after(leased, activate())) == Token(5, "blue")


def test_a_standby_said_again_while_it_stands_is_done_already() -> None:
    """A lost answer is asked for once more; after the activation it is a replay."""
    again = decide(STANDING_BY, order(Verb.STANDBY, "s1"), Facts(), NOW)
    assert again.already and again.state is STANDING_BY and again.cancel == Scope()
    assert code(after(STANDING_BY, activate()), order(Verb.STANDBY, "s1")) == "replayed"


def test_a_permit_leaves_a_host_standing_by() -> None:
    """Two people arm it; which slot writes is said by an activation alone."""  # O09 K07
    killed = after(STANDING_BY, order(Verb.KILL, "k1", issued_ns=T0 - 2))
    armed = after(killed, permit("p1", "k1"))
    assert not marks.trading(armed, NOW) and marks.token(armed) == Token(4, "")
