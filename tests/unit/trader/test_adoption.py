"""Orders that one slot leaves at work and the next one takes over: kept by the stop page's word, known by the journal (O09, R09)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.trader import PRICE, SYMBOL, VENUE, Desk, HostRoot
from tradeops.base.clock import VirtualClock
from tradeops.contracts.pages import Token, read_vitals
from tradeops.contracts.status import OPEN_ORDERS_MAX, OpenOrder, Vitals
from tradeops.contracts.units import UNIT
from tradeops.trader.messages import Order, OrderEvent
from tradeops.trader.orders.states import State
from tradeops.wire.protocol import CancelAll, CancelOrder, Code, ExecKind, NewOrder, OrderState, QueryOrder, Side, Tags

Pair = tuple[Desk, Desk]
BLUE, GREEN = "blue", "green"


@pytest.fixture
def host(tmp_path: Path, clock: VirtualClock) -> HostRoot:
    """At a venue that keeps orders over a logout."""
    return HostRoot(tmp_path / "host", clock=clock, keep_on_logout=True).write()


@pytest.fixture
def pair(host: HostRoot, start: Callable[..., Desk], clock: VirtualClock) -> Iterator[Pair]:
    """Blue writes, green stands by."""
    host.fill_slot(GREEN)
    blue = start()
    green = Desk(host, clock, slot=GREEN, beside=blue)
    for desk in (blue, green):
        desk.subscribe()
        desk.quotes()
    yield blue, green
    green.close()


def _both(pair: Pair, advance_ms: float = 10) -> None:
    pair[0].look(advance_ms)
    pair[1].stare()


def _stand_down(pair: Pair) -> None:
    """As the guard does, with what works kept for the next one."""
    guard = pair[0].guard
    guard.token = Token(guard.token.number, "")
    guard.say(False, keep_orders=True)
    _both(pair)


def _hand_over(pair: Pair, number: int) -> None:
    """To green, once blue has left."""
    blue, green = pair
    assert _leaves(blue) and blue.rooms.tenure.keeps
    blue.rooms.tenure.left()
    blue.guard.token = Token(number, GREEN)
    blue.guard.say(True)
    _both(pair, 200)
    green.log_on()


def _accepted(desk: Desk) -> list[NewOrder]:
    orders = desk.trade()
    for order in orders:
        desk.report(order, ExecKind.NEW)
    desk.look()
    return orders


def _leaves(desk: Desk) -> bool:
    return desk.rooms.tenure.leaving


def _cancels(desk: Desk) -> list[CancelAll | CancelOrder]:
    return [message for message in desk.session.sent if isinstance(message, CancelAll | CancelOrder)]


def _vitals(desk: Desk) -> Vitals:
    desk.rooms.write_vitals(desk.rooms.gate.look())
    vitals = read_vitals(desk.layout.vitals_page(desk.rooms.tenure._slot))
    assert vitals is not None
    return vitals


def test_the_writer_leaves_when_every_order_is_known_to_work(pair: Pair) -> None:
    """Blocked and acknowledged, nothing is taken back; an order of unknown fate is waited for, then it leaves in order."""
    blue, green = pair
    orders = blue.trade()
    blue.report(orders[0], ExecKind.NEW)
    blue.session.sent.clear()
    _stand_down(pair)
    assert blue.rooms.gate.acknowledged.epoch == blue.guard.epoch and not _leaves(blue)
    for _ in range(5):
        blue.quote(bid=PRICE // 2)
        _both(pair, 100)
    blue.report(orders[1], ExecKind.NEW)
    blue.report(orders[0], ExecKind.PARTIAL, cumulative=UNIT // 2, last=UNIT // 2)
    _both(pair)
    assert not _leaves(blue), "what was said is not in the journal yet"
    _both(pair)
    assert _leaves(blue) and blue.rooms.tenure.keeps
    blue.rooms.tenure.left()
    _both(pair)
    assert not _cancels(blue) and blue.session.orders() == [] and [desk.rooms.tenure.writes for desk in pair] == [False, False]
    told = {order.client_id: order for order in orders}
    for vitals in (_vitals(blue), _vitals(green)):
        assert set(vitals.open_orders or ()) == {
            OpenOrder(VENUE, name, SYMBOL, one.side.value, one.price, one.qty, UNIT // 2 if one is orders[0] else 0)
            for name, one in told.items()
        }


def test_the_next_one_asks_and_goes_on_with_them(pair: Pair) -> None:
    """R09: queried, never sent again; a fill that came in between is told by the venue, later ones and cancels are its own."""
    blue, green = pair
    orders = _accepted(blue)
    _stand_down(pair)
    _hand_over(pair, 1)
    assert {message.client_id for message in green.session.sent if isinstance(message, QueryOrder)} == {one.client_id for one in orders}
    green.report(orders[0], ExecKind.PARTIAL, cumulative=UNIT // 2, last=UNIT // 2)
    for order in orders:
        green.status(order.client_id, OrderState.WORKING, cumulative=UNIT // 2 if order is orders[0] else 0)
    green.look()
    book = green.rooms.ledger.orders
    assert [tracked.state for tracked in book.open() if tracked.order.id in {one.client_id for one in orders}] == [State.WORKING] * 2
    green.report(orders[0], ExecKind.FILL, cumulative=orders[0].qty, last=orders[0].qty - UNIT // 2)
    held = orders[0].qty if orders[0].side is Side.BUY else -orders[0].qty
    assert green.rooms.ledger.positions.quantity(SYMBOL) == held and green.rooms.telemetry.warnings == ()
    green.guard.say(False)
    green.session.sent.clear()
    green.look()
    assert _cancels(green), "a halt takes back what was adopted as any other"
    green.report(orders[1], ExecKind.CANCELLED, code=Code.MASS_CANCEL)
    green.look()
    assert orders[1].client_id not in {tracked.order.id for tracked in book.open()}
    assert not {one.client_id for one in green.session.orders()} & {one.client_id for one in orders}


@pytest.mark.parametrize("why", ["killed", "silent", "spent"])
def test_what_is_not_kept_any_more_is_taken_back_by_the_writer(pair: Pair, why: str) -> None:
    """K02: a stop beside the standby, or a guard that falls silent, before the writer has left."""
    blue, _ = pair
    orders = blue.trade()
    blue.session.sent.clear()
    _stand_down(pair)
    assert not _cancels(blue)
    if why == "killed":
        blue.guard.say(False)
        blue.look()
    elif why == "silent":
        blue.clock.advance_ns(60_000_000_000)
        blue.stare()
    else:
        blue.rooms.gate._watch._spent_epoch = blue.guard.epoch
        blue.look()
    assert _cancels(blue) and not _leaves(blue)
    for order in orders:
        blue.report(order, ExecKind.CANCELLED, code=Code.MASS_CANCEL)
    _both(pair)
    assert not blue.rooms.tenure.keeps or why == "silent"


def test_sessions_that_cannot_keep_orders_cancel_them(host: HostRoot, start: Callable[..., Desk]) -> None:
    """The page says keep, the venue of this binding does not offer it: as any stand-down."""
    HostRoot(host.root, clock=host.clock).write()
    blue = start()
    blue.trade()
    blue.session.sent.clear()
    blue.guard.token = Token(0, "")
    blue.guard.say(False, keep_orders=True)
    blue.look()
    assert _cancels(blue) and not _leaves(blue)


def test_a_standby_says_what_it_would_take_over_and_only_then(pair: Pair) -> None:
    """Not while another trades, not when it cannot follow, not more than fits on its page."""
    blue, green = pair
    _accepted(blue)
    _both(pair)
    assert _vitals(green).open_orders is None
    _stand_down(pair)
    assert _vitals(blue).open_orders is None, "it still writes"
    assert len(_vitals(green).open_orders or ()) == 2
    green.rooms.standing.halt("follow", "cannot be read")
    assert _vitals(green).open_orders is None
    green.rooms.standing.withdraw("follow")
    for number in range(OPEN_ORDERS_MAX):
        green.rooms.ledger.orders.intend(_order(f"host-1-{10**6 + number}", SYMBOL), 0)
    assert _vitals(green).open_orders is None


def test_orders_of_symbols_that_the_next_one_does_not_trade_are_taken_back(pair: Pair) -> None:
    """Nobody would look after them."""
    blue, green = pair
    ledger = blue.rooms.ledger
    stray = ledger.intend(_order("host-1-5", "GLOBEX"), 5)
    for event in (OrderEvent.SENT, OrderEvent.ACCEPTED):
        ledger.happen(stray, event)
    ledger.commit()
    _stand_down(pair)
    _hand_over(pair, 1)
    assert not _cancels(green), "not before it is known to work"
    green.status("host-1-5", OrderState.WORKING)
    green.look()
    green.look()
    assert [one.orig_client_id for one in _cancels(green) if isinstance(one, CancelOrder)] == ["host-1-5"]


def _order(name: str, symbol: str) -> Order:
    tags = Tags(strategy="s", release="r", host="host-1", desk="d")
    return Order(name, symbol, VENUE, Side.BUY, PRICE // 2, UNIT, tags)
