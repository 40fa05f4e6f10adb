"""`status`: what every host is doing, the odd one first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from tradeops.base.errors import ExitCode, UsageError
from tradeops.cli.options import Watch, context
from tradeops.cli.report import NO, UNKNOWN, YES, Report, age, table

if TYPE_CHECKING:
    from tradeops.contracts.status import Status, Vitals

WATCH_S = 1.0
_COLUMNS = ("host", "state", "marks", "release", "orders", "working", "feed age", "seen")


def status(ctx: typer.Context, watch: Watch = False) -> Report:
    """What every host is doing: marks, state, release, orders, feed age. Exit 6 when a host does not answer."""
    c = context(ctx)
    if watch and c.options.as_json:
        raise UsageError("--watch never ends and --json is one document", next="leave one of them out")
    report = _look(ctx)
    while watch:
        c.printer.report(report)
        c.clock.sleep_s(WATCH_S)
        report = _look(ctx)
    return report


def _look(ctx: typer.Context) -> Report:
    import msgspec

    from tradeops.fleet.outcome import errors, values

    c = context(ctx)
    outcomes = c.controls.statuses(c.fleet.hosts, deadline_s=c.fleet.deadlines.control)
    seen, failed = values(outcomes), errors(outcomes)
    common = _most_common([_release(status) for status in seen.values()])
    order = sorted(seen, key=lambda name: (_release(seen[name]) == common, not seen[name].problems, seen[name].trading, name))
    rows: list[tuple[object, ...]] = [
        (f"{UNKNOWN} {name}", "no answer", error.what, None, None, None, None, None) for name, error in failed.items()
    ]
    rows += [_row(name, seen[name], _release(seen[name]) == common) for name in order]
    trading = sum(status.trading for status in seen.values())
    hosts = [{"host": name, "answered": False, "trading": None, "error": error.what} for name, error in failed.items()]
    hosts += [{"host": name, "answered": True, **msgspec.to_builtins(seen[name])} for name in order]
    return Report(
        "status",
        f"{trading} of {c.fleet.hosts_declared} hosts trade; {len(failed)} do not answer",
        ExitCode.MIXED if failed else ExitCode.PROVED,
        hosts=tuple(hosts),
        tables=(table(_COLUMNS, rows),),
        lines=tuple(f"{name}: {problem}" for name in order for problem in seen[name].problems),
        next="`tradeops doctor` says why a host does not answer" if failed else "",
    )


def _release(status: Status) -> str | None:
    return status.vitals.identity.release if status.vitals else None


def _most_common(releases: list[str | None]) -> str | None:
    return max(releases, key=releases.count) if releases else None


def _row(name: str, status: Status, same: bool) -> tuple[object, ...]:
    from tradeops.base.digest import short

    release = _release(status)
    vitals = status.vitals
    glyph = NO if status.problems or not same else YES if status.trading else "·"
    state = "trading" if status.trading else vitals.state if vitals else "no trader"
    return (
        f"{glyph} {name}",
        state,
        ", ".join(mark.kind for mark in status.marks) or None,
        short(release) if release else None,
        vitals.counters.get("orders_sent_total", 0) if vitals else None,
        status.working,
        _feed_age(vitals),
        age(status.vitals_age_ms / 1000) if status.vitals_age_ms is not None else None,
    )


def _feed_age(vitals: Vitals | None) -> str | None:
    ages = vitals.feed_age_ns.values() if vitals else ()
    return age(max(ages) / 1e9) if ages else None
