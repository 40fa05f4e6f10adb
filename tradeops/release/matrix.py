"""Which releases know which flag, with which meaning, and where it is in force; and which flags have had their day. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tradeops.base.clock import NS_PER_S
from tradeops.contracts.binding import Overlay
from tradeops.contracts.flags import active_flags
from tradeops.contracts.manifest import Flag, Release
from tradeops.release.ledger import LedgerFlag

STALE_NS = 90 * 24 * 3600 * NS_PER_S
"""A flag declared longer ago than this that is on everywhere, or nowhere, is to be made plain code (ours: one quarter)."""


class Known(StrEnum):
    """What a release makes of a flag."""

    ON = "on"
    OFF = "off"
    ANOTHER = "another meaning"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class FlagRow:
    """One id. declared None: it stands in releases and not in the ledger.  releases: id -> what that one makes of it.

    active_on: hosts that say it is in force; None: no host was asked.  off_by: number of the overlay that turned it off
    last, 0 for none.  stale: why it is to be removed, empty when it is not.
    """

    id: str
    declared: LedgerFlag | None
    releases: Mapping[str, Known]
    active_on: tuple[str, ...] | None
    off_by: int
    stale: str

    @property
    def state(self) -> str:
        """In one word."""
        if self.declared is None:
            return "undeclared"
        return "tombstone" if self.declared.retired_ns is not None else "declared"


def matrix(
    ledger: Mapping[str, LedgerFlag],
    releases: Sequence[tuple[str, Release]],
    overlay: Overlay | None,
    active: Mapping[str, Iterable[str]] | None,
    *,
    now_ns: int,
) -> tuple[FlagRow, ...]:
    """A row per id of the ledger and of `releases` (id, predicate; the newest first). active: host -> flags in force there."""
    carried = {flag.id for _, release in releases for flag in release.flags}
    return tuple(_row(name, ledger.get(name), releases, overlay, active, now_ns) for name in sorted(ledger.keys() | carried))


def _row(
    name: str,
    declared: LedgerFlag | None,
    releases: Sequence[tuple[str, Release]],
    overlay: Overlay | None,
    active: Mapping[str, Iterable[str]] | None,
    now_ns: int,
) -> FlagRow:
    off = overlay.flags_off if overlay else {}
    meaning = declared.digest if declared else None
    known = {one: _known(release, name, meaning, off) for one, release in releases}
    on = None if active is None else tuple(sorted(host for host, flags in active.items() if name in flags))
    stale = _stale(declared, known, on, len(active or ()), now_ns)
    return FlagRow(name, declared, known, on, off.get(name, 0), stale)


def _known(release: Release, name: str, meaning: str | None, off: Mapping[str, int]) -> Known:
    flag: Flag | None = next((flag for flag in release.flags if flag.id == name), None)
    if flag is None:
        return Known.UNKNOWN
    if meaning is not None and flag.meaning != meaning:
        return Known.ANOTHER
    return Known.ON if active_flags((flag,), off) else Known.OFF


def _stale(declared: LedgerFlag | None, known: Mapping[str, Known], on: tuple[str, ...] | None, hosts: int, now_ns: int) -> str:
    if declared is None or declared.retired_ns is not None or now_ns - declared.declared_ns < STALE_NS or not known:
        return ""
    newest = next(iter(known.values()))
    if newest is Known.ON and (on is None or len(on) == hosts):
        return "on everywhere for long: make it plain code, then retire it"
    if all(state is Known.UNKNOWN for state in known.values()):
        return "in no release: retire it"
    if newest is Known.OFF and not on and Known.ON not in known.values():
        return "never on: take it out, then retire it"
    return ""
