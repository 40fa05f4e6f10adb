"""Who is compared with whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tradeops.base.errors import UsageError


@dataclass(frozen=True)
class Arms:
    """The hosts of a gate and the release that each must run. control: on the old release, or, where nobody is left on it, on the
    same one for longer; empty where all hosts are new at once.
    """

    canary: Mapping[str, str]
    control: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.canary:
            raise UsageError("a gate needs at least one canary host")
        if both := self.canary.keys() & self.control.keys():
            raise UsageError(f"canary and control at once: {', '.join(sorted(both))}")

    @property
    def peers(self) -> bool:
        """Whether the control group runs what the canary runs."""
        return bool(self.control) and set(self.control.values()) <= set(self.canary.values())

    @property
    def releases(self) -> dict[str, str]:
        """Host -> release, of both arms."""
        return {**self.canary, **self.control}
