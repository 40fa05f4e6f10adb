"""A run without a terminal: a line per phase and wave, and one for each oddity."""

from __future__ import annotations

import io
import re
from pathlib import Path

from tests.sim.drive import CANARY, ROLLING
from tests.sim.world import World
from tradeops.base.clock import NS_PER_S, VirtualClock
from tradeops.cli.progress import ODD_S, RunProgress
from tradeops.cli.render import Printer
from tradeops.deploy.deploy import deploy
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.site import PhaseProgress, Progress, Site


class Heard:
    """A progress and what it printed."""

    def __init__(self, hosts: tuple[str, ...], runs: Path, clock: VirtualClock | None = None, command: str = "deploy") -> None:
        self.err = io.StringIO()
        self.clock = clock or VirtualClock()
        self.progress = RunProgress(Printer(as_json=False, out=io.StringIO(), err=self.err), self.clock, command, hosts, runs)

    def lines(self) -> list[str]:
        """Without the seconds in front."""
        return [line.partition(" s  ")[2] or line for line in self.err.getvalue().splitlines()]


def run_in(world: World, heard: Heard, release: str, playbook: Playbook = ROLLING) -> None:
    """A deploy that tells its progress."""
    site: Site = world.site()
    with heard.progress as told:
        deploy(Site(**{**site.__dict__, "progress": told}), release, playbook)


def test_a_deploy_tells_a_line_per_phase_and_wave(tmp_path: Path) -> None:
    """Eight hosts in five waves: no line per host while all is well, and every wave is there."""
    world = World(tmp_path)
    heard = Heard(tuple(world.truth), tmp_path / "runs", world.clock)
    run_in(world, heard, world.release(1))
    lines = heard.lines()
    assert lines[0].startswith("preflight done on h1 h2 h3 h4 h5 h6 h7 h8, ")
    assert lines[1].startswith("run id") and "(number 1) replaces nothing, 8 hosts in 5 waves" in lines[1]
    assert "Ctrl-C" in lines[2] and "kill-switch" in lines[2]
    assert any(line.startswith("wave 2 of 5: switch done on h2 h3, ") for line in lines)
    assert len(lines) == 3 + len(("lock", "stage")) + 5 * len(("drain", "stop", "switch", "start", "prove", "smoke", "lease", "resume")) + 4
    assert {step["phase"] for step in heard.progress.steps} >= {"lock", "prove", "resume", "finish"}


def test_a_failure_names_the_host_and_the_way_back(tmp_path: Path) -> None:
    """A release that does not come up: what failed, where, why; then the phases of taking back."""
    world = World(tmp_path)
    run_in(world, Heard(tuple(world.truth), tmp_path / "runs", world.clock), world.release(1))
    heard = Heard(tuple(world.truth), tmp_path / "runs", world.clock)
    run_in(world, heard, world.release(2, version="broken"))
    lines = heard.lines()
    assert any(line.startswith("x wave 1 of 5: prove failed on 1 of 1 hosts, ") for line in lines)
    assert any(line.startswith("x h1: prove: ") for line in lines)
    assert any(line.startswith("taking back: wave 1 of 5: switch done on h1, ") for line in lines)
    assert [step["host"] for step in heard.progress.steps if step["state"] == "failed"] == ["h1"]


def test_a_host_that_keeps_a_phase_waiting_is_told_once(tmp_path: Path) -> None:
    """The reason after some seconds, not at every poll."""
    heard = Heard(("h1",), tmp_path)
    heard.progress(PhaseProgress("r", "drain", ("h1",), "begun"))
    for _ in range(4):
        heard.progress(Progress("r", "drain", "h1", "started", "3 orders working"))
        heard.clock.sleep_s(ODD_S)
    assert [line for line in heard.lines() if "orders" in line] == ["? h1: drain waits: 3 orders working"]


def test_what_a_host_came_to_is_told_with_it(tmp_path: Path) -> None:
    """Orders that were to be adopted, and were not: in a line, and in the report."""
    heard = Heard(("h1", "h2"), tmp_path)
    heard.progress(PhaseProgress("r", "cutover", ("h1", "h2"), "begun"))
    heard.progress(Progress("r", "cutover", "h1", "done", "nothing works: not adopted, but cancelled"))
    heard.progress(Progress("r", "cutover", "h2", "done"))
    assert heard.lines()[2:] == ["h1: cutover: nothing works: not adopted, but cancelled"]
    assert [step["detail"] for step in heard.progress.steps] == ["nothing works: not adopted, but cancelled", ""]


