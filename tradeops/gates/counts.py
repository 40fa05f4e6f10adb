"""Judging events over exposure: errors, rejects, requests over a limit, orders. Evidence may be looked at at any time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tradeops.gates.evidence import Arm, Bounds, Evidence, Ruling
from tradeops.gates.stats import RatioEvidence, is_burst, more_needed

BURST_ROUNDS_MAX = 10
"""A burst that lasts for more rounds in a row is how things are now, and is counted."""
_LOG_MAX = 690.0


@dataclass(frozen=True)
class Demand:
    """What is asked of a rate: events per exposure.

    limit: over it fails, and it must be shown to be under it.  margin: worse than the control fails, and the ratio must be
    shown to be under this, or the rate itself under `rare`.  band: the ratio must be shown to lie between 1/band and band, and
    outside fails.  Without a control group there is neither margin nor band.
    """

    limit: float | None = None
    margin: float | None = None
    rare: float | None = None
    band: float | None = None

    @property
    def reference(self) -> float:
        """The rate that the canary's is held against."""
        return self.limit or self.rare or 1.0

    @property
    def ways_to_fail(self) -> int:
        """Tests that may fail a canary: what alpha is split over."""
        return bool(self.limit) + bool(self.margin) + 2 * bool(self.band)


@dataclass
class Seen:
    """The evidence on the canary's rate, as a ratio to the demand's reference and to what is rare, and on its ratio to the
    control's.
    """

    rate: RatioEvidence
    rare: RatioEvidence
    ratio: RatioEvidence

    @classmethod
    def of(cls, demand: Demand) -> Seen:
        """Nothing seen yet."""
        factors = [factor for factor in (demand.margin, demand.band) if factor]
        return cls(RatioEvidence(()), RatioEvidence(()), RatioEvidence((*factors, *(1 / factor for factor in factors))))

    def add(self, canary: Arm, control: Arm, demand: Demand) -> None:
        """Take in what both arms counted at the same time."""
        self.rate.add_count(canary.events, demand.reference * canary.exposure)
        self.rare.add_count(canary.events, (demand.rare or 0.0) * canary.exposure)
        exposure = canary.exposure + control.exposure
        self.ratio.add_pair(canary.events, control.events, canary.exposure / exposure if exposure > 0 else 0.0)

    def ahead(self, exposure: float, rate: float, share: float, demand: Demand) -> Seen:
        """What will be seen after so much more exposure of the canary, if both arms have `rate` events per exposure."""
        seen = Seen(self.rate.copy(), self.rare.copy(), self.ratio.copy())
        others = exposure * (1 - share) / share
        seen.add(Arm(rate * exposure, exposure), Arm(rate * others, others), demand)
        return seen

    def failing(self, demand: Demand, beta: float) -> list[tuple[float, str]]:
        """ln of the e-value of each way to fail, with its words."""
        ways = []
        if demand.limit:
            ways.append((self.rate.log_above(1.0), f"its rate is over the limit of {demand.limit:.3g}"))
        if demand.margin and self.ratio.log_below(demand.margin) < -math.log(beta):
            # Worse, but shown to be within the margin, is a difference that was allowed beforehand.
            ways.append((self.ratio.log_above(1.0), "it is worse than the control"))
        if demand.band:
            ways.append((self.ratio.log_above(demand.band), f"it does more than {demand.band:g} times what the control does"))
            ways.append((self.ratio.log_below(1 / demand.band), f"it does less than 1/{demand.band:g} of what the control does"))
        return ways

    def lacking(self, demand: Demand, beta: float) -> list[str]:
        """What PASS still lacks, in words."""
        sure = -math.log(beta)
        lacks = []
        if demand.limit and self.rate.log_below(1.0) < sure:
            lacks.append(f"not yet shown to be under the limit of {demand.limit:.3g}")
        if demand.margin and self.ratio.log_below(demand.margin) < sure and not self._rare(demand, sure):
            rare = f", or under {demand.rare:.3g}" if demand.rare else ""
            lacks.append(f"not yet shown to be under {demand.margin:g} times the control's rate{rare}")
        if demand.band and (self.ratio.log_below(demand.band) < sure or self.ratio.log_above(1 / demand.band) < sure):
            lacks.append(f"not yet shown to be between 1/{demand.band:g} and {demand.band:g} times what the control does")
        return lacks

    def _rare(self, demand: Demand, sure: float) -> bool:
        return bool(demand.rare) and self.rare.log_below(1.0) >= sure


