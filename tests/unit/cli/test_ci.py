"""What CI gets of commands over a simulated fleet: whatever is not as it should be is in all four reports, with host, cause and next."""

from __future__ import annotations

import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.core import TyperGroup

from tests.sim.drive import CANARY, ROLLING
from tests.sim.world import World
from tests.support.console import Console
from tests.unit.cli.test_progress import Heard
from tradeops.base.errors import ExitCode
from tradeops.cli import app
from tradeops.cli.cases import cases
from tradeops.cli.ci import publish
from tradeops.cli.commands import COMMANDS
from tradeops.cli.ending import ending_report
from tradeops.cli.render import Printer
from tradeops.cli.report import Report
from tradeops.deploy.deploy import deploy
from tradeops.deploy.ending import Ending, HostEnd
from tradeops.deploy.quarantine import Quarantine
from tradeops.deploy.site import Site
from tradeops.record.reports import Verdict


class Ci:
    """A CI job that asks for all four reports of one command."""

    def __init__(self, folder: Path) -> None:
        self.junit, self.quality, self.summary = (folder / name for name in ("junit.xml", "quality.json", "summary.md"))
        self.environ = {
            "TRADEOPS_JUNIT": str(self.junit),
            "TRADEOPS_CODE_QUALITY": str(self.quality),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_ACTIONS": "true",
        }

    def ends(self) -> dict[str, str]:
        """How each host ended, by the tag in its case."""
        found = ElementTree.parse(self.junit).getroot().findall("testsuite[@name='end']/testcase")
        tags = ("failure", "error", "skipped")
        return {case.get("name", ""): next((child.tag for child in case if child.tag in tags), "passed") for case in found}

    def assert_told(self, err: str, host: str, *words: str) -> None:
        """A bad case of the host with these words in each of the four; the last words are what to do next."""
        bad = [
            element.text or ""
            for case in ElementTree.parse(self.junit).getroot().iter("testcase")
            for element in case
            if case.get("name") == host and element.tag in ("failure", "error")
        ]
        quality = [entry["description"] for entry in json.loads(self.quality.read_text()) if entry["description"].startswith(f"{host}: ")]
        rows = [line.replace("\\", "") for line in self.summary.read_text().splitlines() if line.startswith(f"| {host} ")]
        rows = [row for row in rows if "| failed |" in row or "| unknown |" in row]
        lines = [line for line in err.splitlines() if line.startswith("::error ") and f"title={host}%3A " in line]
        for told in (bad, quality, rows, lines):
            assert any(all(word in text for word in words) for text in told), (host, words, told)


@pytest.fixture
def ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console) -> Ci:
    """Asked for from when the fleet trades."""
    assert console.trading()
    made = Ci(tmp_path)
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    return made


def test_a_host_that_drifted_has_failed(console: Console, ci: Ci) -> None:
    """D01: verify ends with 10, the host by its checks; the seven others are passed."""
    console.world.truth["h2"].faults.add("flipped_byte")
    said = console.run("verify")
    assert said.code == ExitCode.DRIFT
    assert ci.ends() == {f"h{number}": "failure" if number == 2 else "passed" for number in range(1, 9)}
    ci.assert_told(said.err, "h2", "lib/strategy.py", "`tradeops docs drift`")
    ci.assert_told(said.err, "(fleet)", "exit code 10", "odd: h2", "`tradeops docs drift`")


@pytest.mark.parametrize(("command", "after"), [("verify", "`tradeops docs mixed-fleet`"), ("status", "`tradeops doctor`")])
def test_a_host_that_is_cut_off_is_not_known(console: Console, ci: Ci, command: str, after: str) -> None:
    """Exit 6: an error, never passed."""
    console.world.truth["h3"].faults.add("ssh_refused")
    said = console.run(command)
    assert said.code == ExitCode.MIXED
    assert ci.ends() == {f"h{number}": "error" if number == 3 else "passed" for number in range(1, 9)}
    ci.assert_told(said.err, "h3", "refused", after)


