"""States of a guard, and verified directives that act on them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.people import FLEET, HOST
from tradeops.base.clock import NS_PER_S
from tradeops.contracts.codec import encode
from tradeops.contracts.directive import SCHEMA, Directive, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.guard.admit import Refusal
from tradeops.guard.marks import Facts, Now, Order
from tradeops.guard.state import Permit, State
from tradeops.guard.verbs import decide

T0 = 1_000_000 * NS_PER_S
NOW = Now(T0, 50 * NS_PER_S)
FIT = Facts(
    release="sha256:r1", writing="", working="", unfit={"blue": "", "green": "it has no process"}, strange={"blue": "", "green": "not said"}
)
ARMED = State(permit=Permit("permit-0", T0 - 9, ("operator-1", "risk-1"), "enrolled", Envelope("", ())), floor_ns=T0 - 10)
TWO = ("operator-1", "risk-1")


def order(verb: Verb, id: str = "d1", *, by: tuple[str, ...] = ("operator-1",), run: str | None = None, **fields: Any) -> Order:
    """A verified directive, signed a moment ago."""
    words = {"issued_ns": T0 - 1, "expires_ns": T0 + 60 * NS_PER_S, **fields}
    directive = Directive(SCHEMA, id, verb, FLEET, (HOST,), "a reason", **words)
    return Order(directive, Envelope("", ()), by, run)


def permit(id: str = "p1", *ends: str, **fields: Any) -> Order:
    """By two people."""
    words: dict[str, Any] = {"by": TWO, "ends": ends, "args": {"cause": "repaired"}, **fields}
    return order(Verb.PERMIT, id, **words)


def after(state: State, *orders: Order, facts: Facts = FIT, now: Now = NOW) -> State:
    """The state when each was taken."""
    for one in orders:
        state = decide(state, one, facts, now).state
    return state


def code(state: State, one: Order, facts: Facts = FIT, now: Now = NOW) -> str:
    """Why it is refused."""
    with pytest.raises(Refusal) as refusal:
        decide(state, one, facts, now)
    assert refusal.value.what
    return refusal.value.code


def later(seconds: float) -> Now:
    """Both clocks, so much on."""
    return Now(NOW.wall_ns + int(seconds * NS_PER_S), NOW.monotonic_ns + int(seconds * NS_PER_S))


def overlay(number: int, **fields: Any) -> dict[str, Any]:
    """args of an overlay directive."""
    return {"overlay": {"schema": "tradeops/overlay/v1", "fleet": FLEET, "number": number, **fields}}


def laid(state: State, number: int, **fields: Any) -> State:
    """The state with that overlay, its directive kept as a guard keeps it."""
    one = order(Verb.OVERLAY, f"v{number}", args=overlay(number, **fields))
    return after(state, Order(one.directive, Envelope.of(encode(one.directive)), one.people))
