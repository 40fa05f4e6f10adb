"""`status`: what every host is doing, the odd one first and in what it differs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import typer

from tradeops.base.errors import ExitCode
from tradeops.cli.context import Context
from tradeops.cli.excluded import strike
from tradeops.cli.options import Watch, context
from tradeops.cli.report import NO, UNKNOWN, YES, Report, age, table

if TYPE_CHECKING:
    from tradeops.base.errors import TradeopsError
    from tradeops.contracts.status import Status, Vitals

RATE_S = 0.5
"""How far apart the two looks are from which a person is told orders per second."""
_RATE_LOOKS = 6
"""Over how many looks of a watch the rate is taken."""
_NOBODY: Mapping[str, str] = {}
_COLUMNS = ("host", "state", "marks", "release", "orders/s", "exposure", "working", "feed", "seen")
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def status(ctx: typer.Context, watch: Watch = False) -> Report:
    """What every host is doing: marks, state, release, orders, exposure, feed age. Exit 6 when a host does not answer or is excluded."""
    c = context(ctx)
    if watch:
        from tradeops.cli.watch import watch as keep_watching

        keep_watching(c, _Looks(c), sameness=lambda report: [(host["host"], host["trading"], host.get("marks")) for host in report.hosts])
    looks = _Looks(c)
    report = looks()
    if not c.options.as_json and looks.seen:
        c.clock.sleep_s(RATE_S)
        report = looks(again=True)
    return report


class _Looks:
    """One look after the other; what was seen before gives the rates. seen: the hosts that answered last."""

    def __init__(self, c: Context) -> None:
        self._c = c
        self._before: deque[dict[str, Status]] = deque(maxlen=_RATE_LOOKS)
        self.seen: dict[str, Status] = {}
        self._failed: dict[str, TradeopsError] = {}

    def __call__(self, *, again: bool = False) -> Report:
        """again: only those that answered are asked once more."""
        from tradeops.fleet.outcome import errors, values

        c = self._c
        excluded = strike(c)
        hosts = [host for host in c.fleet.hosts if not again or host.name in self.seen]
        outcomes = c.controls.statuses(hosts, deadline_s=c.fleet.deadlines.control)
        self.seen, failed = values(outcomes), errors(outcomes)
        self._failed = self._failed | failed if again else failed
        self._before.append(self.seen)
        return report_of(self.seen, self._failed, self._before[0], c.fleet.hosts_declared, excluded)


def report_of(
    seen: Mapping[str, Status],
    failed: Mapping[str, TradeopsError],
    before: Mapping[str, Status],
    declared: int,
    excluded: Mapping[str, str] = _NOBODY,
) -> Report:
    import msgspec

    from tradeops.cli.marks import held_lines

    odd = _differences(seen)
    order = sorted(seen, key=lambda name: (name not in odd, not seen[name].problems, seen[name].trading, name))
    silent: list[tuple[object, ...]] = [(f"{UNKNOWN} {name}", "no answer", *(None,) * 7) for name in failed]
    rows = silent + [_row(name, seen[name], before.get(name), name in odd) for name in order]
    trading = sum(status.trading for status in seen.values())
    hosts = [{"host": name, "answered": False, "trading": None, "error": error.what} for name, error in failed.items()]
    hosts += [{"host": name, "answered": True, "differs": odd.get(name, ""), **msgspec.to_builtins(seen[name])} for name in order]
    return Report(
        "status",
        f"{trading} of {declared} hosts trade; {len(failed)} do not answer",
        ExitCode.MIXED if failed or excluded else ExitCode.PROVED,
        hosts=tuple(hosts),
        lead=(
            *(f"{NO} {name} is excluded {words}" for name, words in excluded.items()),
            *(f"{UNKNOWN} {name} does not answer: {error.what}" for name, error in failed.items()),
            *(f"{NO} {name} differs: {odd[name]}" for name in order if name in odd),
        ),
        tables=(table(_COLUMNS, rows),),
        lines=(
            *(f"{name}: {problem}" for name in order for problem in seen[name].problems),
            *_standby_lines({name: seen[name] for name in order}),
            *held_lines({name: seen[name] for name in order}),
        ),
        next="`tradeops doctor` says why a host does not answer" if failed else "`tradeops verify`" if excluded or odd else "",
        data={"excluded": dict(excluded)},
    )


def _standby_lines(seen: Mapping[str, Status]) -> list[str]:
    """What stands by beside what trades, hosts of which the same is to be said together."""
    from tradeops.cli.marks import named
    from tradeops.contracts.metrics import Counter

    found: dict[str, list[str]] = {}
    apart = dict.fromkeys((Counter.DECISIONS_DIFFERENT, Counter.DECISIONS_COMPARED), 0)
    for name, status in seen.items():
        if beside := status.standby:
            found.setdefault(f"slot {beside.identity.slot} stands by with release {_short(beside.identity.release)}", []).append(name)
            apart = {counter: count + beside.counters.get(counter, 0) for counter, count in apart.items()}
    lines = [f"{named(names)}: {words}" for words, names in found.items()]
    different, compared = apart.values()
    return [*lines, f"decisions of standbys: {different:,} of {compared:,} different from what trades"] if compared else lines


_FACTS: dict[str, Callable[[Status], object]] = {
    "release": lambda status: _short(status.vitals.identity.release) if status.vitals else "no trader",
    "overlay": lambda status: status.vitals.identity.overlay if status.vitals else status.overlay_number,
    "platform": lambda status: _short(status.platform),
    "policy": lambda status: status.policy_number,
    "roster": lambda status: status.roster_number,
    "trading": lambda status: "yes" if status.trading else "no",
}
"""What all hosts of a fleet have alike."""


def _differences(seen: Mapping[str, Status]) -> dict[str, str]:
    """The hosts that are unlike most others, and in what."""
    found: dict[str, list[str]] = {}
    for name, fact in _FACTS.items():
        values = [fact(status) for status in seen.values()]
        for host, value in zip(seen, values, strict=True):
            usual = max(values, key=values.count)
            if values.count(value) < values.count(usual):
                found.setdefault(host, []).append(f"{name} {value}, {values.count(usual)} others {usual}")
    return {host: "; ".join(words) for host, words in found.items()}


def _short(digest: str) -> str:
    from tradeops.base.digest import short

    return short(digest) or "none"


def _row(name: str, status: Status, before: Status | None, odd: bool) -> tuple[object, ...]:
    vitals = status.vitals
    glyph = NO if status.problems or odd else YES if status.trading else "·"
    return (
        f"{glyph} {name}",
        "trading" if status.trading else vitals.state if vitals else "no trader",
        ", ".join(mark.kind for mark in status.marks) or None,
        _short(vitals.identity.release) if vitals else None,
        _rate(vitals, before.vitals if before else None),
        _exposure(vitals) if vitals else None,
        status.working,
        _feed_age(vitals),
        age(status.vitals_age_ms / 1000) if status.vitals_age_ms is not None else None,
    )


def _rate(now: Vitals | None, before: Vitals | None) -> str | None:
    """Orders sent per second between two looks at the same process."""
    from tradeops.base.clock import NS_PER_S
    from tradeops.contracts.metrics import Counter

    if now is None or before is None or now.identity != before.identity or now.beat_ns <= before.beat_ns:
        return None
    sent = now.counters.get(Counter.ORDERS_SENT, 0) - before.counters.get(Counter.ORDERS_SENT, 0)
    return f"{sent * NS_PER_S / (now.beat_ns - before.beat_ns):.1f}"


def _exposure(vitals: Vitals) -> str | None:
    """Gross notional beside its limit."""
    from tradeops.contracts.metrics import Gauge
    from tradeops.contracts.units import UNIT

    value, limit = vitals.gauges.get(Gauge.GROSS_NOTIONAL), vitals.limits.get(Gauge.GROSS_NOTIONAL)
    if value is None:
        return None
    return f"{_brief(value)}/{_brief(limit / UNIT) if limit else '?'}"


def _brief(amount: float) -> str:
    """In at most five signs."""
    for size, unit in _UNITS:
        if abs(amount) >= size:
            return f"{amount / size:.3g}{unit}"
    return f"{amount:.3g}"


def _feed_age(vitals: Vitals | None) -> str | None:
    ages = vitals.feed_age_ns.values() if vitals else ()
    return age(max(ages) / 1e9) if ages else None