def test_a_host_that_keeps_a_deploy_from_beginning_is_named(console: Console, ci: Ci) -> None:
    """Exit 3 before there is a run: the command, the host, its reason, and what to do."""
    console.world.truth["h3"].faults.add("ssh_refused")
    said = console.run("deploy", console.new_release(2))
    assert said.code == ExitCode.PREFLIGHT
    assert ci.ends() == {"h3": "failure"}
    ci.assert_told(said.err, "h3", "refused", "then deploy again")
    ci.assert_told(said.err, "(fleet)", "exit code 3", "1 of 8 hosts did not answer", "h3: ", "nothing was touched", "then deploy again")
    assert 'classname="deploy.end"' in ci.junit.read_text()


def test_a_refusal_says_why(console: Console, ci: Ci) -> None:
    """D06: exit 9 with its reason and the way on, under the name of the command that was refused."""
    release = console.new_release(2)
    chosen = next(name for name in console.world.manifests if release in name)
    Quarantine(console.folder / ".tradeops" / "quarantine").put(chosen, run="r1", why="gate failed on h1")
    said = console.run("deploy", release)
    assert said.code == ExitCode.REFUSED
    ci.assert_told(said.err, "(fleet)", "exit code 9", "gate failed on h1", "releases lift")
    assert console.run("runs", "resume", "none").code == ExitCode.USAGE
    assert 'classname="runs-resume.runs-resume"' in ci.junit.read_text()


def test_what_was_seen_before_an_early_end_is_kept(console: Console, ci: Ci) -> None:
    """Exit 3 by one disk: every host that answered has its step, and no host ended well."""
    console.world.truth["h4"].faults.add("disk_full")
    said = console.run("deploy", console.new_release(2))
    assert said.code == ExitCode.PREFLIGHT
    seen = ElementTree.parse(ci.junit).getroot().findall("testsuite[@name='preflight']/testcase")
    assert len(seen) == 8
    assert ci.ends() == {"h4": "failure"}
    ci.assert_told(said.err, "h4", "next: ")


def test_hosts_that_do_not_trade_or_are_left_out_are_not_passed(console: Console, ci: Ci) -> None:
    """Status of a fleet with a halted host, then a deploy without one, and a status of that."""
    assert console.run("halt", "--host", "h2", "--reason", "x").code == ExitCode.PROVED
    assert console.run("status").code == ExitCode.PROVED
    ends = ci.ends()
    assert ends["h2"] != "passed" and ends["h1"] == "passed"
    assert console.run("resume", "--host", "h2", "--reason", "x").code == ExitCode.PROVED
    out = ("--exclude", "h8", "--reason", "the board is dead")
    said = console.run("deploy", console.new_release(2), *out)
    assert said.code == ExitCode.MIXED
    ci.assert_told(said.err, "h8", "excluded by operator-1", "next: ")
    said = console.run("status")
    ci.assert_told(said.err, "h8", "excluded by operator-1", "next: ")


