"""A host's share of the traffic as one proxy tells it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What a host is given: everything; what is open already; nothing, by a person's hand."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


@dataclass(frozen=True)
class Share:
    """weight: now.  full: what the proxy's own configuration gives the host.  up: whether the proxy finds it well.

    sessions: connections that are open or wait for it.
    """

    proxy: str
    host: str
    mode: Mode
    weight: int
    full: int
    up: bool
    sessions: int

    @property
    def percent(self) -> int:
        """The weight as a share of the configured one."""
        return 100 * self.weight // self.full if self.full else 0


def weight_of(full: int, percent: int) -> int:
    """What `percent` of a configured weight comes to. Raises ValueError when that is nothing: it would be a drain."""
    weight = full * percent // 100
    if not 1 <= percent <= 100 or weight == 0:
        raise ValueError(f"{percent} % of its configured weight {full} is no weight")
    return weight
