"""The limits in force: the tighter of release, this host's budgets, and the overlay (D12, R04). Nothing can loosen them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tradeops.contracts.binding import Overlay
from tradeops.contracts.manifest import Limits as ReleaseLimits
from tradeops.contracts.units import UNIT

ORDER_QUANTITY: Final = "order_quantity_max"
ORDER_PRICE: Final = "order_price_max"
ORDER_VALUE: Final = "order_value_max"
ORDER_COUNT: Final = "order_count_max"
ORDER_RATE: Final = "order_rate_per_s_max"
POSITION: Final = "position_max"
GROSS: Final = "gross_notional"
NET: Final = "net_notional"

NAMES: Final = (ORDER_QUANTITY, ORDER_PRICE, ORDER_VALUE, ORDER_COUNT, ORDER_RATE, POSITION, GROSS, NET)
"""order_count: working at once. order_rate: new orders and cancels in any second. Both are plain counts; the rest in 1e-9 units.

gross and net are firm limits, split over hosts as budgets (R04); net is never more than gross, and is gross unless stated.
"""
_COUNTS: Final = frozenset({ORDER_COUNT, ORDER_RATE})
_FIRM_NAMES: Final = {"orders_per_second": ORDER_RATE}
"""What people call a limit in a fleet file, where it is not its name here."""
_OF_RELEASE: Final = (ORDER_QUANTITY, ORDER_PRICE, ORDER_VALUE, ORDER_COUNT, ORDER_RATE, POSITION)


@dataclass(frozen=True)
class Limits:
    """What holds. values: every name of NAMES; 0 stands for missing, zero or negative, and denies (R01)."""

    values: Mapping[str, int]
    instruments: frozenset[str]
    venues: frozenset[str]
    symbols_blocked: frozenset[str]

    def invalid(self) -> tuple[str, ...]:
        """The names without a positive value."""
        return tuple(name for name in NAMES if self.values[name] <= 0)


def tightest(release: ReleaseLimits | None, budgets: Mapping[str, int], overlay: Overlay | None) -> Limits:
    """The smallest of all that are stated, name by name. A release without limits permits nothing."""
    of_release = {} if release is None else {name: getattr(release, name) for name in _OF_RELEASE}
    stated = (of_release, _shares(budgets), overlay.limits if overlay else {})
    values = {name: _smallest(name, stated) for name in NAMES}
    if not any(NET in source for source in stated):
        values[NET] = values[GROSS]
    return Limits(
        values=values,
        instruments=frozenset(release.instruments if release else ()),
        venues=frozenset(release.venues if release else ()),
        symbols_blocked=frozenset(overlay.symbols_blocked if overlay else ()),
    )


def _smallest(name: str, stated: tuple[Mapping[str, int], ...]) -> int:
    """0 when nobody states it, when the release should and does not, or when anybody states nonsense."""
    values = [source[name] for source in stated if name in source]
    missing = not values or (name in _OF_RELEASE and name not in stated[0])
    if missing or any(type(value) is not int for value in values):
        return 0
    return max(0, min(values))


def _shares(budgets: Mapping[str, int]) -> dict[str, int]:
    """A host's budgets under the names here; they come in 1e-9 units throughout, so counts are divided."""
    shares: dict[str, int] = {}
    for name, amount in budgets.items():
        known = _FIRM_NAMES.get(name, name)
        share = amount // UNIT if known in _COUNTS else amount
        shares[known] = min(share, shares.get(known, share))
    return shares


def unknown(budgets: Mapping[str, int], overlay: Overlay | None) -> tuple[str, ...]:
    """Stated limits that no check reads: wired to nothing is worse than missing, since somebody relies on it."""
    names = set(_shares(budgets)) | set(overlay.limits if overlay else {})
    return tuple(sorted(names - set(NAMES)))
