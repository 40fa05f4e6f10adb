"""What an act on one host came to: done, failed, or unknown. Unknown is never success."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from tradeops.base.errors import OutcomeUnknown, TradeopsError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Done(Generic[T_co]):
    """The host answered and did it."""

    value: T_co
    elapsed_ms: float = 0.0


@dataclass(frozen=True)
class Failed:
    """The host answered no, or was never reached: nothing was done there."""

    error: TradeopsError
    elapsed_ms: float = 0.0


@dataclass(frozen=True)
class Unknown:
    """The act was sent and no answer came: read back before anything else."""

    error: OutcomeUnknown
    elapsed_ms: float = 0.0


Outcome = Done[T] | Failed | Unknown


def values(outcomes: Mapping[str, Outcome[T]]) -> dict[str, T]:
    """The values of the hosts that did it."""
    return {name: outcome.value for name, outcome in outcomes.items() if isinstance(outcome, Done)}


def errors(outcomes: Mapping[str, Outcome[T]]) -> dict[str, TradeopsError]:
    """The errors of the hosts that did not, or may not have."""
    return {name: outcome.error for name, outcome in outcomes.items() if not isinstance(outcome, Done)}
