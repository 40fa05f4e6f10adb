"""A capped flow: which decisions a host takes, and what it takes whatever the cap (D08). Pure.

The cap is a share of *decisions*, each known by a key that says the same everywhere: strategy, symbol, and the venue's time of
the quote that it answers. Whoever makes the same decision takes or leaves it alike, a higher cap takes all that a lower one took,
and the two sides of one decision share their fate.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from tradeops.contracts.units import PPM
from tradeops.trader.messages import Quote, Signal, sign
from tradeops.trader.orders.plan import near
from tradeops.wire.protocol import Side


def takes(decision: str, cap_ppm: int) -> bool:
    """Whether a decision is in the share: the first eight bytes of its SHA-256, modulo a million, below the cap."""
    return int.from_bytes(hashlib.sha256(decision.encode()).digest()[:8]) % PPM < cap_ppm


def decision_key(strategy: str, quote: Quote) -> str:
    """The key of what `strategy` decides on `quote`."""
    return f"{strategy}/{quote.symbol}/{quote.exchange_ns}"


class Taken(NamedTuple):
    """signal: what to place, None for nothing.  left: the cap has left something to others that was not theirs before."""

    signal: Signal | None
    left: bool = False


class Flow:
    """What the cap leaves to others stays theirs for as long as it is wanted at about that price, as their order would."""

    def __init__(self) -> None:
        self.cap_ppm = PPM
        self._theirs: dict[tuple[str, Side], int] = {}

    def set_cap(self, cap_ppm: int) -> None:
        """From now on. What was left under another cap is decided anew."""
        if cap_ppm != self.cap_ppm:
            self.cap_ppm = cap_ppm
            self._theirs.clear()

    def take(self, signal: Signal, strategy: str, quote: Quote, *, position: int, tolerance_ppm: int) -> Taken:
        """What of `signal`, decided on `quote` with `position` held, this host takes. What brings the position down, always."""
        if self.cap_ppm >= PPM:
            return Taken(signal)
        side = (signal.symbol, signal.side)
        theirs = self._theirs.get(side)
        if theirs is None and takes(decision_key(strategy, quote), self.cap_ppm):
            return Taken(signal)
        reducing = min(signal.quantity, -sign(signal.side) * position)
        if reducing > 0:
            return Taken(signal._replace(quantity=reducing))
        if theirs is None:
            self._theirs[side] = signal.price
        elif not near(theirs, signal.price, tolerance_ppm):
            del self._theirs[side]  # theirs is taken back first, as ours would be; what follows is a new decision
        return Taken(None, left=theirs is None)
