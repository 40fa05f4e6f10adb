"""A capped flow: the same share for everybody, measured, with nothing stranded and nothing that reduces left undone."""  # D08

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trader import PRICE, SLOT, SYMBOL, TICK, Desk, HostRoot, overlay
from tradeops.base.clock import VirtualClock
from tradeops.contracts.metrics import Counter, Gauge
from tradeops.contracts.pages import read_vitals
from tradeops.contracts.units import PPM, UNIT
from tradeops.trader.flow import Flow, decision_key, takes
from tradeops.trader.messages import Fill, Quote, Signal
from tradeops.wire.protocol import CancelOrder, Code, ExecKind, NewOrder, Side

T0 = 1_800_000_000_000_000_000
STRATEGY = "mean-quoter"
TOLERANCE_PPM = 100
Start = Callable[..., Desk]


def quote(exchange_ns: int = T0, symbol: str = SYMBOL) -> Quote:
    """The quote that a decision answers."""
    return Quote(symbol, exchange_ns, 0, PRICE - TICK, PRICE + TICK)


def buy(price: int = PRICE - TICK, quantity: int = 2 * UNIT) -> Signal:
    """Wanted."""
    return Signal(SYMBOL, Side.BUY, price, quantity)


def sell(quantity: int = 2 * UNIT) -> Signal:
    """Wanted on the other side."""
    return Signal(SYMBOL, Side.SELL, PRICE + TICK, quantity)


def taken(flow: Flow, signal: Signal, exchange_ns: int = T0, position: int = 0) -> Signal | None:
    """What is taken of it."""
    return flow.take(signal, STRATEGY, quote(exchange_ns), position=position, tolerance_ppm=TOLERANCE_PPM).signal


def capped(cap_ppm: int) -> Flow:
    """A flow with this cap."""
    flow = Flow()
    flow.set_cap(cap_ppm)
    return flow


@pytest.mark.parametrize(
    ("symbol", "exchange_ns", "place_ppm"),
    [(SYMBOL, T0, 112_552), (SYMBOL, T0 + 1, 507_061), ("GLOBEX", T0, 361_657)],
)
def test_the_share_is_the_same_everywhere(symbol: str, exchange_ns: int, place_ppm: int) -> None:
    """Places computed with sha256sum: no process, host or version may come to others."""
    key = decision_key(STRATEGY, quote(exchange_ns, symbol))
    assert takes(key, place_ppm + 1) and not takes(key, place_ppm)


@given(st.text(max_size=50), st.integers(0, PPM), st.integers(0, PPM))
def test_a_higher_cap_takes_all_that_a_lower_one_took(decision: str, one: int, other: int) -> None:
    """From step to step of a canary nothing is handed back; nothing is in no share, everything in the whole."""
    low, high = sorted((one, other))
    assert takes(decision, high) or not takes(decision, low)
    assert takes(decision, PPM) and not takes(decision, 0)


@pytest.mark.parametrize("cap_ppm", [10_000, 50_000, 100_000, 500_000])
def test_the_measured_share_of_decisions_is_the_cap(cap_ppm: int) -> None:
    """Over 50,000 decisions, within five standard deviations."""
    n = 50_000
    count = sum(takes(decision_key(STRATEGY, quote(T0 + 50_000_000 * i)), cap_ppm) for i in range(n))
    share = cap_ppm / PPM
    assert abs(count - n * share) < 5 * (n * share * (1 - share)) ** 0.5


def test_without_a_cap_all_is_taken() -> None:
    """As it is, also where nothing is held."""
    signal = buy()
    assert taken(Flow(), signal) is signal


def test_what_reduces_is_always_taken_and_not_beyond_zero() -> None:
    """Neither a cap of nothing nor what was left to others stands in the way of getting rid of a position."""  # K10
    flow = capped(0)
    assert taken(flow, sell()) is None
    assert taken(flow, sell(), position=5 * UNIT) == sell()
    assert taken(flow, sell(), position=UNIT) == sell(UNIT)
    assert taken(flow, buy(), position=5 * UNIT) is None
    assert taken(flow, buy(), position=-UNIT) == buy(quantity=UNIT)


@given(st.integers(0, 10**6), st.integers(1, PPM - 1))
def test_both_legs_of_a_decision_share_their_fate(step: int, cap_ppm: int) -> None:
    """A hedge whose first leg was taken has its second one taken: with the decision, or as what reduces."""
    flow = capped(cap_ppm)
    first = taken(flow, buy(), T0 + step)
    assert (first is None) == (taken(flow, sell(), T0 + step) is None)
    if first is not None:
        assert taken(flow, sell(), T0 + step + 1, position=first.quantity) is not None


def test_what_is_left_to_others_is_theirs_while_it_is_wanted_there() -> None:
    """Asking again at every quote would take any share in the end; a price that moved, or another cap, is a new decision."""
    outside = next(T0 + i for i in range(100) if not takes(decision_key(STRATEGY, quote(T0 + i)), 500_000))
    inside = next(T0 + i for i in range(100) if takes(decision_key(STRATEGY, quote(T0 + i)), 500_000))
    flow = capped(500_000)
    first = flow.take(buy(), STRATEGY, quote(outside), position=0, tolerance_ppm=TOLERANCE_PPM)
    again = flow.take(buy(), STRATEGY, quote(inside), position=0, tolerance_ppm=TOLERANCE_PPM)
    assert (first.signal, first.left, again.signal, again.left) == (None, True, None, False)
    moved = buy(PRICE - 3 * TICK)
    assert taken(flow, moved, inside) is None
    assert taken(flow, moved, inside) is moved
    assert taken(flow, buy(), outside) is None
    flow.set_cap(500_000)
    assert taken(flow, buy(), inside) is None
    flow.set_cap(500_001)
    assert taken(flow, buy(), inside) == buy()


