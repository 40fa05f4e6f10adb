"""Runs a gate over simulated daemons, a reading a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.support.gates import ARMS, CONTROL, Daemon, daemons, reading
from tradeops.fleet.outcome import Outcome
from tradeops.gates.arms import Arms
from tradeops.gates.evidence import Ruling, Verdict
from tradeops.gates.samples import Sample
from tradeops.gates.spec import GateSpec
from tradeops.gates.verdict import Gate

BAKE_S = 120.0
EXPOSURE_MIN = 300
Step = Callable[[int, Mapping[str, Daemon]], None]
"""What the daemons do in a second."""
Change = Callable[[int, dict[str, Outcome[Sample]]], None]
"""What befalls the reading of a second."""


def spec(**changes: object) -> GateSpec:
    """As a playbook would write it. No warm-up and less patience, unless it says so."""
    return GateSpec.model_validate({"warm_up": "0s", "patience": "2m", **changes})


SPEC = spec()


def run(
    step: Step,
    *,
    gate_spec: GateSpec = SPEC,
    arms: Arms = ARMS,
    bake_s: float = BAKE_S,
    change: Change | None = None,
) -> list[Verdict]:
    """A verdict a second until the final one."""
    fleet = daemons(arms)
    gate = Gate(gate_spec, arms, bake_s=bake_s, exposure_min=EXPOSURE_MIN, now_s=0.0)
    verdicts: list[Verdict] = []
    for second in range(int(bake_s + gate_spec.patience) + 2):
        outcomes = reading(fleet, float(second))
        if change:
            change(second, outcomes)
        verdicts.append(gate.feed(outcomes, float(second), outlook=False))
        if verdicts[-1].final:
            assert gate.feed({}, second + 1.0) == verdicts[-1], "a final verdict stays as it is"
            return verdicts
        step(second, fleet)
    raise AssertionError("the gate came to no end")


def last(step: Step, **how: object) -> Verdict:
    """The final verdict; all before it were inconclusive."""
    verdicts = run(step, **how)  # type: ignore[arg-type]  # handed on as they are
    assert {verdict.ruling for verdict in verdicts[:-1]} <= {Ruling.INCONCLUSIVE}
    return verdicts[-1]


def healthy(second: int, fleet: Mapping[str, Daemon]) -> None:
    """Fifty signals a second on each host, four errors in a thousand."""
    for at, daemon in enumerate(fleet.values()):
        daemon.count(signals=50, errors=(second + 3 * at) % 5 == 0)


def errors(of_canary: float, of_control: float, *, signals: float = 50) -> Step:
    """Signals a second on each host, and so many errors in a thousand of them, evenly."""
    owed: dict[str, float] = {}

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        for host, daemon in fleet.items():
            owed[host] = owed.get(host, 0.5) + signals * (of_control if host in CONTROL else of_canary) / 1000
            daemon.count(signals=signals, errors=int(owed[host]))
            owed[host] -= int(owed[host])

    return step
