"""Price-time matching of one symbol, in integers. Pure: orders in, lists of events out."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from tradeops.wire.protocol import Code, Side


class SelfTrade(StrEnum):
    """What happens when an owner would trade with itself. allow is for venues that do not care."""

    CANCEL_INCOMING = "cancel_incoming"
    CANCEL_RESTING = "cancel_resting"
    ALLOW = "allow"


@dataclass(slots=True)
class BookOrder:
    """A limit order in or on its way into the book; `leaves` is what can still trade."""

    order_id: int
    owner: str
    side: Side
    price: int
    leaves: int


class Rested(NamedTuple):
    """It now waits in the book."""

    order: BookOrder


class Traded(NamedTuple):
    """`qty` at the maker's price; both orders' leaves are already reduced."""

    maker: BookOrder
    taker: BookOrder
    price: int
    qty: int


class Gone(NamedTuple):
    """It left the book, or never got in, with `leaves` untraded."""

    order: BookOrder
    code: Code


class Kept(NamedTuple):
    """A change that kept the order's place in the queue."""

    order: BookOrder


Event: TypeAlias = Rested | Traded | Gone | Kept


class Level:
    """Orders at one price in order of time."""

    __slots__ = ("orders", "qty")

    def __init__(self) -> None:
        self.orders: dict[int, BookOrder] = {}
        self.qty = 0


class _Ladder:
    """One side of the book; keys sort so that the best price is last."""

    def __init__(self, side: Side) -> None:
        self._sign = 1 if side is Side.BUY else -1
        self._keys: list[int] = []
        self._levels: dict[int, Level] = {}

    def __iter__(self) -> Iterator[tuple[int, Level]]:
        """Prices and levels, best first."""
        return ((key * self._sign, self._levels[key]) for key in reversed(self._keys))

    def best(self) -> tuple[int, Level] | None:
        if not self._keys:
            return None
        key = self._keys[-1]
        return key * self._sign, self._levels[key]

    def add(self, order: BookOrder) -> None:
        key = order.price * self._sign
        level = self._levels.get(key)
        if level is None:
            level = self._levels[key] = Level()
            insort(self._keys, key)
        level.orders[order.order_id] = order
        level.qty += order.leaves

    def reduce(self, order: BookOrder, by: int) -> None:
        """Take `by` off a resting order, and the order off the ladder when nothing is left."""
        key = order.price * self._sign
        level = self._levels[key]
        level.qty -= by
        order.leaves -= by
        if order.leaves == 0:
            self._drop(key, level, order)

    def remove(self, order: BookOrder) -> None:
        key = order.price * self._sign
        level = self._levels[key]
        level.qty -= order.leaves
        self._drop(key, level, order)

    def _drop(self, key: int, level: Level, order: BookOrder) -> None:
        del level.orders[order.order_id]
        if not level.orders:
            del self._levels[key]
            del self._keys[bisect_left(self._keys, key)]


class Book:
    """The orders of one symbol."""

    def __init__(self, self_trade: SelfTrade = SelfTrade.CANCEL_INCOMING) -> None:
        self._self_trade = self_trade
        self._ladders = {side: _Ladder(side) for side in Side}
        self.orders: dict[int, BookOrder] = {}

    def best(self, side: Side) -> tuple[int, int]:
        """Best price and the quantity there; 0, 0 for an empty side."""
        top = self._ladders[side].best()
        return (top[0], top[1].qty) if top else (0, 0)

    def levels(self, side: Side) -> list[tuple[int, list[BookOrder]]]:
        """Prices best first, with their orders in order of time."""
        return [(price, list(level.orders.values())) for price, level in self._ladders[side]]

    def submit(self, order: BookOrder, *, ioc: bool = False, post_only: bool = False) -> list[Event]:
        """Match `order`, then rest what is left (ioc: cancel it). post_only: nothing happens if it would trade at once."""
        if post_only and self._would_trade(order):
            return [Gone(order, Code.WOULD_TRADE)]
        events: list[Event] = []
        stopped = self._match(order, events)
        if order.leaves == 0:
            return events
        if stopped or ioc:
            events.append(Gone(order, Code.SELF_TRADE if stopped else Code.IOC_REST))
        else:
            self._ladders[order.side].add(order)
            self.orders[order.order_id] = order
            events.append(Rested(order))
        return events

    def cancel(self, order_id: int, code: Code = Code.REQUESTED) -> list[Event]:
        """Take an order out; no event when it is not in the book."""
        order = self.orders.pop(order_id, None)
        if order is None:
            return []
        self._ladders[order.side].remove(order)
        return [Gone(order, code)]

    def change(self, order_id: int, *, leaves: int, price: int) -> list[Event]:
        """Another open quantity or price. Less at the same price keeps the place in the queue. Raises KeyError."""
        order = self.orders[order_id]
        if price == order.price and 0 < leaves <= order.leaves:
            self._ladders[order.side].reduce(order, order.leaves - leaves)
            return [Kept(order)]
        del self.orders[order_id]
        self._ladders[order.side].remove(order)
        if leaves <= 0:
            return [Gone(order, Code.REQUESTED)]
        order.leaves, order.price = leaves, price
        return self.submit(order)

    def _would_trade(self, order: BookOrder) -> bool:
        top = self._ladders[_other(order.side)].best()
        return top is not None and _crosses(order, top[0])

    def _match(self, taker: BookOrder, events: list[Event]) -> bool:
        """Trade while prices cross; True when self-trade prevention stopped the taker."""
        ladder = self._ladders[_other(taker.side)]
        while taker.leaves and (top := ladder.best()) and _crosses(taker, top[0]):
            price, level = top
            maker = next(iter(level.orders.values()))
            if maker.owner == taker.owner and self._self_trade is not SelfTrade.ALLOW:
                if self._self_trade is SelfTrade.CANCEL_RESTING:
                    events.extend(self.cancel(maker.order_id, Code.SELF_TRADE))
                    continue
                return True
            qty = min(taker.leaves, maker.leaves)
            taker.leaves -= qty
            ladder.reduce(maker, qty)
            if maker.leaves == 0:
                del self.orders[maker.order_id]
            events.append(Traded(maker, taker, price, qty))
        return False


def _other(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY


def _crosses(order: BookOrder, price: int) -> bool:
    return price <= order.price if order.side is Side.BUY else price >= order.price
