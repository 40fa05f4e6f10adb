"""The road that ends at the venue, against a real one: cancelled and counted from the operator's own sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from tests.support.venue import VenueUnderTest, order, place, run, running
from tradeops.base.clock import SystemClock
from tradeops.contracts.binding import BINDING_SCHEMA, Binding, Venue
from tradeops.contracts.directive import Scope
from tradeops.safety.kill import Swept
from tradeops.safety.venues import Sweep, secret_here


def bindings(url: str, drop_copy: str) -> Mapping[str, Binding]:
    """Host 1 trades at one venue."""
    venue = Venue("sim", url, url, drop_copy, "acc-1")
    return {"host-1": Binding(BINDING_SCHEMA, "fleet", "lab", "host-1", "trader", (venue,), (), {})}


def sweep_of(venue: VenueUnderTest, scope: Scope = Scope()) -> Sweep:
    """A sweep of that venue."""
    return Sweep(bindings(venue.url("orders"), venue.url("drop_copy")), lambda _: None, "kill-1", scope, SystemClock())


def swept(*orders: str, scope: Scope = Scope()) -> list[Swept]:
    """Rest orders in two symbols, sweep the host, and tell what came of it."""

    async def story() -> list[Swept]:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            await place(session, *(order(f"c{number}", symbol=symbol, price="40.00") for number, symbol in enumerate(orders)))
            return await asyncio.to_thread(sweep_of(venue, scope).run, ["host-1", "host-9"], 5.0)

    return run(story())


def test_everything_of_the_host_is_cancelled_and_none_is_left() -> None:
    """K04: without the host's help; a host without a binding here is left out."""
    assert swept("ABC", "XYZ", "ABC") == [Swept("host-1", 0)]


def test_a_scope_leaves_what_it_does_not_name() -> None:
    """K01: only the named symbol is cancelled, and only it is counted."""
    assert swept("ABC", "XYZ", scope=Scope(symbols=("ABC",))) == [Swept("host-1", 0)]
    assert swept("ABC", scope=Scope(venues=("elsewhere",))) == [Swept("host-1", 0)]


def test_a_venue_that_is_down_is_a_problem_and_not_zero() -> None:
    """K08: no answer is no zero."""
    found = Sweep(bindings("ws://127.0.0.1:1", "ws://127.0.0.1:1"), lambda _: None, "kill-1", Scope(), SystemClock()).run(["host-1"], 5.0)
    assert found[0].working is None
    assert found[0].problem


def test_a_secret_is_taken_from_the_environment_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that is not on this machine is none."""
    assert secret_here("no-such-secret") is None
    monkeypatch.setenv("TRADEOPS_SECRET_XSIM_STAGING", "hush")
    assert secret_here("xsim-staging") == b"hush"
