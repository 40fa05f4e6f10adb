"""Approvals from the command line: by another person, of this plan, in time, once."""

from __future__ import annotations

import json
import os
from typing import Any

import msgspec
import pytest

from tests.sim.world import OperatorDied
from tests.support.console import Console, Said
from tradeops.base.errors import ExitCode
from tradeops.contracts.agent import AgentVerb
from tradeops.contracts.codec import decode
from tradeops.contracts.entitle import stored_policy
from tradeops.contracts.envelope import Envelope
from tradeops.release.policy import sign_policy
from tradeops.release.sign import signer_for


@pytest.fixture
def asked(console: Console) -> tuple[Console, str, str]:
    """A playbook that wants one approval: the console, a release, and its plan's digest."""
    (console.folder / "playbooks").mkdir(exist_ok=True)
    (console.folder / "playbooks" / "careful.yml").write_text("schema: tradeops/playbook/v1\nname: careful\napprovals: 1\n")
    release = console.new_release(2)
    return console, release, console.run("plan", release, "--playbook", "careful", "--json").document["digest"]


def write_policy(console: Console, **changes: Any) -> None:
    """The next policy, signed by operator-1."""
    path = console.folder / ".tradeops" / "policy.json"
    now = stored_policy(decode(path.read_bytes(), Envelope, source="policy"))
    after = msgspec.structs.replace(now, number=now.number + 1, **changes)
    sign_policy(after, [signer_for(str(console.folder / "operator-1"))], now, path)


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


def test_author_approver_and_executor_differ(asked: tuple[Console, str, str]) -> None:
    """D15: who signed the release neither approves its plan nor runs it where an approval is needed, unless the policy says so."""
    console, release, digest = asked
    console.run("approve", digest, "--reason", "read it", "--as", "risk-1")
    console.store.author = "operator-1"
    said = console.run("deploy", release, "--playbook", "careful")
    assert said.code == ExitCode.REFUSED and "author and executor differ" in said.err
    console.store.author = "risk-1"
    said = console.run("deploy", release, "--playbook", "careful")
    assert said.code == ExitCode.REFUSED and "their own release" in said.err
    assert console.run("deploy", release).code == ExitCode.PROVED


def test_who_carries_an_approved_run_on_is_its_executor_too(asked: tuple[Console, str, str]) -> None:
    """D15: neither who approved its plan nor who built the release resumes it; they may abort it."""
    console, release, digest = asked
    console.run("approve", digest, "--reason", "read it", "--as", "risk-1")
    console.world.dies_at = AgentVerb.SWITCH
    with pytest.raises(OperatorDied):
        deploy(console, release)
    console.world.revive()
    run = console.run("runs", "list", "--json").document["runs"][0]["run"]
    said = console.run("runs", "resume", run, "--as", "risk-1")
    assert said.code == ExitCode.REFUSED and "approved the plan of this run" in said.err
    console.store.author = "operator-1"
    assert console.run("runs", "resume", run).code == ExitCode.REFUSED
    assert console.run("runs", "abort", run).code == ExitCode.PROVED


@pytest.mark.parametrize("author", ["operator-1", "risk-1"])
def test_a_policy_may_keep_two_duties_apart_and_want_an_approval_of_every_plan(console: Console, author: str) -> None:
    """D15: whoever built it, who approves does not deploy; a playbook does not lower what the policy wants."""
    write_policy(console, apart=("approver",), thresholds={"approve": 1})
    console.store.author = author
    release = console.new_release(2)
    said = console.run("deploy", release)
    assert said.code == ExitCode.REFUSED and "0 of 1 approvals" in said.err
    digest = console.run("plan", release, "--json").document["digest"]
    console.run("approve", digest, "--reason", "mine")
    assert "their own deploy" in console.run("deploy", release).err
    assert console.run("approve", digest, "--reason", "read it", "--as", "risk-1").code == ExitCode.PROVED
    assert console.run("deploy", release).code == ExitCode.PROVED


def test_a_plan_file_is_shown_before_it_is_signed_for(asked: tuple[Console, str, str]) -> None:
    """D15: the digest is reckoned from what the file holds; one that says otherwise, or of another fleet, is not signed for."""
    console, release, digest = asked
    written = console.run("plan", release, "--playbook", "careful", "--json").document
    path = console.folder / "plan.json"

    def approve(**changes: object) -> Said:
        path.write_text(json.dumps(written | changes))
        return console.run("approve", str(path), "--reason", "read it", "--as", "risk-1")

    other = written["plan"] | {"release": "sha256:" + "e" * 64}
    said = approve(plan=other)
    assert said.code == ExitCode.REFUSED and "what it holds" in said.err
    assert approve(plan=written["plan"] | {"fleet": "another"}).code == ExitCode.USAGE
    assert approve(plan="x").code == ExitCode.USAGE
    said = approve()
    assert said.code == ExitCode.PROVED and digest in said.out
    assert release in said.err and "h8" in said.err
    assert deploy(console, release) == ExitCode.PROVED


def test_a_plan_that_does_not_add_up_is_not_signed_for(asked: tuple[Console, str, str]) -> None:
    """D15: nothing that no deploy could have drawn is shown to a person as a plan; nor is a file that is none."""
    console, release, _ = asked
    plan = console.run("plan", release, "--playbook", "careful", "--json").document["plan"]
    path = console.folder / "plan.json"

    def approve() -> Said:
        return console.run("approve", str(path), "--reason", "read it", "--as", "risk-1")

    first, *others = plan["hosts"]
    step, *steps = plan["steps"]
    wrong: list[dict[str, Any]] = [
        {"hosts": []},
        {"steps": []},
        {"hosts": [], "steps": []},
        {"hosts": [first | {"wave": -1}, *others]},
        {"hosts": [first | {"wave": 99}, *others]},
        {"hosts": [first, first, *others]},
        {"hosts": others},
        {"steps": steps},
        {"steps": [step | {"reached": []}, *steps]},
        {"steps": [step | {"bake_s": -1.0}, *steps]},
        {"steps": [step | {"cap_ppm": 2_000_000}, *steps]},
        {"bytes_new": -5},
        {"release": "sha256:12"},
        {"release": plan["release"] + "\n"},
    ]
    for changes in wrong:
        path.write_text(json.dumps({"plan": plan | changes}))
        said = approve()
        assert said.code == ExitCode.USAGE and str(path) in said.err, (changes, said.err)
    path.unlink()
    os.mkfifo(path)
    assert approve().code == ExitCode.USAGE
    path.unlink()
    with path.open("wb") as file:
        file.truncate(17 << 20)
    assert approve().code == ExitCode.USAGE
    assert not list((console.folder / ".tradeops" / "approvals").glob("*"))


def test_only_who_may_approve_does(asked: tuple[Console, str, str]) -> None:
    """The policy says who; a digest is a digest; a reason is kept."""
    console, _, digest = asked
    assert console.run("approve", digest, "--reason", "x", "--as", "sentinel").code == ExitCode.REFUSED
    assert console.run("approve", "sha256:12", "--reason", "x", "--as", "risk-1").code == ExitCode.USAGE
    assert console.run("approve", digest, "--reason", " ", "--as", "risk-1").code == ExitCode.USAGE
