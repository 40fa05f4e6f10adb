"""What a unit is doing, in words that both service managers share; and how to say that one cannot be asked."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import SERVICE, AgentError

ACTIVE, INACTIVE, FAILED, CHANGING = "active", "inactive", "failed", "changing"
DOWN = frozenset({INACTIVE, FAILED})


@dataclass(frozen=True)
class UnitState:
    """state: active, inactive, failed or changing.  pid: of the main process, None when there is none."""

    state: str
    pid: int | None


def unit_error(unit: str, what: str) -> AgentError:
    """The manager could not do it."""
    return AgentError(SERVICE, f"{unit}: {what}", next=f"look at the unit {unit} on the host")
