"""What a person is told of a gate before a run: by its playbook, and by the hosts as they are now."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.sim.samples import SPEC
from tests.support.console import Console, Said
from tradeops.base.errors import ExitCode

CANARY = {"hosts": "1", "flow": "10%", "bake": "10s"}
COUNTED = {**CANARY, "events": 100}
ALL = {"hosts": "100%"}


def asked(console: Console, command: str, *steps: dict[str, Any], **keys: Any) -> Said:
    """`plan` or `deploy` of another release under a playbook of these steps."""
    book = {"schema": "tradeops/playbook/v1", "name": "own", "steps": list(steps), **keys}
    (console.folder / "playbooks" / "own.yml").write_text(yaml.safe_dump(book, sort_keys=False))
    console.world.clock.sleep_s(60)
    return console.run(command, console.new_release(2), "--playbook", "own")


@pytest.mark.parametrize("command", ["plan", "deploy"])
@pytest.mark.parametrize(
    ("steps", "keys", "said"),
    [
        ((COUNTED, ALL), {}, "nobody counts events"),
        ((CANARY, ALL), {"gate": SPEC}, "time alone proves nothing"),
        (({"hosts": "1", "flow": "10%", "events": 100}, ALL), {"gate": SPEC}, "this step has none"),
        ((ALL,), {"gate": SPEC}, "every release passes unseen"),
        ((COUNTED, ALL), {"gate": {**SPEC, "min_exposure": 77_777}}, "min_exposure"),
    ],
)
def test_what_nobody_would_hold_a_release_to_is_no_playbook(console: Console, command: str, steps: Any, keys: Any, said: str) -> None:
    """D10: events that no gate counts, a gate under which nothing bakes, a bake by time alone: exit 2, with the file and its line."""
    before = console.world.pids_now()
    told = asked(console, command, *steps, **keys)
    assert (told.code, said in told.err) == (ExitCode.USAGE, True), told.err
    assert "own.yml:" in told.err
    assert console.world.pids_now() == before


def test_a_plan_says_by_what_a_step_passes(console: Console) -> None:
    """D10: its time and its events under the gate; or, where nobody counts, that it is time alone."""
    assert "10.0 s, no gate: time alone" in " ".join(asked(console, "plan", CANARY, ALL).out.split())
    gated = asked(console, "plan", COUNTED, ALL, gate=SPEC)
    assert gated.code == ExitCode.PROVED, gated.err
    assert "10.0 s, 100 events" in " ".join(gated.out.split())


def test_the_events_of_the_step_are_what_the_plan_reckons_with(console: Console) -> None:
    """D10: more than come in while the gate has patience is an error before anything is touched."""
    told = asked(console, "plan", {**COUNTED, "events": 1_000_000}, ALL, gate=SPEC)
    assert (told.code, "the gate will not decide" in told.err) == (ExitCode.USAGE, True), told.err


@pytest.mark.parametrize("command", ["plan", "deploy"])
def test_a_trader_that_hangs_before_the_run_is_named(console: Console, command: str) -> None:
    """Exit 3: the host is not ready, and nobody is told to take the metric out of the gate."""
    console.world.truth["h3"].faults = {"stale"}
    told = asked(console, command, COUNTED, ALL, gate=SPEC)
    assert told.code == ExitCode.PREFLIGHT, told.err
    assert "h3: its process has told nothing for" in told.err and "doctor" in told.err and "take the metric out" not in told.err
