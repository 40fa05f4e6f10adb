"""What the rooms of the trader say to one another. Prices, quantities: 1e-9 units; `_ns`: nanoseconds."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from tradeops.wire.protocol import Side, Tags, Tif


def sign(side: Side) -> int:
    """+1 for buy, -1 for sell."""
    return 1 if side is Side.BUY else -1


def other(side: Side) -> Side:
    """The opposite side."""
    return Side.SELL if side is Side.BUY else Side.BUY


class Quote(NamedTuple):
    """Best bid and ask of one symbol. exchange_ns: the venue's wall time; local_ns: our monotonic time of receipt."""

    symbol: str
    exchange_ns: int
    local_ns: int
    bid: int
    ask: int

    @property
    def mid(self) -> int:
        """Halfway between bid and ask, rounded down."""
        return (self.bid + self.ask) // 2


class MarketView(NamedTuple):
    """What a strategy is shown: the newest valid quote and the decaying mean of the mids before it."""

    quote: Quote
    mean: int


class Signal(NamedTuple):
    """What the strategy wants on one side of one symbol; quantity 0: nothing there."""

    symbol: str
    side: Side
    price: int
    quantity: int


class Order(msgspec.Struct, frozen=True):
    """An order as we mean it. reduce: may only bring a position towards zero. path_check: must not trade (D17).

    post_only: the venue rejects it if it would trade at once.
    """

    id: str
    symbol: str
    venue: str
    side: Side
    price: int
    quantity: int
    tags: Tags
    tif: Tif = Tif.DAY
    reduce: bool = False
    path_check: bool = False
    post_only: bool = False


class OrderEvent(StrEnum):
    """What happens to an order, whoever says so."""

    SENT = "sent"
    WITHHELD = "withheld"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    PART_FILLED = "part_filled"
    FILLED = "filled"
    CANCEL_SENT = "cancel_sent"
    CANCELLED = "cancelled"
    CANCEL_REFUSED = "cancel_refused"
    CANCEL_TOO_LATE = "cancel_too_late"
    TIMED_OUT = "timed_out"
    RESTARTED = "restarted"
    NOT_FOUND = "not_found"


class Fill(msgspec.Struct, frozen=True):
    """One execution; `execution` is the venue's id, counted once however often it is told."""

    execution: str
    order: str
    venue: str
    symbol: str
    side: Side
    price: int
    quantity: int


class Intended(msgspec.Struct, frozen=True, tag="intended"):
    """Journal: this order is about to be sent. Durable before the send."""

    sequence: int
    wall_ns: int
    order: Order


class Happened(msgspec.Struct, frozen=True, tag="happened"):
    """Journal: something happened to an order. Fills have their own entry."""

    wall_ns: int
    order: str
    event: OrderEvent
    reason: str = ""


class Filled(msgspec.Struct, frozen=True, tag="filled"):
    """Journal: an execution."""

    wall_ns: int
    fill: Fill


Entry = Intended | Happened | Filled