def run_in(world: World, heard: Heard) -> tuple[Ending, Report]:
    """A canary run of release 2 and its report."""
    site = world.site()
    with heard.progress as told:
        ending = deploy(Site(**{**site.__dict__, "progress": told}), world.release(2), CANARY)
    return ending, ending_report("deploy", ending, heard.progress)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Eight hosts that have traded release 1 for a minute."""
    world = World(tmp_path)
    assert deploy(world.site(), world.release(1), ROLLING).exit_code == ExitCode.PROVED
    world.clock.sleep_s(60)
    return world


def test_a_held_canary_has_passed_nothing(world: World, tmp_path: Path) -> None:
    """D10, D11: exit 5: the canary and each metric of its gate are errors with the reason, the hosts yet to come are skipped."""
    world.truth["h1"].faults.add("quiet")
    heard, err = Heard(tuple(world.truth), tmp_path / "runs", world.clock), io.StringIO()
    ending, report = run_in(world, heard)
    assert ending.exit_code == ExitCode.INCONCLUSIVE
    ci = Ci(tmp_path)
    publish(report, ci.environ, Printer(as_json=True, out=io.StringIO(), err=err))
    assert ci.ends() == {"h1": "error"} | {f"h{number}": "skipped" for number in range(2, 9)}
    for host in ("h1", "(fleet)"):
        ci.assert_told(err.getvalue(), host, ending.causes["gate"].split("; ")[0], f"next: `tradeops runs resume {ending.run}`")
    gates = [case for case in cases(report) if case.step.startswith("gate.")]
    assert gates and all(case.verdict in (Verdict.UNKNOWN, Verdict.SKIPPED) for case in gates)


def test_a_step_takes_its_own_time_and_has_its_own_name(world: World, tmp_path: Path) -> None:
    """No step is counted twice: all that h1 went through is no longer than the run, and each has a name of its own."""
    began_ns = world.clock.monotonic_ns()
    ending, report = run_in(world, Heard(tuple(world.truth), tmp_path / "runs", world.clock))
    run_s = (world.clock.monotonic_ns() - began_ns) / 1e9
    assert ending.exit_code == ExitCode.PROVED
    told = cases(report)
    assert len({(case.host, case.step) for case in told}) == len(told)
    of_h1 = [case for case in told if case.host == "h1"]
    assert {"prove", "prove (2)", "end"} <= {case.step for case in of_h1}
    assert 0 < sum(case.seconds for case in of_h1) <= run_s
    assert {case.verdict for case in told} == {Verdict.PASSED}


@pytest.mark.parametrize(
    ("end", "code", "verdict"),
    [
        (HostEnd("h1", "proved", "r1", True), ExitCode.BROUGHT_BACK, Verdict.PASSED),
        (HostEnd("h1", "proved, halted", "r1", False), ExitCode.PROVED, Verdict.PASSED),
        (HostEnd("h1", "proved, trading not known", "r1", None), ExitCode.PROVED, Verdict.UNKNOWN),
        (HostEnd("h1", "not touched", None, None), ExitCode.PREFLIGHT, Verdict.SKIPPED),
        (HostEnd("h1", "switched, halted", None, False), ExitCode.KILLED, Verdict.UNKNOWN),
        (HostEnd("h1", "left to who holds it now", None, None), ExitCode.LOCKED, Verdict.UNKNOWN),
        (HostEnd("h1", "not proved", None, None, "no answer"), ExitCode.MIXED, Verdict.FAILED),
        (HostEnd("h2", "proved", "r1", True), ExitCode.ROLLED_BACK, Verdict.FAILED),
    ],
)
def test_only_a_proved_host_has_passed(end: HostEnd, code: ExitCode, verdict: Verdict) -> None:
    """Whatever else a run says of a host, and a host that a gate failed on though it is proved back."""
    progress = Heard(("h1", "h2"), Path("nowhere")).progress
    (case,) = cases(ending_report("deploy", Ending("r", code, "so it is", (end,), causes={"h2": "three times the errors"}), progress))
    assert case.verdict is verdict
    assert case.message


def test_other_commands_pass_only_what_they_proved() -> None:
    """A kill that is not confirmed, a host not enrolled, one of which a command says nothing, a check of this machine."""
    kill = {"host": "h1", "confirmed": False, "problems": {"guard": "no answer"}, "next": "stop its trader by its console"}
    (case,) = cases(Report("kill-switch", "x", ExitCode.KILL_INCOMPLETE, hosts=(kill,)))
    assert (case.verdict, case.next) == (Verdict.FAILED, "stop its trader by its console") and "guard: no answer" in case.message
    hosts = ({"host": "h1", "ok": False}, {"host": "h2", "ok": True, "problem": ""}, {"host": "h3", "old": None})
    enrolled = cases(Report("fleet-enroll", "x", ExitCode.MIXED, hosts=hosts))
    assert [case.verdict for case in enrolled] == [Verdict.FAILED, Verdict.PASSED, Verdict.SKIPPED]
    check = {"where": "here", "check": "tls", "verdict": "no", "detail": "expired", "fix": "`tradeops init`"}
    (here,) = cases(Report("doctor", "x", ExitCode.PREFLIGHT, data={"checks": [check]}))
    assert (here.host, here.step, here.verdict, here.message, here.next) == ("here", "tls", Verdict.FAILED, "expired", "`tradeops init`")


def test_a_command_is_named_as_its_report_is() -> None:
    """Options in front are not it; of a group the command in it counts."""
    name = app._named
    assert name(["--json", "--fleet", "f.yml", "--as=me", "deploy", "r"]) == "deploy"
    assert name(["runs", "resume", "r"]) == "runs-resume"
    assert (name(["flags", "--nonsense"]), name([])) == ("flags", "tradeops")
    assert {word for word in COMMANDS if isinstance(app.load(word), TyperGroup)} == set(app._GROUPS)
