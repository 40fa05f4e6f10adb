"""Why an order was denied: one code per control, with what was measured and what was allowed (R21)."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Code(StrEnum):
    """Every reason there is; there is no "other"."""

    LIMIT_INVALID = "limit_invalid"
    INSTRUMENT = "instrument"
    SYMBOL_BLOCKED = "symbol_blocked"
    VENUE = "venue"
    UNTAGGED = "untagged"
    DUPLICATE_ID = "duplicate_id"
    NOT_POSITIVE = "not_positive"
    TICK = "tick"
    LOT = "lot"
    ORDER_QUANTITY = "order_quantity"
    ORDER_PRICE = "order_price"
    ORDER_VALUE = "order_value"
    ORDER_COUNT = "order_count"
    ORDER_RATE = "order_rate"
    MARKET_DATA = "market_data"
    REFERENCE_DATA_STALE = "reference_data_stale"
    REFERENCE_MISSING = "reference_missing"
    COLLAR = "collar"
    COLLAR_WINDOW = "collar_window"
    SELF_MATCH = "self_match"
    REDUCE_CROSSES_ZERO = "reduce_crosses_zero"
    POSITION = "position"
    GROSS = "gross"
    NET = "net"


class Denial(NamedTuple):
    """measured against limit, in the unit of the control; subject: which limit, symbol, venue or id."""

    code: Code
    measured: int
    limit: int
    subject: str = ""
