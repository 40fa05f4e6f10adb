"""What a gate hands to whoever polls it, draws it or keeps it: verdicts with their numbers, as plain data."""

from __future__ import annotations

from enum import StrEnum

import msgspec

TRACE_SCHEMA = "tradeops/gate-trace/v1"


class Ruling(StrEnum):
    """pass, fail, inconclusive; not judged: the metric has nothing to be compared with, and says so."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_JUDGED = "not judged"


class Cause(StrEnum):
    """Why a gate failed. data: what could not be judged stayed so.  restart: a canary's process did not stay up.  guard: a canary's guard
    halted it.
    """

    NONE = ""
    METRIC = "metric"
    DATA = "data"
    RESTART = "restart"
    GUARD = "guard"


class Bounds(msgspec.Struct, frozen=True):
    """Ends of a confidence sequence, valid at any time, each by itself. None: no end yet."""

    low: float | None = None
    high: float | None = None


class Arm(msgspec.Struct, frozen=True):
    """Events and exposure of one arm so far."""

    events: float = 0.0
    exposure: float = 0.0

    @property
    def rate(self) -> float | None:
        """Events per exposure."""
        return self.events / self.exposure if self.exposure > 0 else None


class Evidence(msgspec.Struct, frozen=True):
    """One metric. text: the ruling in words.  e_value: the strongest against the canary; it fails at `fails_at`.

    rate: bounds of the canary's rate.  ratio: of its ratio to the control's.  needed: exposure of the canary that is
    still needed for PASS if it does no worse than the control; None: cannot be told.  needed_s: at the current rate.
    left_out: rounds in which the control itself burst, left out on both arms.  Counts alone have numbers.
    """

    name: str
    ruling: Ruling
    text: str
    canary: Arm | None = None
    control: Arm | None = None
    rate: Bounds | None = None
    ratio: Bounds | None = None
    e_value: float | None = None
    fails_at: float | None = None
    needed: float | None = None
    needed_s: float | None = None
    left_out: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """The gate now. final: waiting changes nothing any more; PASS and FAIL always are.  why: in words, the weightiest first.

    elapsed_s: since the gate began.  baked_s: of it, time with whole data.  bake_s: how much of that is asked for.
    exposure: of the canary, of exposure_min.  problems: host -> why its data cannot be judged now.  needed_s: until a verdict
    at the current rate, if the canary is no worse; None: cannot be told.  compared: with whom.
    """

    ruling: Ruling
    final: bool
    cause: Cause
    why: tuple[str, ...]
    compared: str
    elapsed_s: float
    baked_s: float
    bake_s: float
    exposure: float
    exposure_min: int
    needed_s: float | None
    metrics: tuple[Evidence, ...]
    problems: dict[str, str]
    rounds: int


Line = tuple[float | None, float | None]
"""Rates or levels of canary and control in one round."""


class Point(msgspec.Struct, frozen=True):
    """One metric in one round, for a line: rates or levels of both arms, and the e-value after it."""

    at_s: float
    canary: float | None
    control: float | None
    e_value: float | None = None


class Trace(msgspec.Struct, frozen=True):
    """How a gate came to its verdict: kept with the run, drawn by report.py."""

    schema: str
    title: str
    verdict: Verdict
    points: dict[str, tuple[Point, ...]]
