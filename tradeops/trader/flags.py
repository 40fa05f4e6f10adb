"""The flags this code knows, by their written meaning; and ids that were retired and mean nothing for ever (D05). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tradeops.base.digest import digest_bytes
from tradeops.contracts.manifest import Flag

LEAN_TO_MEAN: Final = "lean-to-mean"

KNOWN: Final[Mapping[str, str]] = {
    LEAN_TO_MEAN: "The quoter's fair price is pulled from the mid towards the decaying mean of the mids, by reversion_ppm.",
}
"""Flag id -> its meaning, word for word as the release's definition writes it."""

RETIRED: Final[frozenset[str]] = frozenset()
"""Tombstones: ids that once meant something. Never to be known again."""


def meaning_digest(meaning: str) -> str:
    """The digest of a written meaning; line breaks and indentation are not part of it."""
    return digest_bytes(" ".join(meaning.split()).encode())


def problems(
    declared: Iterable[Flag], used: Iterable[str], *, known: Mapping[str, str] = KNOWN, retired: frozenset[str] = RETIRED
) -> tuple[str, ...]:
    """Why a trader with these flags must start halted; empty when there is no reason."""
    found: list[str] = []
    declared = tuple(declared)
    for flag in declared:
        if flag.id in retired:
            found.append(f"flag {flag.id} is a tombstone")
        elif flag.id not in known:
            found.append(f"flag {flag.id} is unknown to this code")
        elif flag.meaning != meaning_digest(known[flag.id]):
            found.append(f"flag {flag.id} means something else to this code")
    ids = {flag.id for flag in declared}
    found += [f"flag {name} is used by the configuration and not declared by the release" for name in sorted(set(used) - ids)]
    return tuple(found)


def active(declared: Iterable[Flag], off: Iterable[str]) -> dict[str, str]:
    """Flags in force, id -> digest of the meaning: turned on by the release and not off by an overlay."""
    turned_off = frozenset(off)
    return {flag.id: flag.meaning for flag in declared if flag.on and flag.id not in turned_off}
