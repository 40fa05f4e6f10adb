"""What simulated hosts export to a gate: signals that come in steadily, errors in a share of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.sim.host import SimHost
from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import OutcomeUnknown, Unreachable
from tradeops.contracts.metrics import IDENTITY_LABELS, PREFIX, Counter
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Failed, Outcome
from tradeops.gates.samples import BadSample, NotExported, Sample
from tradeops.gates.spec import GateSpec

SIGNALS_PER_S = 200
ERRORS, SIGNALS = PREFIX + Counter.ERRORS, PREFIX + Counter.SIGNALS
DECISIONS = PREFIX + Counter.DECISIONS
COMPARED, DIFFERENT = PREFIX + Counter.DECISIONS_COMPARED, PREFIX + Counter.DECISIONS_DIFFERENT
SHADOW = {
    "slot": "standby",
    "every": "2s",
    "warm_up": "0s",
    "persist": "12s",
    "quiet": "10s",
    "patience": "20s",
    "exposure": COMPARED,
    "metrics": {"decisions_different": {"kind": "ratio", "events": DIFFERENT, "per": COMPARED, "limit": "1%"}},
}
SPEC = {
    "every": "2s",
    "warm_up": "0s",
    "persist": "12s",
    "quiet": "10s",
    "patience": "20s",
    "metrics": {"error_rate": {"kind": "ratio", "events": ERRORS, "limit": "5%", "margin": 4.0}},
}


def exposed(sample: Sample) -> str:
    """What the guard exports of it, for a gate that scrapes."""
    labels = ",".join(f'{name}="{value}"' for name, value in zip(IDENTITY_LABELS, (sample.host, sample.release, "a"), strict=True))
    return "".join(f"{name}{{{labels}}} {value!r}\n" for name, value in sample.values.items())


@dataclass
class SimSource:
    """gates.sources.port.Source. bad: releases with five times the errors.  apart: those that decide otherwise, one time in twenty."""

    truth: Mapping[str, SimHost]
    spec: GateSpec
    bad: frozenset[str]
    apart: frozenset[str]

    def read(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Sample]]:
        """A sample of each; faults: no_data, stale, wrong_number, quiet, and whatever keeps a guard from answering."""
        return {host.name: self._sample(self.truth[host.name]) for host in hosts}

    def _sample(self, host: SimHost) -> Outcome[Sample]:
        if host.faults & {"guard_dead", "ssh_refused"}:
            return Failed(Unreachable("the guard does not answer", where=host.name))
        if "no_data" in host.faults:
            return Failed(NotExported("it exports none of the series that the gate asks for", where=host.name))
        if host.faults & {"guard_hang", "ssh_hang"}:
            return Failed(OutcomeUnknown("no answer in time", where=host.name))
        process = (host.slot if self.spec.slot == "active" else host.beside).process
        if process is None:
            return Failed(BadSample("nothing runs", where=host.name))
        now_s, since_s = host.clock.wall_ns() / NS_PER_S, process.started_ns / NS_PER_S
        cap_ppm = host.guard.at().flow_cap_ppm
        until_s = now_s if host.quiet_since_s is None else max(since_s, host.quiet_since_s)
        signals = 0.0 if "quiet" in host.faults else SIGNALS_PER_S * (until_s - since_s) * (1.0 if cap_ppm is None else cap_ppm / 10**6)
        if "went_back" in host.faults:
            signals = 1000.0 - signals
        errors = signals * (0.05 if process.release in self.bad else 0.01)
        different = signals * 0.05 if process.release in self.apart else 0.0
        values = dict.fromkeys(self.spec.counters() | self.spec.gauges(), 0.0)
        values |= {SIGNALS: float(int(signals)), ERRORS: float(int(errors)), self.spec.start: since_s}
        values |= {DECISIONS: float(int(signals)), COMPARED: float(int(signals)), DIFFERENT: float(int(different))}
        taken_s = 1.0 if "stale" in host.faults else now_s
        values |= {self.spec.age: now_s - taken_s} if self.spec.age else {}
        return Done(Sample(host.name, process.release, since_s, taken_s, now_s - taken_s, values, {}))
