"""The life of orders: every pair of the table, the exposure they leave, and what to do about what is wanted."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trader import PRICE, SYMBOL, VENUE
from tradeops.contracts.units import UNIT, value_of
from tradeops.trader.messages import Order, OrderEvent, Signal
from tradeops.trader.orders.book import OrderBook, Tracked
from tradeops.trader.orders.ids import cancel_id, client_id, sequence_of
from tradeops.trader.orders.plan import plan
from tradeops.trader.orders.states import OPEN, TABLE, State, after
from tradeops.wire.protocol import Side, Tags

TAGS = Tags(strategy="s", release="r", host="h", desk="d")
E = OrderEvent


def order(number: int = 1, side: Side = Side.BUY, price: int = PRICE, quantity: int = UNIT, **changes: object) -> Order:
    return msgspec.structs.replace(Order(f"h-{number}", SYMBOL, VENUE, side, price, quantity, TAGS), **changes)


PATHS = [
    ((E.SENT, E.ACCEPTED, E.PART_FILLED, E.FILLED), State.FILLED),
    ((E.SENT, E.REJECTED), State.REJECTED),
    ((E.SENT, E.CANCELLED), State.CANCELLED),
    ((E.WITHHELD,), State.WITHHELD),
    ((E.SENT, E.WITHHELD), State.WITHHELD),
    ((E.SENT, E.CANCEL_SENT, E.WITHHELD), State.WITHHELD),
    ((E.SENT, E.CANCEL_SENT, E.ACCEPTED, E.CANCELLED), State.CANCELLED),
    ((E.SENT, E.CANCEL_SENT, E.REJECTED), State.REJECTED),
    ((E.SENT, E.ACCEPTED, E.CANCEL_SENT, E.CANCEL_REFUSED), State.WORKING),
    ((E.SENT, E.ACCEPTED, E.CANCEL_SENT, E.CANCEL_TOO_LATE, E.FILLED), State.FILLED),
    ((E.SENT, E.TIMED_OUT, E.NOT_FOUND), State.LOST),
    ((E.SENT, E.TIMED_OUT, E.ACCEPTED), State.WORKING),
    ((E.RESTARTED, E.PART_FILLED, E.CANCELLED, E.PART_FILLED), State.CANCELLED),
    ((E.SENT, E.ACCEPTED, E.CANCEL_SENT, E.CANCELLED, E.FILLED), State.FILLED),
]


@pytest.mark.parametrize(("events", "end"), PATHS)
def test_a_life_ends_where_the_table_says(events: tuple[OrderEvent, ...], end: State) -> None:
    """Ordinary lives and the ugly ones: crossing fills, late reports, orders that never left."""
    state = State.INTENDED
    for event in events:
        reached = after(state, event)
        assert reached is not None
        state = reached
    assert state is end


def test_the_table_is_whole() -> None:
    """Every state has its row; what has ended never works again; unknown is left only by an answer."""
    assert set(TABLE) == set(State)
    for state, row in TABLE.items():
        if state not in OPEN:
            assert not set(row.values()) & OPEN
    assert after(State.UNKNOWN, E.TIMED_OUT) is State.UNKNOWN
    assert after(State.FILLED, E.ACCEPTED) is None
    assert after(State.REJECTED, E.FILLED) is None


_EVENTS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(OrderEvent), st.integers(0, 3)), max_size=60)


@given(_EVENTS)
def test_exposure_is_the_sum_of_open_orders_whatever_happens(events: list[tuple[int, OrderEvent, int]]) -> None:
    """Counters kept along the way equal the sum from scratch, after any events in any order."""
    book = OrderBook()
    tracked = [book.intend(order(n, Side.BUY if n % 2 else Side.SELL, PRICE + n * UNIT, 10 * UNIT), 0) for n in range(4)]
    for index, event, filled in events:
        one = tracked[index]
        if event in (E.PART_FILLED, E.FILLED) and one.filled + filled * UNIT <= 10 * UNIT:
            book.fill(one, filled * UNIT)
        book.happen(one, event, 1)
    open_orders = [one for one in tracked if one.state in OPEN]
    exposure = book.exposure(SYMBOL)
    assert set(exposure.orders) == {one.order.id for one in open_orders}
    assert book.open_count == len(open_orders)
    assert book.unanswered == sum(one.state is not State.WORKING for one in open_orders)
    for side, quantity in ((Side.BUY, exposure.buy), (Side.SELL, exposure.sell)):
        assert quantity == sum(one.open_quantity for one in open_orders if one.order.side is side)
    bought, sold = book.values()
    assert bought + sold == sum(value_of(one.order.price, one.open_quantity) for one in open_orders)


def test_an_id_is_taken_once() -> None:
    """R09: the same id again is an error, also after its order has ended."""
    book = OrderBook()
    book.happen(book.intend(order(), 0), E.WITHHELD, 0)
    assert "h-1" in book
    with pytest.raises(ValueError, match="used before"):
        book.intend(order(), 0)


def test_only_so_many_closed_orders_are_kept() -> None:
    """The oldest closed ones are forgotten; open ones never."""
    book = OrderBook(closed_kept_max=2)
    working = book.intend(order(0), 0)
    for n in range(1, 5):
        book.happen(book.intend(order(n), 0), E.WITHHELD, 0)
    assert [f"h-{n}" in book for n in range(5)] == [True, False, False, True, True]
    assert book.open() == [working]


def test_best_own_prices_and_reducing_quantity() -> None:
    """What self-match and reduce-only checks ask."""
    book = OrderBook()
    assert book.exposure(SYMBOL).best(Side.BUY) == 0
    for n, price in enumerate((PRICE, PRICE + UNIT)):
        book.intend(order(n, Side.BUY, price), 0)
        book.intend(order(10 + n, Side.SELL, price + 10 * UNIT, reduce=True), 0)
    exposure = book.exposure(SYMBOL)
    assert (exposure.best(Side.BUY), exposure.best(Side.SELL)) == (PRICE + UNIT, PRICE + 10 * UNIT)
    assert (exposure.reducing(Side.BUY), exposure.reducing(Side.SELL)) == (0, 2 * UNIT)


def test_ids_follow_the_sequence() -> None:
    """R09: deterministic, and told apart from other hosts' ids."""
    assert client_id("host-1", 42) == "host-1-42"
    assert sequence_of("host-1-42", "host-1") == 42
    assert sequence_of("host-1-42", "host") is None
    assert sequence_of("something", "host-1") is None
    assert cancel_id("host-1-42", 2) == "host-1-42/c2"


