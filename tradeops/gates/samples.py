"""What one host said at one time: its release, its process, and the numbers a gate asks for; whole, or not at all."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tradeops.base.errors import Inconclusive
from tradeops.contracts.metrics import IDENTITY_LABELS
from tradeops.gates.spec import GateSpec

_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?[ \t]+(\S+)[ \t]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPE = re.compile(r"\\(.)")
_BUCKET = "_bucket"
_EDGE = "le"


class BadSample(Inconclusive):
    """What a host says cannot be judged: a series is missing, twice, not a number, or another host's."""


class NotExported(BadSample):
    """What a host exports has not all that the gate asks for; another reading would not bring it."""


@dataclass(frozen=True)
class Row:
    """One series of one host with its value."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Buckets:
    """A histogram. upper: inclusive upper edges, the last one infinite.  counts: observations up to each edge, all below included."""

    upper: tuple[float, ...]
    counts: tuple[float, ...]

    @property
    def total(self) -> float:
        """All observations."""
        return self.counts[-1]

    def edge(self, limit: float) -> float:
        """The smallest edge not under `limit`: what a limit is rounded up to. Infinite when the histogram does not reach so far."""
        return self.upper[bisect_left(self.upper, limit)]

    def over(self, edge: float) -> float:
        """Observations over `edge`, which is one of the edges."""
        return self.total - self.counts[self.upper.index(edge)]

    def quantile_edge(self, quantile: float) -> float:
        """The edge under which at least `quantile` of the observations lie."""
        return self.upper[bisect_left(self.counts, quantile * self.total)]

    def combine(self, other: Buckets, sign: int) -> Buckets:
        """Both together (sign 1), or what this one has more than `other` (sign -1). Raises BadSample when the edges differ."""
        if self.upper != other.upper:
            raise BadSample("its histograms have other bucket edges than those beside them")
        return Buckets(self.upper, tuple(a + sign * b for a, b in zip(self.counts, other.counts, strict=True)))


@dataclass(frozen=True)
class Sample:
    """One host at one time. started_s: its process's start, by its own clock.  taken_s: when the sample was taken, by the
    clock of whoever took it, which is compared with itself alone.  age_s: how old it was when it was read.  values:
    counters and gauges by name.
    """

    host: str
    release: str
    started_s: float
    taken_s: float
    age_s: float
    values: Mapping[str, float]
    histograms: Mapping[str, Buckets]


def parse_text(text: str, names: frozenset[str]) -> list[Row]:
    """The rows called `names` in a Prometheus text exposition. Raises BadSample.

    Source: Prometheus documentation, "Exposition formats", text format 0.0.4. A row with a timestamp is refused: a guard
    gives none, and its age could not be told.
    """
    rows = []
    for at, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#") or line.isspace():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise BadSample(f"line {at} of its metrics is not a sample: {line[:80]!r}")
        if match[1] in names:
            rows.append(Row(match[1], _labels(match[2] or "", at), number(match[3], match[1])))
    return rows


def _labels(text: str, line: int) -> dict[str, str]:
    labels: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _LABEL.match(text, at)
        if match is None or match[1] in labels:
            raise BadSample(f"line {line} of its metrics has labels that cannot be read: {text[:80]!r}")
        labels[match[1]] = _ESCAPE.sub(lambda escape: {"n": "\n"}.get(escape[1], escape[1]), match[2])
        at = match.end()
    return labels


def number(text: str, name: str) -> float:
    """`text` as the value of `name`. Raises BadSample."""
    try:
        return float(text)
    except ValueError:
        raise BadSample(f"{name} is not a number: {text[:40]!r}") from None


def row_names(spec: GateSpec) -> frozenset[str]:
    """The names of the rows that a gate asks for, as exported."""
    names = spec.counters() | spec.gauges() | {name + _BUCKET for name in spec.histograms()}
    return names | {spec.active} if spec.active else names


def assemble(
    host: str, rows: Iterable[Row], spec: GateSpec, *, taken_s: float, age_s: float, labels: tuple[str, str] = IDENTITY_LABELS[:2]
) -> Sample:
    """One host's rows as a sample; series that differ in further labels are added up. Raises BadSample.

    age_s: how old the rows are; the age that the host itself gives is added.  labels: those that name host and release.
    """
    wanted = [row for row in rows if row.name in row_names(spec)]
    if not wanted:
        raise NotExported("it exports none of the series that the gate asks for")
    _all_finite(wanted)
    _once_each(wanted)
    if other := {name for row in wanted if (name := row.labels.get(labels[0], "")) != host}:
        raise BadSample(f"its series are those of another host: {', '.join(map(repr, sorted(other)))}")
    release, own = _in_force(wanted, labels[1], spec)
    values = _sums(row for row in own if row.name in spec.counters() | spec.gauges())
    histograms = {name: _buckets(name, [row for row in own if row.name == name + _BUCKET]) for name in sorted(spec.histograms())}
    if missing := (spec.counters() | spec.gauges()) - values.keys():
        raise NotExported(f"it does not export {', '.join(sorted(missing))}")
    said_age_s = values[spec.age] if spec.age else 0.0
    return Sample(host, release, values[spec.start], taken_s - said_age_s, age_s + said_age_s, values, histograms)


def _all_finite(rows: Sequence[Row]) -> None:
    for row in rows:
        if not math.isfinite(row.value):
            raise BadSample(f"{row.name} is {row.value}")


def _once_each(rows: Sequence[Row]) -> None:
    seen: set[tuple[str, frozenset[tuple[str, str]]]] = set()
    for row in rows:
        key = (row.name, frozenset(row.labels.items()))
        if key in seen:
            raise BadSample(f"{row.name} is there twice with the same labels")
        seen.add(key)


def _in_force(rows: Sequence[Row], label: str, spec: GateSpec) -> tuple[str, list[Row]]:
    """The release and the rows of the slot that is judged: the one in force, or the standby beside it."""
    slots: dict[str, list[Row]] = {}
    for row in rows:
        slots.setdefault(row.labels.get(IDENTITY_LABELS[2], ""), []).append(row)
    chosen = list(slots) if len(slots) == 1 else [slot for slot, own in slots.items() if _says_active(own, spec)]
    if len(chosen) != 1:
        raise BadSample("it exports more than one slot, and not one of them alone says that it is in force")
    if spec.slot == "standby":
        chosen = [slot for slot in slots if slot not in chosen]
        if len(chosen) != 1:
            raise BadSample("it exports no standby beside the slot in force")
    own = slots[chosen[0]]
    releases = {row.labels.get(label, "") for row in own}
    if len(releases) > 1:
        raise BadSample(f"it exports series of {len(releases)} releases at once")
    (release,) = releases
    if not release:
        raise BadSample("its series do not say which release they are of")
    return release, own


def _says_active(rows: Iterable[Row], spec: GateSpec) -> bool:
    return any(row.name == spec.active and row.value == 1 for row in rows)


def _sums(rows: Iterable[Row]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for row in rows:
        sums[row.name] = sums.get(row.name, 0.0) + row.value
    return sums


def _buckets(name: str, rows: Sequence[Row]) -> Buckets:
    counts: dict[float, float] = {}
    for row in rows:
        edge = number(row.labels.get(_EDGE, ""), f"an edge of {name}")
        counts[edge] = counts.get(edge, 0.0) + row.value
    upper = tuple(sorted(counts))
    if not upper or upper[-1] != math.inf:
        raise NotExported(f"it does not export the histogram {name} whole")
    buckets = Buckets(upper, tuple(counts[edge] for edge in upper))
    if list(buckets.counts) != sorted(buckets.counts):
        raise BadSample(f"the buckets of the histogram {name} do not add up")
    return buckets
