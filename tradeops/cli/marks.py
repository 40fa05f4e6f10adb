"""Why hosts do not trade, in words, and what ends it: hosts with the same marks are told together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tradeops.contracts.status import Mark, Status

_NAMES_MAX = 8


def held_lines(statuses: Mapping[str, Status]) -> tuple[str, ...]:
    """A line for each set of marks that stands: the hosts, the marks with who set them and why, and what to do next."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, status in statuses.items():
        if status.marks:
            groups.setdefault(tuple(_said(mark) for mark in status.marks), []).append(name)
    return tuple(f"{named(names)}: {'; '.join(said)}; {_next(statuses[names[0]].marks, names)}" for said, names in groups.items())


def named(hosts: Sequence[str]) -> str:
    """Hosts by name, while there are few."""
    return " ".join(hosts) if len(hosts) <= _NAMES_MAX else f"{len(hosts)} hosts"


def _said(mark: Mark) -> str:
    of = f" of {_scope(mark)}" if not mark.scope.everything() else ""
    return f"{mark.kind}{of} by {mark.by}: {mark.reason}"


def _scope(mark: Mark) -> str:
    return ", ".join((*mark.scope.venues, *mark.scope.symbols, *mark.scope.strategies))


def _next(marks: Sequence[Mark], hosts: Sequence[str]) -> str:
    """Who and what ends these marks."""
    chosen = " ".join(f"--host {host}" for host in hosts) if len(hosts) <= _NAMES_MAX else "--all, or --host for each"
    kinds = {str(mark.kind) for mark in marks}
    runs = sorted({mark.run for mark in marks if mark.run and mark.kind in ("halt", "hold")})
    ways = []
    if kinds & {"kill", "unarmed"}:
        ways.append(f"two people: `tradeops permit {chosen} --cause TEXT`")
    if runs:
        ways.append(f"the run ends it: `tradeops runs show {runs[0]}`; if it is dead: `tradeops runs abort {runs[0]}`")
    elif kinds & {"halt", "hold"}:
        ways.append(f"one person: `tradeops resume {chosen} --reason TEXT`")
    if "standby" in kinds:
        ways.append("activation of its slot ends standby")
    return "next: " + "; then ".join(ways)