def working(one: Order, state: State = State.WORKING) -> Tracked:
    tracked = Tracked(one, 0)
    tracked.state = state
    return tracked


def signal(side: Side = Side.BUY, price: int = PRICE, quantity: int = UNIT) -> Signal:
    return Signal(SYMBOL, side, price, quantity)


def test_a_free_side_is_filled_and_a_near_order_stays() -> None:
    """Within the tolerance nothing happens; outside it the order is taken back first, and placed when the side is free."""
    assert plan([signal()], [], 100).places == (signal(),)
    near, far = working(order(price=PRICE + UNIT // 1000)), working(order(price=PRICE + UNIT))
    assert plan([signal()], [near], 100) == ((), ())
    assert plan([signal()], [far], 100) == ((far,), ())
    assert plan([signal(quantity=0)], [near], 100) == ((near,), ())
    assert plan([signal(quantity=0)], [], 100) == ((), ())


@pytest.mark.parametrize("state", [State.SENT, State.CANCELLING, State.UNKNOWN])
def test_a_side_is_not_free_before_its_order_has_ended(state: State) -> None:
    """An order of unknown fate holds its side: never two where one was meant."""
    assert plan([signal(price=PRICE + UNIT)], [working(order(), state)], 100) == ((), ())


def test_a_price_that_meets_the_own_other_side_is_not_placed() -> None:
    """R10 before risk: no denial is provoked by one's own order on its way out."""
    ask = working(order(2, Side.SELL, PRICE), State.CANCELLING)
    assert plan([signal(price=PRICE)], [ask], 100).places == ()
    bid = working(order(3, Side.BUY, PRICE), State.CANCELLING)
    assert plan([signal(Side.SELL, PRICE)], [bid], 100).places == ()
    assert plan([signal(Side.SELL, PRICE + UNIT)], [bid], 100).places == (signal(Side.SELL, PRICE + UNIT),)
