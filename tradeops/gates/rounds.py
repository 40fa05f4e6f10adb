"""From readings to rounds: is this data that can be judged, and what happened on both arms between two good readings.

A round closes when every host has a newer good sample than at the last close. A bad reading closes nothing; as counters only
rise, the next good one covers the gap, so nothing is judged twice or lost. A restart, and the warm-up after it, are left out
on both arms alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tradeops.fleet.outcome import Done, Outcome
from tradeops.gates.arms import Arms
from tradeops.gates.samples import BadSample, Buckets, Sample
from tradeops.gates.spec import GateSpec


@dataclass(frozen=True)
class Delta:
    """What one arm counted in a round, summed over its hosts."""

    values: Mapping[str, float]
    histograms: Mapping[str, Buckets]


@dataclass(frozen=True)
class Round:
    """The time from start_s to end_s on both arms. control: None without a control group."""

    start_s: float
    end_s: float
    canary: Delta
    control: Delta | None


@dataclass(frozen=True)
class Reading:
    """What one reading of all hosts came to. problems: host -> why it cannot be judged; with any, `closed` is None.

    good: the samples that can be.  warming: a process is in its warm-up.
    """

    problems: Mapping[str, str]
    good: Mapping[str, Sample]
    warming: bool = False
    closed: Round | None = None


@dataclass
class _Seen:
    """The newest good sample of a host. first_s: when it was first seen; process_s: when its process was."""

    sample: Sample
    first_s: float
    process_s: float


@dataclass
class Intake:
    """Takes in reading after reading. now_s: one monotonic clock of the caller.  restarts: of each host since the first reading."""

    spec: GateSpec
    arms: Arms
    restarts: dict[str, int] = field(default_factory=dict)
    _seen: dict[str, _Seen] = field(default_factory=dict)
    _base: dict[str, Sample] = field(default_factory=dict)
    _base_s: float = 0.0
    _counters: tuple[str, ...] = field(init=False)
    _releases: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._counters = tuple(sorted(self.spec.counters()))
        self._releases = self.arms.releases

    def feed(self, outcomes: Mapping[str, Outcome[Sample]], now_s: float) -> Reading:
        """Judge the data, and close a round if it can be."""
        problems = dict.fromkeys(sorted(outcomes.keys() - self._releases.keys()), "it is not in the plan")
        good: dict[str, Sample] = {}
        for host, release in self._releases.items():
            try:
                good[host] = self._take(host, release, outcomes.get(host), now_s)
            except BadSample as bad:
                problems[host] = str(bad.what)
        if problems:
            return Reading(problems, good)
        if not self._base or self._young(now_s) or any(good[host].started_s != self._base[host].started_s for host in good):
            self._restart_round(good, now_s)
            return Reading(problems, good, warming=True)
        if not all(good[host].taken_s > self._base[host].taken_s for host in good):
            return Reading(problems, good)
        try:
            closed = Round(
                self._base_s, now_s, self._delta(self.arms.canary), self._delta(self.arms.control) if self.arms.control else None
            )
        except BadSample as bad:
            return Reading(dict.fromkeys(self._releases, bad.what), good)
        self._restart_round(good, now_s)
        return Reading(problems, good, closed=closed)

    def _young(self, now_s: float) -> bool:
        return any(now_s - seen.process_s < self.spec.warm_up for seen in self._seen.values())

    def _restart_round(self, good: Mapping[str, Sample], now_s: float) -> None:
        self._base, self._base_s = dict(good), now_s

    def _take(self, host: str, release: str, outcome: Outcome[Sample] | None, now_s: float) -> Sample:
        """The sample, when it can be judged. Raises BadSample."""
        if outcome is None:
            raise BadSample("it was not read")
        if not isinstance(outcome, Done):
            raise BadSample(outcome.error.what)
        sample = outcome.value
        if sample.release != release:
            raise BadSample(f"it runs {sample.release or 'nothing'}, and not {release}")
        if self.spec.age and sample.values[self.spec.age] > self.spec.fresh:
            raise BadSample(f"its process has told nothing for {sample.values[self.spec.age]:.1f} s: it hangs, or is gone")
        if sample.age_s > self.spec.fresh:
            raise BadSample(f"its sample is {sample.age_s:.1f} s old")
        before = self._seen.get(host)
        if before is None:
            self._seen[host] = _Seen(sample, now_s, now_s)
        else:
            self._compare(host, before, sample, now_s)
        return sample

    def _compare(self, host: str, before: _Seen, sample: Sample, now_s: float) -> None:
        if sample.taken_s < before.sample.taken_s:
            raise BadSample("its sample is older than one that was read before")
        if sample.taken_s == before.sample.taken_s:
            if now_s - before.first_s > self.spec.fresh:
                raise BadSample(f"its sample has been the same for {now_s - before.first_s:.1f} s")
            return
        process_s = before.process_s
        if sample.started_s != before.sample.started_s:
            self.restarts[host] = self.restarts.get(host, 0) + 1
            process_s = now_s
        elif fallen := self._fallen(before.sample, sample):
            raise BadSample(f"{fallen} went back without a restart")
        self._seen[host] = _Seen(sample, now_s, process_s)

    def _fallen(self, before: Sample, after: Sample) -> str | None:
        for name in self._counters:
            if after.values[name] < before.values[name]:
                return name
        for name, buckets in after.histograms.items():
            if min(buckets.combine(before.histograms[name], -1).counts) < 0:
                return name
        return None

    def _delta(self, hosts: Iterable[str]) -> Delta:
        """What `hosts` counted since the base. Raises BadSample when their histograms do not fit together."""
        values = dict.fromkeys(self._counters, 0.0)
        histograms: dict[str, Buckets] = {}
        for host in hosts:
            before, after = self._base[host], self._seen[host].sample
            for name in values:
                values[name] += after.values[name] - before.values[name]
            for name, buckets in after.histograms.items():
                own = buckets.combine(before.histograms[name], -1)
                histograms[name] = histograms[name].combine(own, 1) if name in histograms else own
        return Delta(values, histograms)
