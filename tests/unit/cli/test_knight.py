"""1 August 2012 once more (SEC 34-70694), by the tool's own commands over a simulated fleet: refused at every door, and stopped."""

from __future__ import annotations

import dataclasses

import pytest

from tests.sim.drive import force_deploy
from tests.support.console import Console
from tradeops.base.errors import ExitCode
from tradeops.contracts.flags import meaning_digest
from tradeops.contracts.manifest import Flag

POWER_PEG = "Sends child orders until the parent is filled, without counting fills."
RLP = "Routes retail orders to the new liquidity programme."
OLD = Flag("smars-7", meaning_digest(POWER_PEG))
REUSED = Flag("smars-7", meaning_digest(RLP))


def ledger(console: Console) -> tuple[str, str]:
    return ("--flags", str(console.folder / "flags.json"))


def left_on(console: Console, host: str, release: str) -> None:
    """By hand, behind the tool's back: the host's slot and its process are another release's."""
    truth = console.world.truth[host]
    assert truth.process is not None
    truth.releases.add(release)
    truth.slot.linked, truth.slot.process = release, dataclasses.replace(truth.process, release=release)


def in_force(console: Console) -> dict[str, str]:
    """The truth: host -> meaning by which the flag is in force there."""
    identities = {name: host.identity().identity for name, host in console.world.truth.items()}
    return {name: one.flags["smars-7"] for name, one in identities.items() if one and "smars-7" in one.flags}


@pytest.fixture
def smars(console: Console) -> Console:
    """Eight routers that know the flag by its old meaning, off since 2003."""
    assert console.run("flags", "declare", "smars-7", "--meaning", POWER_PEG, *ledger(console)).code == ExitCode.PROVED
    assert console.run("deploy", console.new_release(2, flags=(OLD,))).code == ExitCode.PROVED
    return console


def test_an_old_flag_gets_no_new_meaning(smars: Console) -> None:
    """D05: neither in the ledger, alive or buried, nor, with the ledger forged, on any host."""
    again = ("flags", "declare", "smars-7", "--meaning", RLP, *ledger(smars))
    assert smars.run(*again).code == ExitCode.REFUSED
    (smars.folder / "flags.json").unlink()
    assert smars.run(*again).code == ExitCode.PROVED
    refused = smars.run("deploy", smars.new_release(3, flags=(REUSED,)))
    assert refused.code == ExitCode.REFUSED
    assert "another meaning than what runs now" in refused.err
    assert in_force(smars) == {}


def test_a_server_that_was_left_out_is_named_and_the_deploy_fails(smars: Console) -> None:
    """D01, D02: the copy that reports success and writes nothing, the switch that switches nothing: never exit 0, host 8 by name."""
    new = Flag("rlp-9", meaning_digest(RLP))
    for fault in ("lying_copy", "lying_switch"):
        smars.world.truth["h8"].faults = {fault}
        said = smars.run("deploy", smars.new_release(3, flags=(OLD, new)))
        assert said.code != ExitCode.PROVED
        assert "h8" in said.out + said.err


def test_a_flag_does_not_go_on_beside_a_server_on_old_code(smars: Console) -> None:
    """D07: the eighth server was left on the release before; every way to turn the flag on names it and does nothing."""
    new = Flag("rlp-9", meaning_digest(RLP))
    before = smars.new_release(2, flags=(OLD,))
    assert smars.run("deploy", smars.new_release(3, flags=(OLD, new))).code == ExitCode.PROVED
    made = smars.run("flags", "activate", "rlp-9", "--build-only", "--json").document["release"]
    left_on(smars, "h8", smars.store.get(before).id)
    for command in (("flags", "activate", "rlp-9"), ("deploy", made, "--playbook", "activate-flag")):
        said = smars.run(*command)
        assert said.code == ExitCode.REFUSED
        assert "h8" in said.err
    assert smars.run("verify").code == ExitCode.DRIFT
    assert all("rlp-9" not in (host.identity().identity or pytest.fail()).flags for host in smars.world.truth.values())


def test_the_bad_state_forced_by_hand_is_named_not_worsened_and_ended(smars: Console) -> None:
    """D13: the reused flag is on, host 8 runs Power Peg: it is told first, going back is refused, the kill ends it."""
    old = smars.new_release(2, flags=(OLD,))
    reused = smars.world.release(3, flags=(Flag(REUSED.id, REUSED.meaning, on=True),))
    assert force_deploy(smars.world, reused).exit_code == ExitCode.PROVED
    power_peg = smars.world.release(2, version="by-hand", flags=(Flag(OLD.id, OLD.meaning, on=True),))
    left_on(smars, "h8", power_peg)
    assert in_force(smars) == {**dict.fromkeys([f"h{n}" for n in range(1, 8)], REUSED.meaning), "h8": OLD.meaning}
    for command in ("status", "verify"):
        said = smars.run(command, "--json").document
        assert said["hosts"][0]["host"] == "h8", command
    pids = smars.world.pids_now()
    refused = smars.run("rollback", "--to", old)
    assert refused.code == ExitCode.REFUSED
    assert all(f"h{n}: smars-7 is active" in refused.err for n in range(1, 8))
    assert "means something else to the target" in refused.err
    assert smars.world.pids_now() == pids
    killed = smars.run("kill-switch", "--all", "--reason", "Power Peg", "--json")
    assert killed.code == ExitCode.PROVED
    assert len(killed.document["hosts"]) == 8
    assert smars.trading() == []
    assert smars.run("rollback", "--to", old).code == ExitCode.REFUSED
    assert smars.run("flags", "disable", "smars-7", "--reason", "Power Peg").code == ExitCode.PROVED
    assert in_force(smars) == {}
    assert smars.run("rollback", "--to", old).code == ExitCode.PROVED
    assert smars.run("verify").code == ExitCode.PROVED
    assert smars.trading() == []
