"""Preflight's judgement of a host's clock: what its answer took is not held against it, and does not excuse it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.world import World
from tradeops.base.clock import NS_PER_S
from tradeops.checks.finding import Verdict
from tradeops.contracts.agent import AgentVerb, Facts
from tradeops.contracts.codec import convert
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.preflight import Skew, fit


@pytest.mark.parametrize(
    ("offset_s", "unsure_s", "verdict"),
    [
        (0.0, 0.01, Verdict.YES),
        (1.9, 0.01, Verdict.YES),
        (2.5, 0.01, Verdict.NO),
        (-2.5, 0.01, Verdict.NO),
        (2.5, 1.0, Verdict.YES),
        (0.0, 2.1, Verdict.UNKNOWN),
        (9.0, 2.1, Verdict.UNKNOWN),
    ],
)
def test_a_clock_is_judged_by_the_middle_of_its_answer(tmp_path: Path, offset_s: float, unsure_s: float, verdict: Verdict) -> None:
    """O11: two seconds are allowed; an answer that took more than four says nothing, and unknown is not fit."""
    world = World(tmp_path)
    manifest = world.manifests[world.release(1)]
    site = world.site()
    facts = convert(site.agents.open(site.hosts[0], timeout_s=1).call(AgentVerb.FACTS, timeout_s=1), Facts)
    playbook = Playbook.model_validate({"schema": "tradeops/playbook/v1", "name": "test"})
    skew = Skew(int(offset_s * NS_PER_S), int(unsure_s * NS_PER_S))
    found = {finding.check: finding.verdict for finding in fit("h1", manifest.predicate, playbook, facts, skew)}
    assert found["clock"] is verdict
    assert found["disk"] is Verdict.YES
