"""Rollback is a way back and no way in: only to what the fleet was proved on, never past a quarantine, a gate or a held run."""

from __future__ import annotations

import pytest

from tests.sim.drive import ACTIVATE, ROLLING
from tests.support.console import Console
from tradeops.base.errors import ExitCode
from tradeops.contracts.flags import meaning_digest
from tradeops.contracts.manifest import Flag
from tradeops.contracts.status import Mark, MarkKind
from tradeops.deploy.journal import list_runs
from tradeops.deploy.quarantine import Quarantine

MEANING = "Routes retail orders to the new liquidity programme."
OFF = Flag("rlp-7", meaning_digest(MEANING))
ON = Flag(OFF.id, OFF.meaning, on=True)
GATED = "activate-flag"


def active(console: Console) -> list[str]:
    """The truth: hosts on which the flag is in force."""
    return [name for name, host in console.world.truth.items() if OFF.id in (host.identity().identity or pytest.fail()).flags]


def refused(console: Console, *words: str) -> str:
    """What it says where it refuses: with 9, and no process is another one afterwards."""
    pids = console.world.pids_now()
    said = console.run("rollback", *words)
    assert said.code == ExitCode.REFUSED, said
    assert console.world.pids_now() == pids
    return said.err


@pytest.fixture
def knowing(console: Console) -> Console:
    """Eight hosts on release 2, which knows the flag, off."""
    ledger = ("--flags", str(console.folder / "flags.json"))
    assert console.run("flags", "declare", OFF.id, "--meaning", MEANING, *ledger).code == ExitCode.PROVED
    assert console.run("deploy", console.new_release(2, flags=(OFF,))).code == ExitCode.PROVED
    return console


def held(console: Console) -> tuple[str, str]:
    """A flag's canary is held on h1: nothing went down its path. The run, and the release that it brought."""
    (console.folder / "slow.yml").write_text(ACTIVATE.text())
    release = console.new_release(3, flags=(ON,))
    console.world.truth["h1"].faults.add("path_unused")
    said = console.run("deploy", release, "--playbook", str(console.folder / "slow.yml"), "--json")
    assert said.code == ExitCode.INCONCLUSIVE, said
    return said.document["run"], release


def test_what_lies_on_every_host_and_was_never_proved_is_no_way_back(console: Console) -> None:
    """D06: a release that failed was staged everywhere; neither in quarantine nor lifted from it does it pass by no gate."""
    release = console.new_release(2, version="broken")
    assert console.run("deploy", release).code == ExitCode.BROUGHT_BACK
    chosen = console.store.get(release).id
    assert all(chosen in host.releases for host in console.world.truth.values())
    assert "no run has proved this release on the whole fleet" in refused(console, "--to", release)
    Quarantine(console.folder / ".tradeops" / "quarantine").put(chosen, run="r1", why="gate failed on h1")
    assert "the release was rejected in run r1: gate failed on h1" in refused(console, "--to", release)
    assert console.run("releases", "lift", release, "--reason", "the venue was down").code == ExitCode.PROVED
    assert f"tradeops deploy {release}" in refused(console, "--to", release)
    assert len(console.trading()) == 8


def test_a_release_that_ran_and_was_rejected_since_is_no_way_back(console: Console) -> None:
    """D11: a quarantine holds whatever ran before, and a plain rollback; lifted with a reason, it is one command."""
    first = console.world.truth["h1"].runs() or pytest.fail()
    assert console.run("deploy", console.new_release(2)).code == ExitCode.PROVED
    Quarantine(console.folder / ".tradeops" / "quarantine").put(first, run="r1", why="gate failed on h1")
    assert "releases lift" in refused(console)
    assert console.run("releases", "lift", first, "--reason", "the venue was down").code == ExitCode.PROVED
    assert console.run("rollback").code == ExitCode.PROVED


def test_going_back_turns_no_flag_on(knowing: Console) -> None:
    """D06, D07: what the release before had on and this one has off would go on everywhere at once; an overlay keeps it off."""
    live = knowing.new_release(3, flags=(ON,))
    assert knowing.run("deploy", live, "--playbook", GATED).code == ExitCode.PROVED
    assert knowing.run("deploy", knowing.new_release(4, flags=(OFF,))).code == ExitCode.PROVED
    for words in ((), ("--to", live)):
        said = refused(knowing, *words)
        assert all(f"h{n}: rlp-7 would go on" in said for n in range(1, 9)) and "tradeops flags disable rlp-7" in said
    assert active(knowing) == []
    assert knowing.run("flags", "disable", "rlp-7", "--reason", "it misbehaved").code == ExitCode.PROVED
    assert knowing.run("rollback").code == ExitCode.PROVED
    assert {host.runs() for host in knowing.world.truth.values()} == {knowing.store.get(live).id}
    assert (active(knowing), len(knowing.trading())) == ([], 8)
    assert knowing.run("verify").code == ExitCode.PROVED


