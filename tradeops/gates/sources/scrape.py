"""Samples read directly from the guards' /metrics."""

from __future__ import annotations

from collections.abc import Sequence

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Failed, Outcome
from tradeops.fleet.ports import Controls
from tradeops.gates.samples import BadSample, Sample, assemble, parse_text, row_names
from tradeops.gates.spec import GateSpec


class Scrape:
    """sources.port.Source over the control API."""

    def __init__(self, spec: GateSpec, controls: Controls, clock: Clock) -> None:
        self._spec = spec
        self._names = row_names(spec)
        self._controls = controls
        self._clock = clock

    def read(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Sample]]:
        """See sources.port.Source."""
        answers = self._controls.metrics(hosts, deadline_s=deadline_s)
        taken_s = self._clock.monotonic_ns() / NS_PER_S
        return {name: self._sample(name, answer, taken_s) for name, answer in answers.items()}

    def _sample(self, host: str, answer: Outcome[str], taken_s: float) -> Outcome[Sample]:
        if not isinstance(answer, Done):
            return answer
        try:
            sample = assemble(host, parse_text(answer.value, self._names), self._spec, taken_s=taken_s, age_s=0.0)
        except BadSample as error:
            error.where = host
            return Failed(error, answer.elapsed_ms)
        return Done(sample, answer.elapsed_ms)
