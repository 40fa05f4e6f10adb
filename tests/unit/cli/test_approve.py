"""Approvals from the command line: by another person, of this plan, in time, once."""

from __future__ import annotations

import pytest

from tests.support.console import Console
from tradeops.base.errors import ExitCode


@pytest.fixture
def asked(console: Console) -> tuple[Console, str, str]:
    """A playbook that wants one approval: the console, a release, and its plan's digest."""
    (console.folder / "playbooks").mkdir(exist_ok=True)
    (console.folder / "playbooks" / "careful.yml").write_text("schema: tradeops/playbook/v1\nname: careful\napprovals: 1\n")
    release = console.new_release(2)
    return console, release, console.run("plan", release, "--playbook", "careful", "--json").document["digest"]


def deploy(console: Console, release: str) -> ExitCode:
    """By operator-1."""
    return console.run("deploy", release, "--playbook", "careful").code


def test_another_person_approves(asked: tuple[Console, str, str]) -> None:
    """D15: without an approval 9; with one 0, and both are on record."""
    console, release, digest = asked
    said = console.run("deploy", release, "--playbook", "careful")
    assert said.code == ExitCode.REFUSED and digest in said.err
    assert console.run("approve", digest, "--reason", "read it", "--as", "risk-1").code == ExitCode.PROVED
    assert deploy(console, release) == ExitCode.PROVED
    assert console.run("audit", "show", "--verb", "approve", "--json").document["rows"][0]["actor"] == "risk-1"


def test_nobody_approves_their_own_deploy(asked: tuple[Console, str, str]) -> None:
    """D15: self-approval."""
    console, release, digest = asked
    assert console.run("approve", digest, "--reason", "mine").code == ExitCode.PROVED
    said = console.run("deploy", release, "--playbook", "careful")
    assert said.code == ExitCode.REFUSED and "their own" in said.err


def test_an_approval_ends(asked: tuple[Console, str, str]) -> None:
    """D15: stale."""
    console, release, digest = asked
    console.run("approve", digest, "--reason", "read it", "--as", "risk-1")
    console.world.clock.sleep_s(25 * 3600)
    said = console.run("deploy", release, "--playbook", "careful")
    assert said.code == ExitCode.REFUSED and "expired" in said.err


def test_an_approval_is_of_one_plan(asked: tuple[Console, str, str]) -> None:
    """D15: another digest."""
    console, _, digest = asked
    console.run("approve", digest, "--reason", "read it", "--as", "risk-1")
    said = console.run("deploy", console.new_release(3), "--playbook", "careful")
    assert said.code == ExitCode.REFUSED and "another plan" in said.err


def test_an_approval_is_used_once(asked: tuple[Console, str, str]) -> None:
    """D15: a copy of a spent one is a replay, whatever its name."""
    console, release, digest = asked
    console.run("approve", digest, "--reason", "read it", "--as", "risk-1")
    (given,) = (console.folder / ".tradeops" / "approvals").glob("*.json")
    kept = given.read_bytes()
    console.world.truth["h8"].faults.add("lying_copy")
    assert deploy(console, release) == ExitCode.PREFLIGHT
    console.world.truth["h8"].faults.clear()
    for name in (given, given.with_name("other.json")):
        name.write_bytes(kept)
    said = console.run("deploy", release, "--playbook", "careful")
    assert said.code == ExitCode.REFUSED and said.err.count("used before") == 2


def test_only_who_may_approve_does(asked: tuple[Console, str, str]) -> None:
    """The policy says who; a digest is a digest; a reason is kept."""
    console, _, digest = asked
    assert console.run("approve", digest, "--reason", "x", "--as", "sentinel").code == ExitCode.REFUSED
    assert console.run("approve", "sha256:12", "--reason", "x", "--as", "risk-1").code == ExitCode.USAGE
    assert console.run("approve", digest, "--reason", " ", "--as", "risk-1").code == ExitCode.USAGE
