"""Would another release give a live flag another meaning? Pure decisions for the rollback guard (D13)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tradeops.base.digest import short
from tradeops.contracts.manifest import Release


@dataclass(frozen=True)
class Conflict:
    """An active flag that the target release does not mean the same by. target: its meaning's digest; None: unknown to it."""

    flag: str
    active: str
    target: str | None

    def __str__(self) -> str:
        if self.target is None:
            return f"{self.flag} is active and unknown to the target"
        return f"{self.flag} is active and means something else to the target ({short(self.active)} here, {short(self.target)} there)"


def conflicts(active: Mapping[str, str], target: Release) -> tuple[Conflict, ...]:
    """The active flags (id -> digest of the meaning in force) that stand in the way of going to `target`.

    A flag that the target has never heard of stands in the way as well: what sends it still sends it.
    """
    meanings = {flag.id: flag.meaning for flag in target.flags}
    return tuple(Conflict(flag, meaning, meanings.get(flag)) for flag, meaning in sorted(active.items()) if meanings.get(flag) != meaning)


def tombstones(target: Release, retired: Collection[str]) -> tuple[str, ...]:
    """The retired flags that `target` carries, on or off, whatever it means by them: a trader with one of them starts halted (D05)."""
    return tuple(sorted(flag.id for flag in target.flags if flag.id in retired))


def journal_conflict(running: Release, target: Release) -> str | None:
    """Why `target` cannot take over the journal that `running` wrote; None when it can."""
    if running.journal_writes is None or running.journal_writes in target.journal_reads:
        return None
    reads = ", ".join(map(str, target.journal_reads)) or "none"
    return f"the journal is of version {running.journal_writes}; the target reads {reads}"
