"""What hosts do before a run: what a plan reckons with."""

from __future__ import annotations

from collections.abc import Mapping

from tradeops.fleet.outcome import Outcome, errors
from tradeops.gates.arms import Arms
from tradeops.gates.rounds import Intake, Round
from tradeops.gates.samples import NotExported, Sample
from tradeops.gates.spec import GateSpec


class Past:
    """Takes in readings while the hosts still run their old releases. rounds: what they counted.

    samples, problems: of the newest reading.  missing: hosts that do not export what is asked for, and what.
    """

    def __init__(self, spec: GateSpec, releases: Mapping[str, str]) -> None:
        # A process that has run for long is not in its warm-up when it is first seen.
        self._intake = Intake(spec.model_copy(update={"warm_up": 0.0}), Arms(releases))
        self.rounds: list[Round] = []
        self.samples: Mapping[str, Sample] = {}
        self.problems: Mapping[str, str] = {}
        self.missing: Mapping[str, str] = {}

    def feed(self, outcomes: Mapping[str, Outcome[Sample]], now_s: float) -> None:
        """Take in a reading; hosts that are not of this past may be in it."""
        own = {host: outcome for host, outcome in outcomes.items() if host in self._intake.arms.releases}
        reading = self._intake.feed(own, now_s)
        self.samples, self.problems = reading.good, reading.problems
        self.missing = {host: error.what for host, error in errors(own).items() if isinstance(error, NotExported)}
        if reading.closed:
            self.rounds.append(reading.closed)
