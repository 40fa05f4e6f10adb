"""The flags this code knows, by their written meaning, and why a trader with other flags must not trade (D05). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tradeops.contracts.binding import Overlay
from tradeops.contracts.flags import meaning_digest
from tradeops.contracts.manifest import Flag

LEAN_TO_MEAN: Final = "lean-to-mean"

KNOWN: Final[Mapping[str, str]] = {
    LEAN_TO_MEAN: "The quoter's fair price is pulled from the mid towards the decaying mean of the mids, by reversion_ppm.",
}
"""Flag id -> its meaning, word for word as the release's definition writes it."""


def problems(
    declared: Iterable[Flag], used: Iterable[str], overlay: Overlay | None, *, known: Mapping[str, str] = KNOWN
) -> tuple[str, ...]:
    """Why a trader with these flags must start halted; empty when there is no reason. used: by the configuration."""
    declared = tuple(declared)
    found = [problem for flag in declared if (problem := _problem(flag, overlay, known))]
    ids = {flag.id for flag in declared}
    found += [f"flag {name} is used by the configuration and not declared by the release" for name in sorted(set(used) - ids)]
    return tuple(found)


def _problem(flag: Flag, overlay: Overlay | None, known: Mapping[str, str]) -> str:
    if overlay is not None and flag.id in overlay.flags_retired:
        return f"flag {flag.id} is a tombstone"
    if flag.id not in known:
        return f"flag {flag.id} is unknown to this code"
    if flag.meaning != meaning_digest(known[flag.id]):
        return f"flag {flag.id} means something else to this code"
    newest = overlay.number if overlay else 0
    if flag.ends > newest:
        return f"flag {flag.id} ends overlay {flag.ends}, and {newest} is the newest here"
    return ""