class Market:
    """A seeded random walk, and a venue that takes every order and every cancel at once and executes nothing."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._dice = random.Random(7)
        self._mid = PRICE
        self._orders: dict[str, NewOrder] = {}

    def walk(self, steps: int) -> tuple[int, int]:
        """Trade along: signals taken in, signals left to others."""
        counters = self.desk.rooms.telemetry.counters
        before = dict(counters)
        for _ in range(steps):
            self._mid += self._dice.choice((-2, -1, 0, 1, 2)) * TICK
            self.desk.clock.advance_ns(200_000_000)
            self.desk.quote(self._mid - TICK, self._mid + TICK)
            self.desk.look()
            self._answer()
        names = (Counter.SIGNALS, Counter.SIGNALS_CAPPED)
        took, left = (counters[name] - before[name] for name in names)
        return took, left

    def _answer(self) -> None:
        sent, self.desk.session.sent[:] = list(self.desk.session.sent), []
        for message in sent:
            if isinstance(message, CancelOrder):
                self.desk.report(self._orders[message.orig_client_id], ExecKind.CANCELLED, code=Code.NONE)
            elif isinstance(message, NewOrder):
                self._orders[message.client_id] = message
                self.desk.report(message, ExecKind.NEW)


@pytest.fixture
def trading(start: Start) -> Desk:
    """A trader on a market that moves."""
    desk = start()
    desk.open_path()
    return desk


def test_a_capped_host_takes_its_share_of_the_fleets_flow(tmp_path: Path) -> None:
    """Beside a host without a cap on the same market: so much of its signals, and the rest is counted as left to others."""

    def host(name: str, cap_ppm: int | None) -> tuple[int, int]:
        clock = VirtualClock(wall_ns=T0, monotonic_ns=T0)
        desk = Desk(HostRoot(tmp_path / name, clock=clock).write(), clock)
        desk.open_path()
        desk.guard.say(True, flow_cap_ppm=cap_ppm)
        flow = Market(desk).walk(3_000)
        desk.close()
        return flow

    whole, left = host("free", None)
    assert whole > 1_000 and left == 0
    for cap_ppm in (50_000, 100_000, 500_000):
        took, left = host(f"capped-{cap_ppm}", cap_ppm)
        share = cap_ppm / PPM
        slack = 5 * (share * (1 - share) / whole) ** 0.5
        assert abs(took / (took + left) - share) < slack
        assert took / whole < share + slack


def test_the_tighter_of_overlay_and_run_holds(trading: Desk) -> None:
    """In either order; when the run has ended the overlay still holds, and the trader says by what it goes."""

    def in_force() -> float:
        trading.look()
        trading.rooms.write_vitals(trading.rooms.gate.look())
        vitals = read_vitals(trading.layout.vitals_page(SLOT))
        assert vitals is not None and vitals.ack_epoch == trading.guard.epoch
        return vitals.gauges[Gauge.FLOW_CAP]

    assert in_force() == 1
    trading.guard.say(True, flow_cap_ppm=10_000)
    assert in_force() == 0.01
    trading.rooms.set_overlay(overlay(1, flow_cap_ppm=100_000))
    assert in_force() == 0.01
    trading.guard.say(True, flow_cap_ppm=500_000)
    assert in_force() == 0.1
    trading.guard.say(True)
    assert in_force() == 0.1
    trading.rooms.set_overlay(overlay(2, flow_cap_ppm=-1))
    assert in_force() == 0


def test_a_cap_of_nothing_takes_back_nothing_and_sells_what_is_held(trading: Desk) -> None:
    """Working orders stay and are cancelled as ever; a fill is closed, in the quantity that is held."""  # K10
    market = Market(trading)
    market.walk(5)
    bid = next(one.order for one in trading.rooms.ledger.orders.open() if one.order.side is Side.BUY)
    working = len(trading.rooms.ledger.orders.open())
    trading.guard.say(True, flow_cap_ppm=0)
    trading.look()
    assert len(trading.rooms.ledger.orders.open()) == working
    assert market.walk(50)[0] == 0 and not trading.rooms.ledger.orders.open()
    fill = Fill("x1", bid.id, bid.venue, bid.symbol, Side.BUY, bid.price, UNIT)
    trading.rooms.ledger.positions.apply(fill)
    took, _ = market.walk(1)
    (close,) = trading.rooms.ledger.orders.open()
    assert (took, close.order.side, close.order.quantity, close.order.reduce) == (1, Side.SELL, UNIT, True)
    assert trading.rooms.placing.denied == {}


def test_the_path_check_is_no_flow(start: Start) -> None:
    """A host that may take nothing still proves its path."""  # D17
    desk = start()
    desk.log_on()
    desk.subscribe()
    desk.quotes()
    desk.guard.say(True, flow_cap_ppm=0)
    desk.look()
    assert len(desk.session.orders()) == 1
