"""A quoter that leans towards the mean: bids and offers around a fair price between the mid and its decaying mean."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tradeops.contracts.units import ppm_of
from tradeops.trader.messages import MarketView, Signal
from tradeops.wire.protocol import Side


@dataclass(frozen=True)
class QuoterSettings:
    """half_spread_ppm: distance of each price from fair.  reversion_ppm: how far fair is pulled from mid to mean.

    skew_ppm: how far fair moves against a full position.  quantity, position_max: in 1e-9 units.  improve: a price may be
    better than the touch, and may then trade at once.
    """

    quantity: int
    position_max: int
    half_spread_ppm: int
    reversion_ppm: int
    skew_ppm: int
    improve: bool = False

    def without_reversion(self) -> QuoterSettings:
        """The same, with the mid as the fair price."""
        return replace(self, reversion_ppm=0)


def quote(view: MarketView, position: int, tick: int, settings: QuoterSettings) -> tuple[Signal, Signal]:
    """What is wanted on both sides, with `position` held. A side that would grow a full position wants nothing."""
    newest = view.quote
    mid = newest.mid
    fair = mid + ppm_of(view.mean - mid, settings.reversion_ppm)
    fair -= ppm_of(mid, settings.skew_ppm) * position // settings.position_max
    half = ppm_of(mid, settings.half_spread_ppm)
    bid, ask = _down(fair - half, tick), _up(fair + half, tick)
    if not settings.improve:
        bid, ask = min(bid, newest.bid), max(ask, newest.ask)
    room_to_buy = settings.position_max - position
    room_to_sell = settings.position_max + position
    return (
        Signal(newest.symbol, Side.BUY, bid, settings.quantity if room_to_buy >= settings.quantity and bid > 0 else 0),
        Signal(newest.symbol, Side.SELL, ask, settings.quantity if room_to_sell >= settings.quantity else 0),
    )


def _down(price: int, tick: int) -> int:
    return price - price % tick


def _up(price: int, tick: int) -> int:
    return price + -price % tick
