"""All orders that may still matter: open ones with their exposure by symbol, and the last closed ones for late reports."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from tradeops.contracts.units import value_of
from tradeops.trader.messages import Order, OrderEvent
from tradeops.trader.orders.states import OPEN, UNANSWERED, State, after
from tradeops.wire.protocol import Side

CLOSED_KEPT_MAX: Final = 50_000


class Tracked:
    """An order and how far it has come. since_ns: monotonic time of its last event.

    wanted_ns: since when it had been wanted when it was placed; 0 once the venue has said that it has it.
    """

    __slots__ = ("cancels", "filled", "order", "since_ns", "state", "wanted_ns")

    def __init__(self, order: Order, now_ns: int) -> None:
        self.order = order
        self.state = State.INTENDED
        self.filled = 0
        self.cancels = 0
        self.since_ns = now_ns
        self.wanted_ns = 0

    @property
    def open_quantity(self) -> int:
        """What may still be executed; 0 once closed."""
        return self.order.quantity - self.filled if self.state in OPEN else 0


class Exposure:
    """Open quantity and value of one symbol by side, with its orders."""

    __slots__ = ("buy", "buy_value", "orders", "sell", "sell_value")

    def __init__(self) -> None:
        self.buy = self.sell = self.buy_value = self.sell_value = 0
        self.orders: dict[str, Tracked] = {}

    def best(self, side: Side) -> int:
        """The best own working price on `side`; 0 for none."""
        prices = [tracked.order.price for tracked in self.orders.values() if tracked.order.side is side]
        if not prices:
            return 0
        return max(prices) if side is Side.BUY else min(prices)

    def reducing(self, side: Side) -> int:
        """Open quantity of reducing orders on `side`."""
        return sum(one.open_quantity for one in self.orders.values() if one.order.side is side and one.order.reduce)

    def shift(self, tracked: Tracked, quantity: int) -> None:
        """More (or, negative, less) open quantity of one order."""
        value = value_of(tracked.order.price, abs(quantity))
        if quantity < 0:
            value = -value
        if tracked.order.side is Side.BUY:
            self.buy += quantity
            self.buy_value += value
        else:
            self.sell += quantity
            self.sell_value += value


@dataclass(frozen=True)
class Change:
    """What an event did. surprise: the pair is not in the table, nothing changed."""

    before: State
    after: State
    surprise: bool = False


_NONE: Final = Exposure()


class OrderBook:
    """Orders by id. Rebuilt from the journal by the same calls that built it.

    open_count: of the open ones.  unanswered: how many of those have not been answered yet.
    """

    def __init__(self, *, closed_kept_max: int = CLOSED_KEPT_MAX) -> None:
        self._closed_kept_max = closed_kept_max
        self._orders: dict[str, Tracked] = {}
        self._closed: OrderedDict[str, None] = OrderedDict()
        self._exposures: dict[str, Exposure] = {}
        self.open_count = 0
        self.unanswered = 0

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._orders

    def get(self, order_id: str) -> Tracked | None:
        """The order of this id, while it is remembered."""
        return self._orders.get(order_id)

    def exposure(self, symbol: str) -> Exposure:
        """What is open in `symbol`."""
        return self._exposures.get(symbol, _NONE)

    def values(self) -> tuple[int, int]:
        """Open value of all buys and of all sells."""
        exposures = self._exposures.values()
        return sum(one.buy_value for one in exposures), sum(one.sell_value for one in exposures)

    def open(self) -> list[Tracked]:
        """All open orders."""
        return [tracked for exposure in self._exposures.values() for tracked in exposure.orders.values()]

    def intend(self, order: Order, now_ns: int) -> Tracked:
        """Take in a new order. Raises ValueError for an id that was there before."""
        if order.id in self._orders:
            raise ValueError(f"order id {order.id!r} was used before")
        tracked = self._orders[order.id] = Tracked(order, now_ns)
        exposure = self._exposures.setdefault(order.symbol, Exposure())
        exposure.orders[order.id] = tracked
        exposure.shift(tracked, order.quantity)
        self.open_count += 1
        self.unanswered += 1
        return tracked

    def happen(self, tracked: Tracked, event: OrderEvent, now_ns: int) -> Change:
        """Let `event` happen to an order."""
        before = tracked.state
        reached = after(before, event)
        if reached is None:
            return Change(before, before, surprise=True)
        tracked.since_ns = now_ns
        if event is OrderEvent.CANCEL_SENT:
            tracked.cancels += 1
        if reached is not before:
            self._move(tracked, reached)
        return Change(before, reached)

    def fill(self, tracked: Tracked, quantity: int) -> None:
        """Count executed quantity. The event (part filled, filled) is told apart."""
        tracked.filled += quantity
        if tracked.state in OPEN:
            self._exposures[tracked.order.symbol].shift(tracked, -quantity)

    def _move(self, tracked: Tracked, state: State) -> None:
        was_open = tracked.state in OPEN
        remaining = tracked.open_quantity
        self.unanswered += (state in UNANSWERED) - (tracked.state in UNANSWERED)
        tracked.state = state
        if was_open and state not in OPEN:
            exposure = self._exposures[tracked.order.symbol]
            exposure.shift(tracked, -remaining)
            del exposure.orders[tracked.order.id]
            self.open_count -= 1
            self._closed[tracked.order.id] = None
            if len(self._closed) > self._closed_kept_max:
                oldest, _ = self._closed.popitem(last=False)
                del self._orders[oldest]