def exposure_needed(demand: Demand, beta: float, seen: Seen, *, rate: float, share: float) -> float | None:
    """More exposure of the canary until PASS, if both arms have `rate` events per exposure from here on; None: never.

    share: the canary's of all exposure.  beta: one minus the confidence.
    """
    return more_needed(lambda more: not seen.ahead(more, rate, share, demand).lacking(demand, beta))


@dataclass
class CountJudge:
    """The running evidence on one demand. alpha: of each way to fail.  beta: one minus the confidence of what PASS shows."""

    demand: Demand
    alpha: float
    beta: float
    canary: Arm = field(default_factory=Arm)
    control: Arm = field(default_factory=Arm)
    left_out: int = 0
    seconds: float = 0.0
    seen: Seen = field(init=False)
    _in_a_row: int = 0

    def __post_init__(self) -> None:
        self.seen = Seen.of(self.demand)

    def add(self, canary: Arm, control: Arm, seconds: float) -> bool:
        """Take in one round. False: the control itself burst, and the round is left out on both arms with its exposure."""
        self._in_a_row = self._in_a_row + 1 if self._bursts(control) else 0
        if 0 < self._in_a_row <= BURST_ROUNDS_MAX:
            self.left_out += 1
            return False
        self.seconds += seconds
        self.canary, self.control = _plus(self.canary, canary), _plus(self.control, control)
        self.seen.add(canary, control, self.demand)
        return True

    def _bursts(self, control: Arm) -> bool:
        """By the control's own past alone: to look at the canary here would bias the comparison. A band judges what comes in
        bursts by its nature.
        """
        usual = max(self.control.rate or 0.0, self.demand.reference)
        return not self.demand.band and is_burst(control.events, usual * control.exposure)

    def judge(self, name: str, *, note: str, outlook: bool) -> Evidence:
        """The ruling now. note: added to the words.  outlook: see measures.Measure."""
        ways = self.seen.failing(self.demand, self.beta)
        failing = [text for log_e, text in ways if log_e >= -math.log(self.alpha)]
        lacking = self.seen.lacking(self.demand, self.beta)
        ruling = Ruling.FAIL if failing else Ruling.INCONCLUSIVE if lacking else Ruling.PASS
        text = "; ".join((*(failing or lacking or ("shown to be within its limits",)), *((note,) if note else ())))
        needed = 0.0 if ruling is Ruling.PASS else None
        if outlook and ruling is Ruling.INCONCLUSIVE:
            needed = self._needed()
        return Evidence(
            name,
            ruling,
            text,
            canary=self.canary,
            control=self.control if self.control.exposure else None,
            rate=self._bounds(self.seen.rate, self.demand.reference) if outlook else None,
            ratio=self._bounds(self.seen.ratio, 1.0) if outlook and (self.demand.margin or self.demand.band) else None,
            e_value=math.exp(min(_LOG_MAX, max(log_e for log_e, _ in ways))) if ways else None,
            fails_at=1 / self.alpha,
            needed=needed,
            needed_s=needed * self.seconds / self.canary.exposure if needed else needed,
            left_out=self.left_out,
        )

    def _needed(self) -> float | None:
        exposure = self.canary.exposure + self.control.exposure
        if self.canary.exposure <= 0:
            return None
        rate, share = (self.canary.events + self.control.events) / exposure, self.canary.exposure / exposure
        return exposure_needed(self.demand, self.beta, self.seen, rate=rate, share=share)

    def _bounds(self, evidence: RatioEvidence, unit: float) -> Bounds:
        low, high = evidence.low(self.beta), evidence.high(self.beta)
        return Bounds(low * unit if low else None, None if math.isinf(high) else high * unit)


def _plus(a: Arm, b: Arm) -> Arm:
    return Arm(a.events + b.events, a.exposure + b.exposure)
