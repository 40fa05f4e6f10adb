"""A dead host is left out from the command line: planned, deployed around, told wherever one looks, taken in again."""

from __future__ import annotations

import pytest

from tests.sim.world import OperatorDied
from tests.support.console import Console
from tradeops.base.errors import ExitCode
from tradeops.contracts.agent import AgentVerb

OUT = ("--exclude", "h8", "--reason", "the board is dead")


def test_a_dead_host_is_left_out_until_it_is_proved_again(console: Console) -> None:
    """Exit 6 by deploy, verify and status, each naming it; killed by the first look that hears it; then deployed, proved, permitted."""
    release = console.new_release(2)
    host = console.world.truth["h8"]
    host.faults.add("ssh_refused")
    planned = console.run("plan", release, "--exclude", "h8", "--json")
    assert planned.code == ExitCode.PROVED and planned.document["plan"]["excluded"] == ["h8"]
    assert planned.document["next"].endswith("--exclude h8 --reason TEXT")
    said = console.run("deploy", release, "--plan", planned.document["digest"], *OUT, "--json")
    assert said.code == ExitCode.MIXED and said.document["hosts"][0]["problem"].startswith("excluded by operator-1 until ")
    looked = console.run("verify", "--json")
    assert looked.code == ExitCode.MIXED and looked.document["hosts"][0]["host"] == "h8"
    host.faults.clear()
    assert host.trading()
    seen = console.run("status")
    assert seen.code == ExitCode.MIXED and "h8 is excluded by operator-1" in seen.out and "heard again: killed" in seen.err
    assert not host.trading()
    assert console.run("verify").code == ExitCode.DRIFT
    permit = ("permit", "--host", "h8", "--cause", "a new board", "--and", "risk-1")
    assert console.run(*permit).code == ExitCode.REFUSED
    assert console.run("deploy", release).code == ExitCode.PROVED
    assert console.run(*permit).code == ExitCode.PROVED
    assert host.trading() and console.run("verify").code == ExitCode.PROVED
    assert console.run("status", "--json").document["excluded"] == {}


def test_an_exclusion_is_lifted_by_hand(console: Console) -> None:
    """With a reason, which is kept; the kill stays where it was taken."""
    assert console.run("deploy", console.new_release(2), *OUT).code == ExitCode.MIXED
    assert console.run("fleet", "include", "h8", "--reason", "wrong host").code == ExitCode.PROVED
    assert console.run("fleet", "include", "h8", "--reason", "again").code == ExitCode.USAGE
    assert not console.world.truth["h8"].trading()
    rows = console.run("audit", "show", "--verb", "include", "--json").document["rows"]
    assert rows[0]["detail"]["reason"] == "wrong host"


def test_what_is_left_out_is_said_whole(console: Console) -> None:
    """A host that there is, a reason, no fewer hosts than the policy wants."""
    release = console.new_release(2)
    said = console.run("deploy", release, "--exclude", "h9", "--reason", "x")
    assert said.code == ExitCode.USAGE and "fleet.yml" in said.err and "h9" in said.err
    assert console.run("deploy", release, "--exclude", "h8").code == ExitCode.USAGE
    assert console.run("rollback", "--reason", "x").code == ExitCode.USAGE
    four = [word for name in ("h5", "h6", "h7", "h8") for word in ("--exclude", name)]
    assert console.run("deploy", release, *four, "--reason", "x").code == ExitCode.REFUSED
    assert len(console.trading()) == 8


def test_a_run_is_undone_without_its_dead_host(console: Console) -> None:
    """Whoever died in mid-run, and a board with it: the others are back on what they ran, exit 6; a reason and a host belong together."""
    release = console.new_release(2)
    console.world.dies_at = AgentVerb.START
    with pytest.raises(OperatorDied):
        console.run("deploy", release)
    console.world.revive()
    console.world.truth["h8"].faults.add("ssh_refused")
    run = console.run("runs", "list", "--json").document["runs"][0]["run"]
    assert console.run("runs", "abort", run).code == ExitCode.PREFLIGHT
    assert console.run("runs", "abort", run, "--exclude", "h8").code == ExitCode.USAGE
    said = console.run("runs", "abort", run, *OUT, "--json")
    assert said.code == ExitCode.MIXED and said.document["hosts"][0]["problem"].startswith("excluded by operator-1 until ")
    assert len(console.trading()) == 8 and console.run("runs", "show", run).code == ExitCode.PROVED
