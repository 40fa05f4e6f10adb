"""The judge as a whole: what passes, what fails, what is inconclusive, and that no data never passes (D10, D11)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.support.gates import ARMS, CONTROL, Daemon, daemons, reading
from tradeops.fleet.outcome import Outcome
from tradeops.gates.arms import Arms
from tradeops.gates.evidence import Cause, Ruling, Verdict
from tradeops.gates.samples import Sample
from tradeops.gates.spec import GateSpec
from tradeops.gates.verdict import Gate

SPEC = GateSpec.model_validate({"warm_up": "0s"})
BAKE_S = 300.0
Step = Callable[[int, Mapping[str, Daemon]], None]
Change = Callable[[int, dict[str, Outcome[Sample]]], None]


def run(step: Step, *, spec: GateSpec = SPEC, arms: Arms = ARMS, bake_s: float = BAKE_S, change: Change | None = None) -> list[Verdict]:
    """A reading a second until the verdict is final. step: what the daemons do in a second.  change: what befalls the reading."""
    fleet = daemons(arms)
    gate = Gate(spec, arms, bake_s=bake_s, now_s=0.0)
    verdicts: list[Verdict] = []
    for second in range(int(bake_s + spec.patience) + 2):
        outcomes = reading(fleet, float(second))
        if change:
            change(second, outcomes)
        verdicts.append(gate.feed(outcomes, float(second), outlook=False))
        if verdicts[-1].final:
            return verdicts
        step(second, fleet)
    raise AssertionError("the gate came to no end")


def healthy(second: int, fleet: Mapping[str, Daemon]) -> None:
    """Fifty signals a second on each host, one error in a thousand."""
    for at, daemon in enumerate(fleet.values()):
        daemon.count(signals=50, errors=(second + 3 * at) % 20 == 0)


def test_a_canary_like_the_control_passes() -> None:
    """After the bake, and not before; with what it was compared."""
    verdicts = run(healthy)
    assert [verdict.ruling for verdict in verdicts[:-1]] == [Ruling.INCONCLUSIVE] * (len(verdicts) - 1)
    last = verdicts[-1]
    assert last.ruling is Ruling.PASS
    assert last.baked_s >= BAKE_S
    assert last.exposure >= last.exposure_min
    assert "control" in last.compared


def test_three_times_the_errors_fail() -> None:
    """Long before the bake is over."""

    def step(second: int, fleet: Mapping[str, Daemon]) -> None:
        for at, (host, daemon) in enumerate(fleet.items()):
            daemon.count(signals=50, errors=(second + at) % 4 == 0 if host in CONTROL else (second % 4 != 0))

    last = run(step)[-1]
    assert last.ruling is Ruling.FAIL
    assert last.cause is Cause.METRIC
    assert last.why[0].startswith("error_rate:")
    assert last.elapsed_s < BAKE_S
    errors = last.metrics[0]
    assert errors.e_value is not None and errors.fails_at is not None
    assert errors.e_value >= errors.fails_at
