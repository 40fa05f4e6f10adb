"""Positions, routing, the strategy, histograms, flags: small pure rooms."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trader import MEAN_FLAG, PRICE, SYMBOL, TICK, VENUE, overlay
from tradeops.contracts.flags import meaning_digest
from tradeops.contracts.manifest import Flag
from tradeops.contracts.metrics import LATENCY_UPPER_S, Latency
from tradeops.contracts.units import UNIT
from tradeops.trader import flags
from tradeops.trader.bus import Bus
from tradeops.trader.messages import Fill, MarketView, Quote, other, sign
from tradeops.trader.positions import Position, Positions, Profit, Totals
from tradeops.trader.routing import VenueState, route
from tradeops.trader.sessions import Pauses
from tradeops.trader.strategy.quoter import QuoterSettings, quote
from tradeops.trader.telemetry import WARNINGS_MAX, Telemetry, start_ticks
from tradeops.wire.protocol import Side

SETTINGS = QuoterSettings(quantity=UNIT, position_max=10 * UNIT, half_spread_ppm=300, reversion_ppm=500_000, skew_ppm=1000)


def fill(side: Side, price: int, quantity: int) -> Fill:
    return Fill("t", "h-1", VENUE, SYMBOL, side, price, quantity)


def test_positions_gross_net_and_profit() -> None:
    """Bought at 100 and 102, one sold at 110, marked at 105: 9 realised on average cost, 4 not yet."""
    positions = Positions()
    for side, price in ((Side.BUY, 100), (Side.BUY, 102), (Side.SELL, 110)):
        positions.apply(fill(side, price * UNIT, UNIT))
    assert positions.quantity(SYMBOL) == UNIT
    assert positions.quantity("other") == 0
    assert positions.totals({SYMBOL: 105 * UNIT}) == Totals(gross=105 * UNIT, net=105 * UNIT, pnl=13 * UNIT)
    short = Positions()
    short.apply(fill(Side.SELL, 100 * UNIT, UNIT))
    assert short.totals({SYMBOL: 90 * UNIT}) == Totals(gross=90 * UNIT, net=-90 * UNIT, pnl=10 * UNIT)
    assert short.totals({}) == Totals(gross=100 * UNIT, net=-100 * UNIT, pnl=0, marked=False)


@pytest.mark.parametrize(
    ("trades", "quantity", "cost", "realised"),
    [
        ([(Side.BUY, 100, 2), (Side.BUY, 103, 1)], 3, 303, 0),
        ([(Side.BUY, 100, 2), (Side.BUY, 103, 1), (Side.SELL, 111, 2)], 1, 101, 20),
        ([(Side.BUY, 100, 2), (Side.SELL, 90, 2)], 0, 0, -20),
        ([(Side.BUY, 100, 2), (Side.SELL, 110, 5)], -3, -330, 20),
        ([(Side.SELL, 100, 4), (Side.BUY, 90, 1)], -3, -300, 10),
    ],
)
def test_a_position_knows_its_cost(trades: list[tuple[Side, int, int]], quantity: int, cost: int, realised: int) -> None:
    """At the average price of what is held; through zero it begins anew. What is realised does not move with the market."""
    position = Position()
    for side, price, traded in trades:
        position = position.after(fill(side, price * UNIT, traded * UNIT))
    assert position == Position(quantity * UNIT, (realised - cost) * UNIT * UNIT, cost * UNIT * UNIT)
    positions = Positions()
    for side, price, traded in trades:
        positions.apply(fill(side, price * UNIT, traded * UNIT))
    assert positions.totals({}) == Totals(abs(cost) * UNIT, cost * UNIT, realised * UNIT, marked=not quantity)


def test_profit_and_drawdown_are_since_the_start() -> None:
    """What was lost before is not this process's; the drawdown is from its own highest."""  # R13
    profit = Profit()
    assert [profit.since_start(pnl) for pnl in (-500, -480, -495, -470)] == [(0, 0), (20, 0), (5, 15), (30, 0)]


@given(st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 10**14), st.integers(1, 10**12)), max_size=30))
def test_cash_is_exact(trades: list[tuple[Side, int, int]]) -> None:
    """Flat at the end, the profit is what was received less what was paid, to the last unit."""
    positions = Positions()
    for side, price, quantity in trades:
        positions.apply(fill(side, price, quantity))
        positions.apply(fill(other(side), price + 7, quantity))
    paid = sum(-sign(side) * price * quantity + sign(side) * (price + 7) * quantity for side, price, quantity in trades)
    assert positions.totals({}).pnl == paid // UNIT
    assert positions.totals({}).gross == 0


def test_the_first_permitted_venue_that_is_up() -> None:
    """In the binding's order; none is an answer too."""
    states = [VenueState("dark", True), VenueState("down", False), VenueState("sim", True), VenueState("late", True)]
    assert route(states, frozenset({"down", "sim", "late"})) == "sim"
    assert route(states, frozenset({"down"})) is None


def view(bid: int = PRICE - TICK, ask: int = PRICE + TICK, mean: int = PRICE) -> MarketView:
    return MarketView(Quote(SYMBOL, 0, 0, bid, ask), mean)


