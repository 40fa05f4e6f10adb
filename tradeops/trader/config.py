"""config/trader.yml: how this release trades. Part of the release: changing it is a release (D06)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from tradeops.base.clock import NS_PER_S
from tradeops.base.config import DurationS, Strict, load_yaml
from tradeops.contracts.units import parse_units
from tradeops.trader.gate.verdict import Patience
from tradeops.trader.market.rules import QuoteRules
from tradeops.trader.risk.check import Bounds
from tradeops.trader.strategy.quoter import QuoterSettings


def _amount(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is not an exact number: write it in quotes, as "0.25"')
    return parse_units(value)


Amount = Annotated[int, BeforeValidator(_amount), Field(gt=0)]
"""Written `"0.25"`, held in 1e-9 units. A bare number is refused: it would pass through a float."""
Ppm = Annotated[int, Field(gt=0, le=1_000_000)]
Share = Annotated[int, Field(ge=0, le=1_000_000)]


def ns(seconds: float) -> int:
    """A duration in whole nanoseconds."""
    return round(seconds * NS_PER_S)


class Market(Strict):
    """Which quotes are believed (R11). See market/rules.py."""

    age_max: DurationS
    quiet_max: DurationS
    offset_window: DurationS
    offset_samples_min: Annotated[int, Field(ge=1)]
    offset_step_max: DurationS
    spread_max_ppm: Ppm
    jump_max_ppm: Ppm
    first_max_ppm: Ppm
    jump_confirm: Annotated[int, Field(ge=2)]
    mean_shift: Annotated[int, Field(ge=1, le=20)]

    def rules(self, anchor_window: float) -> QuoteRules:
        """The bounds of a believable quote."""
        return QuoteRules(
            age_max_ns=ns(self.age_max),
            quiet_max_ns=ns(self.quiet_max),
            spread_max_ppm=self.spread_max_ppm,
            jump_max_ppm=self.jump_max_ppm,
            first_max_ppm=self.first_max_ppm,
            jump_confirm=self.jump_confirm,
            anchor_window_ns=ns(anchor_window),
            mean_shift=self.mean_shift,
        )


class Strategy(Strict):
    """The quoter. See strategy/quoter.py."""

    name: Annotated[str, Field(min_length=1, max_length=50)]
    kind: Literal["quoter"]
    symbols: Annotated[tuple[str, ...], Field(strict=False)] = ()
    quantity: Amount
    position_max: Amount
    half_spread_ppm: Ppm
    reversion_ppm: Share
    skew_ppm: Share
    improve: bool
    post_only: bool
    tolerance_ppm: Ppm
    requote: DurationS

    def settings(self) -> QuoterSettings:
        """What the strategy is called with."""
        return QuoterSettings(self.quantity, self.position_max, self.half_spread_ppm, self.reversion_ppm, self.skew_ppm, self.improve)


class Risk(Strict):
    """Bounds of the checks that are no limits of the release."""

    collar_ppm: Ppm
    collar_window_ppm: Ppm
    collar_window: DurationS
    reference_age_max: DurationS

    def bounds(self) -> Bounds:
        """What the checks are called with."""
        return Bounds(self.collar_ppm, self.collar_window_ppm, ns(self.reference_age_max))


class GateConfig(Strict):
    """Patience with a silent guard, and how often the page is looked at when nothing is sent."""

    guard_late: DurationS
    guard_silent: DurationS
    look_every: DurationS

    def patience(self) -> Patience:
        """What the gate is called with."""
        return Patience(ns(self.guard_late), ns(self.guard_silent))


class Sessions(Strict):
    """Waits of the venue's sessions. order_gap: the least time between two new orders; see pace.py."""

    connect: DurationS
    beat: DurationS
    silence: DurationS
    retry_first: DurationS
    retry_most: DurationS
    answer: DurationS
    order_gap: DurationS
    drain: DurationS


class PathCheck(Strict):
    """The order round trip that cannot trade (D17): a bid this far below the reference, immediate or cancel."""

    away_ppm: Ppm


class TraderConfig(Strict):
    """The file. flags: ids that this configuration relies on; one that the release does not declare halts (D05)."""

    desk: Annotated[str, Field(min_length=1, max_length=50)]
    strategy: Strategy
    market: Market
    risk: Risk
    gate: GateConfig
    sessions: Sessions
    path_check: PathCheck
    vitals_every: DurationS
    flags: Annotated[tuple[str, ...], Field(strict=False)] = ()


def load_config(path: Path) -> TraderConfig:
    """Raises ConfigError with file:line and key path."""
    return load_yaml(path, TraderConfig)
