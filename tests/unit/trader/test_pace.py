"""Pacing of new orders: the longest waiting goes first, on the prices of when it goes; cancels never wait."""  # R07

from __future__ import annotations

from collections.abc import Callable

from tests.support.trader import PRICE, SYMBOL, TICK, Desk
from tradeops.contracts.metrics import Latency
from tradeops.trader.messages import Signal
from tradeops.trader.pace import Pace
from tradeops.wire.protocol import CancelAll, CancelOrder, ExecKind, Side

BUY, SELL, OTHER = (SYMBOL, Side.BUY), (SYMBOL, Side.SELL), ("GLOBEX", Side.BUY)
Start = Callable[..., Desk]


def wanted(*sides: Side) -> list[Signal]:
    """Signals on these sides."""
    return [Signal(SYMBOL, side, PRICE, 1) for side in sides]


def test_without_a_gap_nobody_waits() -> None:
    """And nothing is kept."""
    pace = Pace(0)
    pace.sent(5)
    assert pace.turn(BUY, 5) == 5 and not pace.waits(SYMBOL, wanted(Side.BUY))


def test_the_longest_waiting_goes_first() -> None:
    """Whoever asks when the gap is over; it is told since when it has waited."""
    pace = Pace(100)
    assert pace.turn(BUY, 1) == 1
    pace.sent(1)
    assert [pace.turn(place, now) for place, now in ((SELL, 2), (OTHER, 3), (SELL, 100), (OTHER, 101))] == [None] * 4
    assert pace.waits(SYMBOL, wanted(*Side)) and pace.waits("GLOBEX", wanted(Side.BUY))
    assert pace.turn(SELL, 102) == 2
    assert pace.turn(OTHER, 103) == 3, "an order that was denied or left to others takes no time"


def test_what_is_no_longer_wanted_waits_no_longer() -> None:
    """Else nobody behind it would ever go, and its next wish would seem old."""
    pace = Pace(100)
    pace.turn(BUY, 1)
    pace.sent(1)
    assert pace.turn(SELL, 2) is None and pace.turn(OTHER, 3) is None
    assert not pace.waits(SYMBOL, wanted(Side.BUY))
    assert pace.turn(OTHER, 101) == 3
    assert pace.turn(SELL, 102) == 102
    assert pace.turn(BUY, 103) == 103
    pace.sent(103)
    assert pace.turn(BUY, 104) is None
    pace.clear()
    assert pace.turn(BUY, 300) == 300


def test_orders_wait_and_cancels_do_not(start: Start) -> None:
    """The second side goes when the gap is over, at the prices of then, and its latency counts from when it was wanted."""
    desk = start(sessions__order_gap="500ms", strategy__requote="100ms", path_check__away_ppm=20_000)
    desk.open_path()
    desk.quote()
    desk.look()
    (first,) = desk.session.orders()
    desk.report(first, ExecKind.NEW)
    desk.quote(PRICE + 9 * TICK, PRICE + 11 * TICK)
    desk.look(200)
    assert [message.orig_client_id for message in desk.session.sent if isinstance(message, CancelOrder)] == [first.client_id]
    desk.look(200)
    assert len(desk.session.orders()) == 1
    desk.look(200)
    _, second = desk.session.orders()
    assert (first.side, second.side) == (Side.BUY, Side.SELL) and second.price >= PRICE + 11 * TICK
    before = desk.rooms.telemetry.histograms()[Latency.ORDER_PLACEMENT].sum_s
    desk.report(second, ExecKind.NEW)
    assert 0.59 < desk.rooms.telemetry.histograms()[Latency.ORDER_PLACEMENT].sum_s - before < 0.62


def test_a_halt_forgets_who_waited(start: Start) -> None:
    """What was wanted before is not what is wanted after it."""
    desk = start(sessions__order_gap="10s")
    desk.open_path()
    desk.quote()
    desk.look()
    desk.guard.say(False)
    desk.look()
    assert [message for message in desk.session.sent if isinstance(message, CancelAll)]
    assert not desk.rooms.placing.pace.waits(SYMBOL, wanted(*Side))


def test_post_only_and_improving_prices_go_to_the_venue(start: Start) -> None:
    """A price better than the touch, marked so that the venue rejects it rather than trade; the path check is not."""
    desk = start(strategy__post_only=True, strategy__improve=True, strategy__half_spread_ppm=100)
    desk.log_on()
    desk.subscribe()
    desk.quotes()
    desk.permit()
    assert [order.post_only for order in desk.session.orders()] == [False]
    (check,) = desk.session.orders()
    desk.report(check, ExecKind.CANCELLED)
    desk.session.sent.clear()
    desk.quote(PRICE - 5 * TICK, PRICE + 5 * TICK)
    desk.look()
    bid, ask = desk.session.orders()
    assert bid.post_only and ask.post_only
    assert PRICE - 5 * TICK < bid.price < ask.price < PRICE + 5 * TICK