def test_the_quoter_quotes_both_sides_on_the_grid() -> None:
    """Flat and at the mean: a bid and an offer around the mid, on ticks, never through the market."""
    bid, ask = quote(view(), 0, TICK, SETTINGS)
    assert (bid.side, ask.side) == (Side.BUY, Side.SELL)
    assert bid.price == PRICE - 3 * TICK
    assert ask.price == PRICE + 3 * TICK
    assert bid.quantity == ask.quantity == UNIT
    assert quote(view(), 0, TICK, SETTINGS) == (bid, ask)


def test_it_leans_to_the_mean_and_against_its_position() -> None:
    """Below the mean it bids higher; long, it quotes lower; without the flag the mean does not matter."""
    flat, _ = quote(view(), 0, TICK, SETTINGS)
    below, _ = quote(view(mean=PRICE + 4 * TICK), 0, TICK, SETTINGS)
    long, _ = quote(view(), 5 * UNIT, TICK, SETTINGS)
    assert below.price > flat.price > long.price
    assert quote(view(mean=PRICE + 4 * TICK), 0, TICK, SETTINGS.without_reversion()) == quote(view(), 0, TICK, SETTINGS)


def test_a_full_position_is_not_grown() -> None:
    """At its own bound the strategy wants nothing more on that side."""
    bid, ask = quote(view(), 10 * UNIT, TICK, SETTINGS)
    assert (bid.quantity, ask.quantity) == (0, UNIT)
    bid, ask = quote(view(), -10 * UNIT, TICK, SETTINGS)
    assert (bid.quantity, ask.quantity) == (UNIT, 0)


@given(
    mid=st.integers(1000, 10**7).map(lambda ticks: ticks * TICK),
    mean=st.integers(1000, 10**7).map(lambda ticks: ticks * TICK),
    position=st.integers(-20, 20).map(lambda lots: lots * UNIT),
)
def test_a_quote_never_takes(mid: int, mean: int, position: int) -> None:
    """Whatever mean and position: the bid is below the offer, not above the market's bid; the offer not below its offer."""
    bid, ask = quote(view(mid - TICK, mid + TICK, mean), position, TICK, SETTINGS)
    assert bid.price <= mid - TICK < mid + TICK <= ask.price
    assert bid.price % TICK == ask.price % TICK == 0


def test_latencies_fall_into_their_buckets() -> None:
    """An edge is inclusive; beyond the last there is one more."""
    telemetry = Telemetry()
    for duration_ns in (1, 50_000, 50_001, 10_000_000_000):
        telemetry.measure(Latency.QUOTE_TO_SEND, duration_ns)
    found = telemetry.histograms()[Latency.QUOTE_TO_SEND.value]
    assert found.counts[0] == 2
    assert found.counts[1] == 1
    assert found.counts[-1] == 1
    assert len(found.counts) == len(LATENCY_UPPER_S) + 1
    assert found.sum_s == pytest.approx(10.0001, abs=1e-4)


def test_warnings_are_few_and_distinct() -> None:
    """Told once; a flood of them fits the page."""
    telemetry = Telemetry()
    assert telemetry.warn("one")
    assert not telemetry.warn("one")
    for n in range(2 * WARNINGS_MAX):
        telemetry.warn(f"w{n}")
    assert len(telemetry.warnings) == WARNINGS_MAX


def test_start_ticks_of_this_process() -> None:
    """Field 22 of /proc/self/stat, whatever the command is called."""
    assert start_ticks() > 0


def test_flags_unknown_retired_or_of_another_meaning_are_problems() -> None:
    """D05: each by itself, and a configuration that relies on what the release does not declare."""
    assert flags.problems((MEAN_FLAG,), ("lean-to-mean",), None) == ()
    assert flags.problems((Flag("old-path", "sha256:0"),), (), None) == ("flag old-path is unknown to this code",)
    assert flags.problems((MEAN_FLAG,), (), overlay(3, flags_retired=("lean-to-mean",))) == ("flag lean-to-mean is a tombstone",)
    changed = Flag("lean-to-mean", meaning_digest("Power Peg"))
    assert flags.problems((changed,), (), None) == ("flag lean-to-mean means something else to this code",)
    assert "not declared" in flags.problems((), ("lean-to-mean",), None)[0]


def test_a_release_ends_no_overlay_that_is_yet_to_come() -> None:
    """D06: it names the overlay that it ends; one that was never in force here would be ended before anybody wrote it."""
    ending = msgspec.structs.replace(MEAN_FLAG, ends=4)
    assert flags.problems((ending,), (), overlay(4)) == ()
    assert flags.problems((ending,), (), overlay(3)) == ("flag lean-to-mean ends overlay 4, and 3 is the newest here",)
    assert flags.problems((ending,), (), None) == ("flag lean-to-mean ends overlay 4, and 0 is the newest here",)


def test_pauses_grow_and_are_short_again_after_a_success() -> None:
    """Twice as long each time, up to a bound."""
    pauses = Pauses(0.1, 0.5)
    assert [pauses.next_s() for _ in range(4)] == [0.1, 0.2, 0.4, 0.5]
    pauses.reset()
    assert pauses.next_s() == 0.1


def test_an_event_that_nobody_was_wired_to_is_an_error() -> None:
    """The dictionary is whole, or the process ends: nothing is lost in silence."""
    heard: list[int] = []
    bus = Bus({int: (heard.append, heard.append)})
    bus.publish(3)
    assert heard == [3, 3]
    with pytest.raises(KeyError):
        bus.publish("text")
