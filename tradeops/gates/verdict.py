"""The judge: a gate is fed with readings of canary and control, and says pass, fail or inconclusive, with its evidence.

Pure: it reads no clock and asks nobody. No data is never a pass: PASS needs whole and fresh data of every host now, the bake's
time of it, the least exposure, exposure still coming in, and every metric shown to be within its limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from tradeops.fleet.outcome import Outcome
from tradeops.gates.arms import Arms
from tradeops.gates.evidence import TRACE_SCHEMA, Cause, Evidence, Line, Point, Ruling, Trace, Verdict
from tradeops.gates.measures import measures
from tradeops.gates.rounds import Intake, Reading, Round
from tradeops.gates.samples import Sample
from tradeops.gates.spec import GateSpec

CONTROL: Final = "the control group, and absolute limits"
PEERS: Final = "the hosts that passed before on the same release, and absolute limits: nobody is left on the old one"
ABSOLUTE: Final = "absolute limits alone: there is no control group"


class Gate:
    """One gate of one wave. bake_s, exposure_min: whole data, and exposure of the canary, that are asked for.  now_s: one monotonic
    clock of the caller, in seconds.
    """

    def __init__(self, spec: GateSpec, arms: Arms, *, bake_s: float, exposure_min: int, now_s: float) -> None:
        self._spec = spec
        self._arms = arms
        self._bake_s = bake_s
        self._exposure_min = exposure_min
        self._start_s = now_s
        self._compared = PEERS if arms.peers else CONTROL if arms.control else ABSOLUTE
        self._intake = Intake(spec, arms)
        self._measures = measures(spec, arms)
        self._bad_since_s: dict[str, float] = {}
        self._baked_s = 0.0
        self._exposure = 0.0
        self._exposed_s = now_s
        self._rounds = 0
        self._points: dict[str, list[Point]] = {}
        self._verdict: Verdict | None = None

    def feed(self, outcomes: Mapping[str, Outcome[Sample]], now_s: float, *, outlook: bool = True) -> Verdict:
        """Take in a reading of all hosts, and judge. A final verdict stays as it is.

        outlook: bounds and time to a verdict too, which cost far more than the ruling.
        """
        if self._verdict and self._verdict.final:
            return self._verdict
        reading = self._intake.feed(outcomes, now_s)
        self._note(reading, now_s)
        for measure in self._measures:
            measure.see(reading.good, now_s)
        lines = self._add(reading.closed) if reading.closed else {}
        evidence = self._evidence(outlook=outlook)
        for name, (canary, control) in lines.items():
            self._points.setdefault(name, []).append(Point(now_s - self._start_s, canary, control, evidence[name].e_value))
        verdict = self._judge(reading, tuple(evidence.values()), now_s)
        if verdict.final and not outlook:  # the last word is kept, with its bounds
            verdict = replace(verdict, metrics=tuple(self._evidence(outlook=True).values()))
        self._verdict = verdict
        return verdict

    def condemn(self, verdict: Verdict, why: Sequence[str]) -> Verdict:
        """The last verdict, failed by what no metric shows: a canary's guard has halted it."""
        self._verdict = replace(verdict, ruling=Ruling.FAIL, final=True, cause=Cause.GUARD, why=tuple(why))
        return self._verdict

    def trace(self, title: str) -> Trace | None:
        """The evidence so far, to be kept and drawn; None before the first reading."""
        points = {name: tuple(points) for name, points in self._points.items()}
        return Trace(TRACE_SCHEMA, title, self._verdict, points) if self._verdict else None

    def _evidence(self, *, outlook: bool) -> dict[str, Evidence]:
        return {measure.name: measure.judge(outlook=outlook) for measure in self._measures}

    def _note(self, reading: Reading, now_s: float) -> None:
        self._bad_since_s = {host: self._bad_since_s.get(host, now_s) for host in reading.problems}

    def _add(self, closed: Round) -> dict[str, Line]:
        self._rounds += 1
        self._baked_s += closed.end_s - closed.start_s
        exposure = closed.canary.values[self._spec.exposure]
        self._exposure += exposure
        if exposure > 0:
            self._exposed_s = closed.end_s
        return {measure.name: line for measure in self._measures if (line := measure.add(closed))}

    def _judge(self, reading: Reading, evidence: tuple[Evidence, ...], now_s: float) -> Verdict:
        lasting = {host: now_s - since_s for host, since_s in self._bad_since_s.items() if now_s - since_s >= self._spec.persist}
        # A source that is down says nothing against the canary: it is held, and its release is not rejected for it.
        blind = not reading.good and len(self._arms.releases) > 1
        cause, why = self._failing(evidence, {} if blind else lasting)
        ruling = Ruling.FAIL if why else Ruling.PASS
        if not why and (why := self._lacking(reading, evidence, now_s)):
            ruling = Ruling.INCONCLUSIVE
        late = now_s >= self._start_s + self._bake_s + self._spec.patience or (blind and bool(lasting))
        return Verdict(
            ruling=ruling,
            final=ruling is not Ruling.INCONCLUSIVE or late,
            cause=cause,
            why=tuple(why) or ("every metric is shown to be within its limits",),
            compared=self._compared,
            elapsed_s=now_s - self._start_s,
            baked_s=self._baked_s,
            bake_s=self._bake_s,
            exposure=self._exposure,
            exposure_min=self._exposure_min,
            needed_s=self._needed_s(evidence),
            metrics=evidence,
            problems=dict(reading.problems),
            rounds=self._rounds,
        )

    def _failing(self, evidence: Sequence[Evidence], lasting: Mapping[str, float]) -> tuple[Cause, list[str]]:
        """lasting: hosts whose data could not be judged for too long, and for how long."""
        if failed := [f"{one.name}: {one.text}" for one in evidence if one.ruling is Ruling.FAIL]:
            return Cause.METRIC, failed
        restarts = {host: count for host in self._arms.canary if (count := self._intake.restarts.get(host, 0)) > self._spec.restarts_max}
        if restarts:
            return Cause.RESTART, [f"{host}: its process has restarted {count} times" for host, count in restarts.items()]
        if lasting:
            return Cause.DATA, [f"{host}: its data cannot be judged for {lasted_s:.0f} s now" for host, lasted_s in lasting.items()]
        return Cause.NONE, []

    def _lacking(self, reading: Reading, evidence: Sequence[Evidence], now_s: float) -> list[str]:
        """Why there is no PASS yet; the weightiest first."""
        why = [f"{host}: {problem}" for host, problem in reading.problems.items()]
        if not reading.good:
            why = [f"no host can be judged: {'; '.join(dict.fromkeys(reading.problems.values()))}"]
        if now_s - self._exposed_s > self._spec.quiet:
            why.append(f"the canary has taken nothing in for {now_s - self._exposed_s:.0f} s")
        if self._exposure < self._exposure_min:
            why.append(f"the canary has taken in {self._exposure:g} of the {self._exposure_min} that are asked for")
        why += [f"{one.name}: {one.text}" for one in evidence if one.ruling is Ruling.INCONCLUSIVE]
        if self._baked_s < self._bake_s:
            why.append(f"{self._baked_s:.0f} s of {self._bake_s:.0f} s of whole data")
        if reading.warming:
            why.append("a process is in its warm-up")
        elif not why and not reading.closed:
            # What was true at the last whole round may not be so now: PASS is given on a round, never between two.
            why.append("waiting for newer samples of every host")
        return why

    def _needed_s(self, evidence: Sequence[Evidence]) -> float | None:
        """Until the slowest of all that is asked for; None: it cannot be told."""
        if self._exposure <= 0:
            return None
        exposure_s = (self._exposure_min - self._exposure) * self._baked_s / self._exposure
        waits = [one.needed_s for one in evidence if one.ruling is not Ruling.NOT_JUDGED and one.e_value is not None]
        if any(wait is None for wait in waits):
            return None
        return max(0.0, exposure_s, self._bake_s - self._baked_s, *(wait for wait in waits if wait is not None))
