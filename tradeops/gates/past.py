"""What hosts did before their own switch: the comparison of a last wave, which has no control group."""

from __future__ import annotations

from collections.abc import Mapping

from tradeops.fleet.outcome import Outcome
from tradeops.gates.arms import Arms
from tradeops.gates.rounds import Intake, Round
from tradeops.gates.samples import Sample
from tradeops.gates.spec import GateSpec


class Past:
    """Takes in readings while the hosts still run their old releases. rounds: what they counted, to be handed to verdict.Gate."""

    def __init__(self, spec: GateSpec, releases: Mapping[str, str]) -> None:
        self._intake = Intake(spec, Arms(releases))
        self.rounds: list[Round] = []

    def feed(self, outcomes: Mapping[str, Outcome[Sample]], now_s: float) -> None:
        """Take in a reading; hosts that are not of this past may be in it."""
        own = {host: outcome for host, outcome in outcomes.items() if host in self._intake.arms.releases}
        if closed := self._intake.feed(own, now_s).closed:
            self.rounds.append(closed)