def test_a_flag_that_is_on_before_and_after_does_not_keep_anybody_from_going_back(knowing: Console) -> None:
    """D13: an ordinary rollback right after a bad deploy stays one command."""
    live = knowing.new_release(3, flags=(ON,))
    assert knowing.run("deploy", live, "--playbook", GATED).code == ExitCode.PROVED
    assert knowing.run("deploy", knowing.new_release(4, flags=(ON,))).code == ExitCode.PROVED
    assert knowing.run("rollback").code == ExitCode.PROVED
    assert (len(active(knowing)), len(knowing.trading())) == (8, 8)


def test_a_flag_does_not_go_on_where_one_host_has_it_off(knowing: Console) -> None:
    """D07: a mixed fleet: most hosts have it in force, and that is no proof for the others."""
    live = knowing.new_release(3, flags=(ON,))
    assert knowing.run("deploy", live, "--playbook", GATED).code == ExitCode.PROVED
    knowing.world.truth["h8"].tampered(knowing.store.get(knowing.new_release(4, flags=(OFF,))).id)
    said = refused(knowing, "--to", live)
    assert "h8: rlp-7 would go on" in said and "h7:" not in said


def test_a_failed_deploy_that_turned_a_flag_off_is_taken_back_with_the_flag(knowing: Console) -> None:
    """D13: that is no rollback: the fleet goes back to what it was proved on a moment ago."""
    assert knowing.run("deploy", knowing.new_release(3, flags=(ON,)), "--playbook", GATED).code == ExitCode.PROVED
    assert knowing.run("deploy", knowing.new_release(4, version="broken", flags=(OFF,))).code == ExitCode.BROUGHT_BACK
    assert len(active(knowing)) == 8


def test_one_person_takes_back_what_two_let_in(console: Console) -> None:
    """D15: approvals are of what comes in; who resumes a rollback that died is asked for none either."""
    (console.folder / "approved.yml").write_text(ROLLING.model_copy(update={"approvals": 1}).text())
    assert console.run("deploy", console.new_release(2)).code == ExitCode.PROVED
    assert console.run("rollback", "--playbook", str(console.folder / "approved.yml")).code == ExitCode.PROVED
    assert list_runs(console.folder / ".tradeops" / "runs")[-1].plan().approvals == 0


def test_while_a_run_is_held_it_is_aborted_and_nothing_is_rolled_back(knowing: Console) -> None:
    """D08: else its hold would be nobody's any more; what is printed leads out: the abort ends the hold, then rollback is open."""
    run, release = held(knowing)
    pids = knowing.world.pids_now()
    older = knowing.store.list()[0].id
    for words in ((), ("--to", older), ("--to", release)):
        said = knowing.run("rollback", *words)
        assert said.code == ExitCode.LOCKED and f"runs abort {run}" in said.err, said
    assert knowing.world.pids_now() == pids
    assert knowing.run("runs", "abort", run).code == ExitCode.PROVED
    assert (len(knowing.trading()), active(knowing)) == (8, [])
    said = knowing.run("rollback", "--json")
    assert (said.code, said.document["next"]) == (ExitCode.PROVED, None)
    assert {host.runs() for host in knowing.world.truth.values()} == {older}


def test_a_held_run_of_which_a_host_was_tampered_with_has_a_way_out(knowing: Console) -> None:
    """D08: neither abort nor rollback takes that host anywhere; without it the abort goes on, and then a deploy to all of them."""
    run, _ = held(knowing)
    by_hand = knowing.store.get(knowing.new_release(9, flags=(OFF,))).id
    knowing.world.truth["h4"].releases.add(by_hand)
    knowing.world.truth["h4"].tampered(by_hand)
    knowing.world.truth["h4"].slot.linked = by_hand
    said = knowing.run("runs", "abort", run)
    assert said.code == ExitCode.REFUSED and "runs abort RUN --exclude h4" in said.err
    assert knowing.run("runs", "abort", run, "--exclude", "h4", "--reason", "tampered with").code == ExitCode.MIXED
    said = knowing.run("deploy", knowing.new_release(10, flags=(OFF,)), "--json")
    assert said.code == ExitCode.PROVED, said
    assert said.document["title"].startswith("every one of 8 hosts proved; 1 may not trade")
    assert "tradeops permit --all" in said.document["next"]


@pytest.mark.parametrize(
    ("marks", "hosts", "next_"),
    [
        ((MarkKind.HALT,), ("h1", "h2"), "tradeops resume --host h1 --host h2 "),
        ((MarkKind.HOLD,), tuple(f"h{n}" for n in range(1, 9)), "tradeops resume --all "),
        ((MarkKind.HALT, MarkKind.KILL), ("h1",), "tradeops permit --all"),
    ],
)
def test_what_starts_trading_again_is_said_by_the_marks(
    console: Console, marks: tuple[MarkKind, ...], hosts: tuple[str, ...], next_: str
) -> None:
    """K06: after a rollback that is proved, whoever may not trade waits for one person, or for two."""
    assert console.run("deploy", console.new_release(2)).code == ExitCode.PROVED
    for name in hosts:
        for kind in marks:
            console.world.truth[name].guard.mark(Mark(kind, f"{kind}-1", "operator-2", "a look", 0))
    said = console.run("rollback", "--json")
    assert said.code == ExitCode.PROVED, said
    assert f"{len(hosts)} may not trade" in said.document["title"] and next_ in said.document["next"]
