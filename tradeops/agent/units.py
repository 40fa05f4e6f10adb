"""What a unit is doing, in words that both service managers share; and how to say that one cannot be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .errors import SERVICE, AgentError

ACTIVE, INACTIVE, FAILED, CHANGING = "active", "inactive", "failed", "changing"
DOWN = frozenset({INACTIVE, FAILED})


@dataclass(frozen=True)
class UnitState:
    """state: active, inactive, failed or changing.  pid: of the main process, None when there is none."""

    state: str
    pid: int | None


class Manager(Protocol):
    """systemd or supervisord. Every method raises AgentError (service)."""

    def states(self, *units: str) -> dict[str, UnitState]:
        """What each unit is doing now."""

    def start(self, unit: str) -> None:
        """Ask for it to run; `states` tells whether it does."""

    def stop(self, unit: str) -> None:
        """Ask it to end; `states` tells whether it has."""

    def kill(self, unit: str) -> None:
        """SIGKILL to every process of the unit. None there is fine."""

    def restart(self, unit: str) -> None:
        """End it and start it again."""


def unit_error(unit: str, what: str) -> AgentError:
    """The manager could not do it."""
    return AgentError(SERVICE, f"{unit}: {what}", next=f"look at the unit {unit} on the host")
