"""The matching engine: what it does case by case, and what always holds whatever comes in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tradeops.venue.book import Book, BookOrder, Event, Gone, Kept, Rested, SelfTrade, Traded
from tradeops.wire.protocol import Code, Side

BUY, SELL = Side.BUY, Side.SELL


def submit(
    book: Book, order_id: int, side: Side, price: int, qty: int, *, owner: str = "", ioc: bool = False, post_only: bool = False
) -> list[Event]:
    return book.submit(BookOrder(order_id, owner or f"owner-{order_id}", side, price, qty), ioc=ioc, post_only=post_only)


def said(events: list[Event]) -> list[tuple[object, ...]]:
    """Events as plain tuples, for comparing."""
    plain: list[tuple[object, ...]] = []
    for event in events:
        match event:
            case Traded(maker, taker, price, qty):
                plain.append(("traded", maker.order_id, taker.order_id, price, qty))
            case Rested(order):
                plain.append(("rested", order.order_id, order.leaves))
            case Kept(order):
                plain.append(("kept", order.order_id, order.leaves))
            case Gone(order, code):
                plain.append(("gone", order.order_id, order.leaves, code.value))
    return plain


def test_orders_that_do_not_cross_rest_on_both_sides() -> None:
    """Bid below ask: both wait, and the best prices are theirs."""
    book = Book()
    assert said(submit(book, 1, BUY, 99, 5)) == [("rested", 1, 5)]
    assert said(submit(book, 2, SELL, 101, 7)) == [("rested", 2, 7)]
    assert (book.best(BUY), book.best(SELL)) == ((99, 5), (101, 7))


def test_an_empty_side_is_zero_at_zero() -> None:
    """No order, no price."""
    assert Book().best(BUY) == (0, 0)


def test_better_price_first_then_earlier_time_at_the_makers_price() -> None:
    """A taker meets the best price first, and at one price who came first."""
    book = Book()
    submit(book, 1, SELL, 102, 5)
    submit(book, 2, SELL, 101, 5)
    submit(book, 3, SELL, 101, 5)
    assert said(submit(book, 4, BUY, 102, 12)) == [("traded", 2, 4, 101, 5), ("traded", 3, 4, 101, 5), ("traded", 1, 4, 102, 2)]
    assert book.best(SELL) == (102, 3)


def test_what_is_left_of_a_taker_rests() -> None:
    """Half traded, half in the book at its own price."""
    book = Book()
    submit(book, 1, SELL, 101, 5)
    assert said(submit(book, 2, BUY, 101, 8)) == [("traded", 1, 2, 101, 5), ("rested", 2, 3)]


def test_now_or_never_leaves_nothing_behind() -> None:
    """IOC: what cannot trade at once goes."""
    book = Book()
    submit(book, 1, SELL, 101, 5)
    assert said(submit(book, 2, BUY, 101, 8, ioc=True))[-1] == ("gone", 2, 3, "ioc_rest")
    assert book.orders == {}


def test_post_only_never_trades() -> None:
    """It is turned away rather than take."""
    book = Book()
    submit(book, 1, SELL, 101, 5)
    assert said(submit(book, 2, BUY, 101, 5, post_only=True)) == [("gone", 2, 5, "would_trade")]
    assert said(submit(book, 3, BUY, 100, 5, post_only=True)) == [("rested", 3, 5)]


def test_an_owner_does_not_trade_with_itself() -> None:
    """By default the incoming order goes; where the venue says so, the resting one; or neither."""
    for rule, expected in (
        (SelfTrade.CANCEL_INCOMING, [("gone", 2, 5, "self_trade")]),
        (SelfTrade.CANCEL_RESTING, [("gone", 1, 5, "self_trade"), ("rested", 2, 5)]),
        (SelfTrade.ALLOW, [("traded", 1, 2, 101, 5)]),
    ):
        book = Book(rule)
        submit(book, 1, SELL, 101, 5, owner="acc")
        assert said(submit(book, 2, BUY, 101, 5, owner="acc")) == expected


def test_self_trade_prevention_keeps_what_traded_before() -> None:
    """The taker meets a stranger first, then itself: the first trade stands."""
    book = Book()
    submit(book, 1, SELL, 100, 2, owner="other")
    submit(book, 2, SELL, 101, 5, owner="acc")
    assert said(submit(book, 3, BUY, 101, 5, owner="acc")) == [("traded", 1, 3, 100, 2), ("gone", 3, 3, "self_trade")]
    assert book.best(SELL) == (101, 5)


def test_cancel_takes_an_order_out_once() -> None:
    """The second cancel finds nothing."""
    book = Book()
    submit(book, 1, BUY, 99, 5)
    assert said(book.cancel(1, Code.MASS_CANCEL)) == [("gone", 1, 5, "mass_cancel")]
    assert book.cancel(1) == []
    assert book.best(BUY) == (0, 0)


def test_less_at_the_same_price_keeps_the_place_more_or_elsewhere_loses_it() -> None:
    """Price-time priority over changes."""
    book = Book()
    for order_id in (1, 2):
        submit(book, order_id, BUY, 99, 5)
    assert said(book.change(1, leaves=3, price=99)) == [("kept", 1, 3)]
    assert said(submit(book, 3, SELL, 99, 1)) == [("traded", 1, 3, 99, 1)]
    assert said(book.change(1, leaves=9, price=99)) == [("rested", 1, 9)]
    assert said(submit(book, 4, SELL, 99, 1)) == [("traded", 2, 4, 99, 1)]


def test_a_change_can_trade_or_end_the_order() -> None:
    """Moved across the spread it trades; cut to nothing it goes."""
    book = Book()
    submit(book, 1, BUY, 99, 5)
    submit(book, 2, SELL, 101, 5)
    assert said(book.change(1, leaves=5, price=101)) == [("traded", 2, 1, 101, 5)]
    submit(book, 3, BUY, 99, 5)
    assert said(book.change(3, leaves=0, price=99)) == [("gone", 3, 5, "requested")]


ORDERS = st.tuples(
    st.sampled_from(["new", "new", "new", "ioc", "post_only", "cancel", "change"]),
    st.sampled_from(Side),
    st.integers(95, 105),
    st.integers(1, 20),
    st.sampled_from(["a", "b", "c"]),
    st.integers(0, 1_000),
)


def _do(book: Book, order_id: int, act: tuple[str, Side, int, int, str, int]) -> list[Event]:
    kind, side, price, qty, owner, pick = act
    if kind in ("cancel", "change"):
        if not book.orders:
            return []
        chosen = sorted(book.orders)[pick % len(book.orders)]
        return book.cancel(chosen) if kind == "cancel" else book.change(chosen, leaves=qty, price=price)
    return submit(book, order_id, side, price, qty, owner=owner, ioc=kind == "ioc", post_only=kind == "post_only")


@given(st.lists(ORDERS, max_size=80), st.sampled_from(SelfTrade))
def test_the_book_is_never_crossed_and_its_levels_add_up(acts: list[tuple[str, Side, int, int, str, int]], rule: SelfTrade) -> None:
    """After every act: best bid below best ask, level sums equal their orders, the index holds exactly the resting orders."""
    book = Book(rule)
    for order_id, act in enumerate(acts, start=1):
        _do(book, order_id, act)
        (bid, _), (ask, _) = book.best(BUY), book.best(SELL)
        assert not bid or not ask or bid < ask
        resting = {order.order_id: order for side in Side for _, orders in book.levels(side) for order in orders}
        assert resting == book.orders
        for side in Side:
            levels = book.levels(side)
            prices = [price for price, _ in levels]
            assert prices == sorted(prices, reverse=side is BUY)
            assert all(order.leaves > 0 and order.price == price and order.side is side for price, orders in levels for order in orders)
            assert book.best(side) == ((levels[0][0], sum(order.leaves for order in levels[0][1])) if levels else (0, 0))


@given(st.lists(ORDERS.filter(lambda act: act[0] != "change"), max_size=80), st.sampled_from(SelfTrade))
def test_quantity_is_conserved(acts: list[tuple[str, Side, int, int, str, int]], rule: SelfTrade) -> None:
    """Entered = traded + gone + still resting, for every order, and a trade takes the same from both sides."""
    book = Book(rule)
    entered: dict[int, int] = {}
    traded: dict[int, int] = {}
    gone: dict[int, int] = {}
    for order_id, act in enumerate(acts, start=1):
        if act[0] != "cancel":
            entered[order_id] = act[3]
        for event in _do(book, order_id, act):
            if isinstance(event, Traded):
                assert event.qty > 0 and event.maker.side is not event.taker.side
                for order in (event.maker, event.taker):
                    traded[order.order_id] = traded.get(order.order_id, 0) + event.qty
            elif isinstance(event, Gone):
                assert event.order.order_id not in gone
                gone[event.order.order_id] = event.order.leaves
    for order_id, qty in entered.items():
        resting = book.orders[order_id].leaves if order_id in book.orders else 0
        assert qty == traded.get(order_id, 0) + gone.get(order_id, 0) + resting


@given(st.lists(ORDERS, max_size=80))
def test_a_trade_never_passes_over_a_better_or_earlier_order(acts: list[tuple[str, Side, int, int, str, int]]) -> None:
    """Price-time priority: the makers of one taker are exactly the head of the queue as it stood, in order, at their prices."""
    book = Book(SelfTrade.ALLOW)
    for order_id, act in enumerate(acts, start=1):
        queues = {side: [(order.order_id, price) for price, orders in book.levels(side) for order in orders] for side in Side}
        trades = [event for event in _do(book, order_id, act) if isinstance(event, Traded)]
        if trades:
            queue = [entry for entry in queues[trades[0].maker.side] if entry[0] != trades[0].taker.order_id]
            assert [(trade.maker.order_id, trade.price) for trade in trades] == queue[: len(trades)]
            limit, side = trades[0].taker.price, trades[0].taker.side
            assert all(trade.price <= limit if side is BUY else trade.price >= limit for trade in trades)
