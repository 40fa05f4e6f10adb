"""What a believable quote is, and the names of what is wrong with the others."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """Why a quote, or a symbol, cannot be traded on (R11, R19)."""

    NO_QUOTE = "no_quote"
    UNKNOWN_SYMBOL = "unknown_symbol"
    NOT_POSITIVE = "not_positive"
    CROSSED = "crossed"
    SPREAD = "spread"
    JUMP = "jump"
    STALE = "stale"
    FUTURE = "future"
    CLOCK_UNKNOWN = "clock_unknown"
    OUT_OF_ORDER = "out_of_order"
    HALTED = "halted"


@dataclass(frozen=True)
class QuoteRules:
    """Bounds of a believable quote. ppm: parts per million.

    age_max_ns: of a message when it comes, and of the feed's newest at any time.  quiet_max_ns: of a symbol's newest quote
    while the feed lives: a quiet market is no fault.  first_max_ppm: how far the first quote may be from reference data.
    jump_confirm: so many quotes in a row at a new level make it the level.  anchor_window_ns: of the price window (R02).
    mean_shift: the decaying mean moves by 1/2**shift of each difference.
    """

    age_max_ns: int
    quiet_max_ns: int
    spread_max_ppm: int
    jump_max_ppm: int
    first_max_ppm: int
    jump_confirm: int
    anchor_window_ns: int
    mean_shift: int