def test_a_gate_is_told_now_and_then(tmp_path: Path) -> None:
    """Its evidence so far in one line, every half minute, and its last word: also in the report, and as a step for each metric."""
    world = World(tmp_path)
    run_in(world, Heard(tuple(world.truth), tmp_path / "runs", world.clock), world.release(1))
    world.clock.sleep_s(60)
    heard = Heard(tuple(world.truth), tmp_path / "runs", world.clock)
    run_in(world, heard, world.release(2), CANARY)
    gates = [line for line in heard.lines() if "gate: " in line]
    assert len(gates) == 8, "once in each of four steps of twenty seconds, and how each ended"
    assert re.match(r"wave 1 of 5: gate: h1 beside 7 old: \d+ of 100 events, 2 of 20 s, about [\d.]+ s to go; error_rate 0.0", gates[0])
    assert re.match(r"wave 1 of 5: gate: pass, h1 beside 7 old: [\d,]+ of 100 events, \d+ of 20 s; error_rate 0.0", gates[1])
    assert re.search(r"gate: pass, h5 h6 h7 h8 beside 4 that passed: .* of 200 against it; every metric is shown", gates[7])
    assert heard.progress.verdicts == [line.partition(" of 5: ")[2] or line for line in gates[1::2]]
    judged = [step for step in heard.progress.steps if step["phase"] == "gate.error_rate"]
    assert [step["host"] for step in judged] == ["h1", "h1", "h1 h2 h3 h4", "h5 h6 h7 h8"]
    assert {step["state"] for step in judged} == {"done"}
    assert re.search(r"canary 0\S* beside 0\S*; rate \S+ to \S+; ratio to control \S+ to \S+; \S+ of 200 against it; ", judged[0]["detail"])


def test_a_kill_that_cuts_a_phase_short_is_no_failure_of_a_host(tmp_path: Path) -> None:
    """Said as what it is."""
    heard = Heard(("h1", "h2"), tmp_path)
    heard.progress(PhaseProgress("r", "stage", ("h1", "h2"), "begun"))
    heard.progress(PhaseProgress("r", "stage", ("h1", "h2"), "failed"))
    assert heard.lines()[-1].startswith("x stage was cut short by a kill, ")


def test_what_fails_outside_a_phase_is_told_with_its_host(tmp_path: Path) -> None:
    """An unlock that a host did not take."""
    heard = Heard(("h1", "h2"), tmp_path)
    heard.progress(PhaseProgress("r", "stage", ("h1", "h2"), "begun"))
    heard.progress(Progress("r", "stage", "h2", "failed", "disk full\nlong story"))
    heard.progress(PhaseProgress("r", "stage", ("h1", "h2"), "failed", {"h2": "disk full"}))
    heard.progress(Progress("r", "unlock", "h2", "failed", "no answer\nlong story"))
    assert heard.lines()[-2:] == ["x h2: stage: disk full", "x h2: unlock: no answer"]
    assert [step["state"] for step in heard.progress.steps] == ["failed", "failed"]


def test_lines_count_from_the_command_s_beginning(tmp_path: Path) -> None:
    """A CI log has no clock of its own."""
    heard = Heard(("h1",), tmp_path)
    heard.progress(PhaseProgress("r", "lock", ("h1",), "begun"))
    heard.clock.sleep_s(65)
    heard.progress(PhaseProgress("r", "lock", ("h1",), "done"))
    assert heard.err.getvalue().splitlines()[-1] == "   65.0 s  lock done on h1, 1.1 m"
    assert heard.clock.monotonic_ns() >= 65 * NS_PER_S


def test_a_step_is_the_last_that_a_host_came_to_in_one_phase(tmp_path: Path) -> None:
    """Done and then failed after all is failed, with the time that the phase took there; the next such phase is a step of its own."""
    heard = Heard(("h1",), tmp_path)
    for seconds, state, problems in ((2, "done", {}), (3, "failed", {"h1": "it died"})):
        heard.progress(PhaseProgress("r", "prove", ("h1",), "begun"))
        heard.clock.sleep_s(seconds)
        heard.progress(Progress("r", "prove", "h1", "done"))
        heard.progress(PhaseProgress("r", "prove", ("h1",), state, problems))
    steps = [(step["state"], step["seconds"], step["detail"]) for step in heard.progress.steps]
    assert steps == [("done", 2.0, ""), ("failed", 3.0, "it died")]
