"""What should run on each host: what the newest run that ended well proved there. Derived from the journals, kept nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from tradeops.base.digest import digest_bytes
from tradeops.base.errors import ExitCode
from tradeops.checks.proof import Expected
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.flags import active_flags
from tradeops.contracts.manifest import Release
from tradeops.deploy.journal import SETBACK, WARM, Journal, came_to, ends_of, list_runs
from tradeops.deploy.plan import Plan
from tradeops.deploy.site import Releases

SETTLED = (ExitCode.PROVED, ExitCode.BROUGHT_BACK, ExitCode.ROLLED_BACK)
"""Ends with which the whole fleet is proved on one release or the other."""


def settled_runs(runs: Path, *, back: bool = False) -> Iterator[tuple[Journal, dict[str, str]]]:
    """Runs that ended with the whole fleet proved, newest first, each with what every host was proved to run. back: see `ends_of`."""
    for journal, end in ends_of(runs, back=back):
        if end and came_to(end) in SETTLED:
            yield journal, {host: release for host, release in end.detail.get("proved", {}).items() if release}


def open_runs(runs: Path, *, back: bool = False) -> Iterator[Journal]:
    """Runs since the last one that ended well, newest first: each may still be taken up, forward or back. back: see `ends_of`."""
    return (journal for journal, _ in takewhile(lambda each: came_to(each[1]) not in SETTLED, ends_of(runs, back=back)))


def asked(runs: Path) -> dict[str, str]:
    """Host name -> release that should run there; empty before the first run that ended well."""
    placed = _placed(runs)
    return placed.releases if placed else {}


@dataclass(frozen=True)
class _Placed:
    """What should trade, host by host: which release, in which slot; and the hosts that the run left out."""

    releases: dict[str, str]
    slots: dict[str, str]
    excluded: tuple[str, ...]


def _placed(runs: Path) -> _Placed | None:
    """By the newest run that ended well; or by one that has cut every host over and keeps the old slots warm: its slots have the
    token. None before the first of them.
    """
    if warm := _warm(runs):
        plan = warm.plan()
        return _Placed(dict.fromkeys((part.host for part in plan.hosts), plan.release), _slots(plan), plan.excluded)
    for journal, proved in settled_runs(runs):
        if proved:
            plan = journal.plan()
            return _Placed(proved, _slots(plan) | journal.slots(), plan.excluded)
    return None


def _slots(plan: Plan) -> dict[str, str]:
    return {part.host: part.slot for part in plan.hosts}


def expected_hosts(
    runs: Path, releases: Releases, bindings: Mapping[str, Envelope], *, overlay: int, flags_off: Mapping[str, int]
) -> dict[str, Expected]:
    """What `verify` holds each host against; one that the run left out should run what the others do."""
    placed = _placed(runs)
    if placed is None:
        return {}
    most, usual = _usual(placed.releases), _usual(placed.slots)
    return {
        host: _expected(releases.manifest(release).predicate, release, bindings[host], overlay, flags_off, placed.slots.get(host, usual))
        for host, release in {**dict.fromkeys(placed.excluded, most), **placed.releases}.items()
        if host in bindings
    }


def _usual(found: Mapping[str, str]) -> str:
    return max(found.values(), key=list(found.values()).count)


def _expected(predicate: Release, release: str, binding: Envelope, overlay: int, flags_off: Mapping[str, int], slot: str) -> Expected:
    kept = predicate.start.kept
    return Expected(
        release=release,
        binding=digest_bytes(binding.body()),
        overlay=None if kept else overlay,
        slot=slot,
        flags=None if kept else active_flags(predicate.flags, flags_off),
    )


def warm_run(runs: Path, release: str | None = None) -> Journal | None:
    """The newest run, when it stands between its last cutover and its end: the slots that it took over from stand by, warm.

    release: what they must run [one release, whichever].
    """
    newest = _warm(runs)
    olds = {part.old for part in newest.plan().hosts} if newest else set()
    return newest if len(olds) == 1 and release in (None, *olds) else None


def _warm(runs: Path) -> Journal | None:
    newest = next(iter(reversed(list_runs(runs))), None)
    if newest is None or newest.end() is not None:
        return None
    phases = {entry.phase for entry in newest.entries()}
    return newest if WARM in phases and SETBACK not in phases else None
