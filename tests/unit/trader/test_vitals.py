"""What the trader says of itself to those who judge it: latency of orders, profit and drawdown."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.trader import PRICE, SLOT, TICK, Desk, HostRoot
from tradeops.base.clock import VirtualClock
from tradeops.contracts.metrics import Gauge, Latency
from tradeops.contracts.pages import read_vitals
from tradeops.contracts.status import Vitals
from tradeops.wire.protocol import Code, ExecKind, NewOrder, OrderState, Side

Start = Callable[..., Desk]
MS = 1_000_000


def vitals(desk: Desk) -> Vitals:
    """What is on the page."""
    desk.rooms.write_vitals(desk.rooms.gate.look())
    found = read_vitals(desk.layout.vitals_page(SLOT))
    assert found is not None
    return found


def placed(desk: Desk) -> tuple[int, float]:
    """How many orders' latency was measured, and all of it in seconds."""
    histogram = vitals(desk).histograms[Latency.ORDER_PLACEMENT]
    return sum(histogram.counts), histogram.sum_s


def sent(desk: Desk) -> tuple[NewOrder, NewOrder]:
    """A bid and an offer on their way."""
    desk.open_path()
    desk.quote()
    desk.look()
    bid, ask = desk.session.orders()
    return bid, ask


def test_the_slowest_answers_are_measured_too(start: Start) -> None:
    """One that was given up on and asked about, and one whose cancel was quicker, are what a p99 is about; told twice, counted once."""
    desk = start()
    bid, ask = sent(desk)
    before, _ = placed(desk)
    desk.look(1_500)
    desk.guard.say(False)
    desk.look()
    desk.clock.advance_ns(490 * MS)
    desk.report(bid, ExecKind.NEW)
    desk.report(bid, ExecKind.NEW)
    assert placed(desk)[0] == before + 1
    desk.status(ask.client_id, OrderState.WORKING)
    count, total_s = placed(desk)
    assert count == before + 2 and total_s == 4.0


def test_a_fill_is_an_answer_and_a_rejection_is_none(start: Start) -> None:
    """The venue has an order that it executes; one that it refused it never had."""
    desk = start()
    bid, ask = sent(desk)
    before, _ = placed(desk)
    desk.report(ask, ExecKind.REJECTED, code=Code.WOULD_TRADE)
    assert placed(desk)[0] == before
    desk.report(bid, ExecKind.FILL, cumulative=bid.qty, last=bid.qty)
    assert placed(desk)[0] == before + 1


def test_a_process_answers_for_its_own_profit(start: Start, host: HostRoot, clock: VirtualClock) -> None:
    """What an earlier one lost, or a position that has no price yet, is no profit of this one, and no zero either."""  # R13 D11
    first = Desk(host, clock)
    bid, _ = sent(first)
    first.report(bid, ExecKind.FILL, cumulative=bid.qty, last=bid.qty)
    first.quote(PRICE - 10 * TICK, PRICE - 8 * TICK)
    assert vitals(first).gauges[Gauge.DRAWDOWN] > 0
    first.rooms.ledger.commit()
    first.close()
    second = start()
    assert not {Gauge.PNL, Gauge.DRAWDOWN} & vitals(second).gauges.keys()
    assert vitals(second).gauges[Gauge.NET_NOTIONAL] == 99.97
    second.subscribe()
    for _ in range(12):
        second.clock.advance_ns(MS)
        second.quote(PRICE - 10 * TICK, PRICE - 8 * TICK)
    assert (vitals(second).gauges[Gauge.PNL], vitals(second).gauges[Gauge.DRAWDOWN]) == (0, 0)
    second.quote(PRICE - 12 * TICK, PRICE - 10 * TICK)
    assert (vitals(second).gauges[Gauge.PNL], vitals(second).gauges[Gauge.DRAWDOWN]) == (-0.02, 0.02)
    assert bid.side is Side.BUY
