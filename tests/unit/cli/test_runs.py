"""Runs from the command line: resumed, held back by a quarantine, chosen by one playbook."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.sim.mishaps import trip
from tests.sim.world import OperatorDied
from tests.support.console import Console
from tradeops.base.errors import ExitCode
from tradeops.contracts.agent import AgentVerb
from tradeops.contracts.directive import Directive, DirectiveReply, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.deploy.quarantine import Quarantine


def test_a_run_that_died_is_resumed(console: Console) -> None:
    """From the command line: listed as open with what to do, resumed to exit 0; then there is nothing left to take up."""
    console.world.dies_at = AgentVerb.SWITCH
    with pytest.raises(OperatorDied):
        console.run("deploy", console.new_release(2))
    console.world.revive()
    listed = console.run("runs", "list", "--json").document
    run = listed["runs"][0]["run"]
    assert f"runs resume {run}" in listed["next"]
    said = console.run("runs", "resume", run, "--json")
    assert (said.code, said.document["schema"], said.document["run"]) == (ExitCode.PROVED, "tradeops/runs-resume/v1", run)
    assert console.run("runs", "resume", run).code == ExitCode.REFUSED


def test_a_rejected_release_is_lifted_with_a_reason(console: Console) -> None:
    """D11: exit 9 for plan and deploy until a person says why it may be tried again; which it is, is listed; that is on record."""
    release = console.new_release(2)
    chosen = next(name for name in console.world.manifests if release in name)
    Quarantine(console.folder / ".tradeops" / "quarantine").put(chosen, run="r1", why="gate failed on h1: reject_ratio: 36 of 100")
    for command in ("plan", "deploy"):
        said = console.run(command, release)
        assert said.code == ExitCode.REFUSED
        assert "reject_ratio: 36 of 100" in said.err and "releases lift" in said.err
        assert "next: tradeops deploy" not in said.out + said.err
    listed = console.run("releases", "list", "--json").document
    assert "1 in quarantine" in listed["title"]
    assert {one["id"]: one["quarantine"] for one in listed["releases"]}[
        chosen
    ] == "rejected in run r1: gate failed on h1: reject_ratio: 36 of 100"
    assert console.run("releases", "lift", release, "--reason", "the venue was down", "--as", "operator-1").code == ExitCode.PROVED
    assert console.run("releases", "lift", release, "--reason", "again").code == ExitCode.USAGE
    assert "quarantine" not in console.run("releases", "list", "--json").document["title"]
    assert console.run("deploy", release).code == ExitCode.PROVED
    assert console.run("audit", "show", "--verb", "releases-lift", "--json").document["rows"][0]["kind"] == "intent"


def test_a_host_that_its_guard_halted_is_told_with_what_resumes_it(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """D13: taken back and proved, exit 11; the host's line says by what it is halted, and how it trades again."""
    canary = console.world.truth["h1"]
    take = canary.direct

    def taken(directive: Directive, envelope: Envelope) -> DirectiveReply:
        if directive.verb is Verb.RESUME:
            trip(canary)
        return take(directive, envelope)

    monkeypatch.setattr(canary, "direct", taken)
    said = console.run("deploy", console.new_release(2), "--rolling", "--json")
    assert (said.code, said.document["next"]) == (ExitCode.BROUGHT_BACK, "mend what is named, then deploy again")
    assert said.document["title"].split(" (run")[0].endswith("the fleet is proved on what it ran before; 1 may not trade")
    told = {host["host"]: host for host in said.document["hosts"]}
    assert told["h1"]["state"] == "proved, halted by reconciliation: `tradeops resume --host h1 --reason TEXT`"
    assert not any(host["problem"] for host in told.values()) and not canary.trading()


def test_one_playbook_at_a_time(console: Console) -> None:
    """--canary is --playbook canary; two of them are a mistake. A first gate that nobody exports for is one too."""
    assert console.run("deploy", console.new_release(2), "--canary", "--rolling").code == ExitCode.USAGE
    assert console.run("deploy", console.new_release(2), "--canary").code == ExitCode.USAGE
    assert console.run("deploy", console.new_release(2), "--rolling").code == ExitCode.PROVED


@pytest.fixture
def died(console: Console) -> tuple[Console, str, Path]:
    """A run whose operator died before the switch: the console, the run, its journal."""
    console.world.dies_at = AgentVerb.SWITCH
    with pytest.raises(OperatorDied):
        console.run("deploy", console.new_release(2))
    console.world.revive()
    run = console.run("runs", "list", "--json").document["runs"][0]["run"]
    return console, run, console.folder / ".tradeops" / "runs" / run / "journal.jsonl"


def test_a_run_whose_journal_was_torn_is_resumed_and_blocks_nobody(died: tuple[Console, str, Path]) -> None:
    """D01: a power cut in the middle of a line: who takes the run up writes behind the line before it, and all of it is read after."""
    console, run, path = died
    os.truncate(path, path.stat().st_size - 10)
    whole = path.read_bytes().count(b"\n")
    assert console.run("runs", "resume", run).code == ExitCode.PROVED
    lines = path.read_bytes().splitlines()
    sessions = [json.loads(line)["detail"].get("session", 0) for line in lines]
    assert sessions == [0] * whole + [1] * (len(lines) - whole)
    assert console.run("verify").code == ExitCode.PROVED
    assert console.run("runs", "show", run).code == ExitCode.PROVED
    assert console.run("deploy", console.new_release(3)).code == ExitCode.PROVED


def test_a_damaged_journal_is_named_and_does_not_hold_up_the_way_back(died: tuple[Console, str, Path]) -> None:
    """D13: what the run came to is not known, so nothing new goes out; back to a release that is named, all the same."""
    console, run, path = died
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first[:-20] + b"".join(rest))
    for words in (("deploy", console.new_release(3)), ("verify",), ("rollback",), ("runs", "resume", run), ("runs", "abort", run)):
        said = console.run(*words)
        assert said.code == ExitCode.USAGE and str(path) in said.err and "rollback --to" in said.err, (words, said.err)
    listed = console.run("runs", "list", "--json").document
    assert listed["runs"][0]["ending"].startswith("damaged")
    old = next(name for name, made in console.world.manifests.items() if made.predicate.number == 1)
    console.world.clock.sleep_s(200)
    assert console.run("rollback", "--to", old).code == ExitCode.PROVED
    assert console.run("verify").code == ExitCode.PROVED
    assert console.run("deploy", console.new_release(4)).code == ExitCode.PROVED
