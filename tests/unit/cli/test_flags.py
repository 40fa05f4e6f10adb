"""Flags through the command line, over a simulated fleet: turned off at once everywhere, retired for good, shown by release and host."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.sim.drive import BLUE_GREEN
from tests.sim.world import OperatorDied
from tests.support.console import Console, Said, SimStore
from tradeops.base.errors import ExitCode
from tradeops.cli.app import run
from tradeops.cli.render import Printer
from tradeops.contracts.flags import meaning_digest
from tradeops.contracts.manifest import Flag
from tradeops.deploy.deploy import deploy
from tradeops.deploy.ending import Ending
from tradeops.record.chain import read_rows

SERVICE = """\
service: hello
version: "1.0"
start: {argv: ["{python}", main.py]}
identity: /identity
health: /health
port: 8080
flags: [{id: rlp-7, meaning: "%s"}]
"""
MEANING = "Routes retail orders to the new liquidity programme."
RLP, OFF = Flag("rlp-7", meaning_digest(MEANING), on=True), Flag("rlp-7", meaning_digest(MEANING))


@pytest.fixture
def live(console: Console) -> Console:
    """Eight hosts on release 3, which turns the flag on that release 2 knew."""
    ledger = ("--flags", str(console.folder / "flags.json"))
    assert console.run("flags", "declare", "rlp-7", "--meaning", MEANING, *ledger).code == ExitCode.PROVED
    assert console.run("deploy", console.new_release(2, flags=(OFF,))).code == ExitCode.PROVED
    assert console.run("deploy", console.new_release(3, flags=(RLP,)), "--playbook", "activate-flag").code == ExitCode.PROVED
    return console


def active(console: Console) -> list[str]:
    """The truth: hosts on which the flag is in force."""
    return [name for name, host in console.world.truth.items() if RLP.id in (host.status().vitals or pytest.fail()).identity.flags]


def test_a_flag_is_turned_off_everywhere_at_once_and_stays_off(live: Console) -> None:
    """D06: by one person, recorded before the act, read back from every trader; and a deploy in passing does not turn it on again."""
    said = live.run("flags", "disable", "rlp-7", "--reason", "drill", "--json")
    assert (said.code, said.document["overlay"], len(said.document["hosts"])) == (ExitCode.PROVED, 1, 8)
    assert active(live) == []
    rows = [(row.verb, row.kind.value, row.result) for row in read_rows(live.folder / ".tradeops" / "audit.jsonl")]
    assert rows[rows.index(("flags-disable", "intent", "")) :][:4] == [
        ("flags-disable", "intent", ""),
        ("overlay", "intent", ""),
        ("overlay", "outcome", "done"),
        ("flags-disable", "outcome", "done"),
    ]
    assert live.run("verify").code == ExitCode.PROVED
    assert live.run("deploy", live.new_release(4, flags=(RLP,))).code == ExitCode.PROVED
    assert active(live) == []


def test_a_release_that_names_the_overlay_turns_the_flag_on_again(live: Console) -> None:
    """D06: through the waves of a release; and the next overlay is not ended by it."""
    live.run("flags", "disable", "rlp-7", "--reason", "drill")
    again = Flag(RLP.id, RLP.meaning, on=True, ends=1)
    assert live.run("deploy", live.new_release(4, flags=(again,)), "--playbook", "activate-flag").code == ExitCode.PROVED
    assert len(active(live)) == 8
    assert live.run("flags", "disable", "rlp-7", "--reason", "again").code == ExitCode.PROVED
    assert active(live) == []


@pytest.mark.parametrize("fault", ["guard_dead", "guard_hang", "trader_deaf"])
def test_hosts_on_which_a_flag_is_not_off_are_named(live: Console, fault: str) -> None:
    """Exit 6: a guard that does not answer and a trader that does not read are not success; asked again, it is sent again."""
    live.world.truth["h8"].faults.add(fault)
    said = live.run("flags", "disable", "rlp-7", "--reason", "drill")
    assert said.code == ExitCode.MIXED
    assert "h8" in said.err and "h7:" not in said.err
    live.world.truth["h8"].faults.clear()
    assert live.run("flags", "disable", "rlp-7", "--reason", "drill").code == ExitCode.PROVED
    assert active(live) == []


def test_an_overlay_that_every_guard_refuses_is_a_refusal(live: Console) -> None:
    """Exit 9: overlays of nobody's are newer than ours; what was refused everywhere is not kept here."""
    for host in live.world.truth.values():
        host.overlay = 7
    assert live.run("flags", "disable", "rlp-7", "--reason", "drill").code == ExitCode.REFUSED
    assert not list((live.folder / ".tradeops" / "overlays").glob("*"))


def test_a_machine_that_never_saw_the_overlay_learns_of_it_from_the_hosts(live: Console) -> None:
    """D06: another operator turned it off; plan, verify and the matrix say whose word that is, and the deploy keeps it here."""
    live.run("flags", "disable", "rlp-7", "--reason", "drill")
    new = live.new_release(4, flags=(RLP,))
    listed = ("flags", "list", "--flags", str(live.folder / "flags.json"))
    before = live.run(*listed).out
    kept = live.folder / ".tradeops" / "overlays" / "1.json"
    signed = kept.read_bytes()
    kept.unlink()
    for command in (("verify",), ("plan", new)):
        said = live.run(*command)
        assert said.code == ExitCode.PROVED
        assert "overlay 1, signed by operator-1, is in force on 8 hosts and was not here" in said.out
    assert live.run(*listed).out == before
    assert not kept.exists()
    assert live.run("deploy", new).code == ExitCode.PROVED
    assert (kept.read_bytes(), active(live)) == (signed, [])


def test_a_machine_that_never_saw_the_overlay_lays_the_next_one_on_top(live: Console) -> None:
    """D05, D06: what another operator turned off stays off, and is retired from here too."""
    live.run("flags", "disable", "rlp-7", "--reason", "drill")
    kept = live.folder / ".tradeops" / "overlays"
    (kept / "1.json").unlink()
    other = Flag("other-1", meaning_digest(MEANING))
    live.new_release(4, flags=(RLP, other))
    said = live.run("flags", "disable", "other-1", "--reason", "drill", "--json")
    assert (said.code, said.document["overlay"]) == (ExitCode.PROVED, 2)
    assert {host.overlay for host in live.world.truth.values()} == {2} and active(live) == []
    assert live.run("deploy", live.new_release(5)).code == ExitCode.PROVED
    (kept / "2.json").unlink()
    said = live.run("flags", "retire", "rlp-7", "--flags", str(live.folder / "flags.json"), "--json")
    assert (said.code, said.document["overlay"]) == (ExitCode.PROVED, 3)
    assert live.run("verify").code == ExitCode.PROVED


def test_who_may_not_and_what_nobody_knows(live: Console) -> None:
    """A person without the right leaves nothing behind; a mistyped id is no success."""
    assert live.run("flags", "disable", "rlp-7", "--reason", "drill", "--as", "risk-1").code == ExitCode.REFUSED
    assert not list((live.folder / ".tradeops" / "overlays").glob("*"))
    assert live.run("flags", "disable", "rlp-8", "--reason", "drill").code == ExitCode.USAGE
    assert len(active(live)) == 8


def test_a_flag_is_retired_only_when_no_host_runs_it(live: Console) -> None:
    """D05: refused while a release that runs carries it or a host is not heard; then a tombstone in the ledger and on every host."""
    ledger = ("--flags", str(live.folder / "flags.json"))
    refused = live.run("flags", "retire", "rlp-7", *ledger)
    assert refused.code == ExitCode.REFUSED
    assert "carries it" in refused.err
    assert live.run("deploy", live.new_release(4)).code == ExitCode.PROVED
    live.world.truth["h4"].faults.add("guard_dead")
    assert "h4: does not answer" in live.run("flags", "retire", "rlp-7", *ledger).err
    live.world.truth["h4"].faults.clear()
    assert live.run("flags", "retire", "rlp-7", *ledger).code == ExitCode.PROVED
    assert all(host.flags_retired == ("rlp-7",) for host in live.world.truth.values())
    assert live.run("flags", "retire", "rlp-7", *ledger).code == ExitCode.REFUSED
    assert live.run("flags", "declare", "rlp-7", "--meaning", "Something else altogether.", *ledger).code == ExitCode.REFUSED


def test_a_tombstone_in_the_ledger_is_brought_to_a_fleet_that_has_not_heard(live: Console) -> None:
    """D05: the ledger is the service's, overlays are the fleet's: each fleet is told by its own command."""
    ledger = live.folder / "flags.json"
    live.run("deploy", live.new_release(4))
    assert live.run("flags", "retire", "rlp-7", "--flags", str(ledger)).code == ExitCode.PROVED
    for overlay in (live.folder / ".tradeops" / "overlays").iterdir():
        overlay.unlink()
    for host in live.world.truth.values():
        host.overlay, host.flags_retired = 0, ()
    assert live.run("flags", "retire", "rlp-7", "--flags", str(ledger)).code == ExitCode.PROVED
    assert live.world.truth["h1"].flags_retired == ("rlp-7",)


def retire(live: Console) -> Said:
    return live.run("flags", "retire", "rlp-7", "--flags", str(live.folder / "flags.json"))


def test_what_carries_a_tombstone_is_refused_before_a_host_is_touched(live: Console) -> None:
    """D05: by plan, deploy and rollback, whatever the release means by the id and though it is off; exit 9 names release and flag."""
    assert live.run("deploy", live.new_release(4)).code == ExitCode.PROVED
    assert retire(live).code == ExitCode.PROVED
    pids = live.world.pids_now()
    known, reused = live.new_release(5, flags=(OFF,)), live.new_release(6, flags=(Flag("rlp-7", meaning_digest("Something else.")),))
    before = live.new_release(3, flags=(RLP,))
    for words in (("plan", known), ("deploy", known), ("plan", reused), ("deploy", reused), ("rollback",), ("rollback", "--to", before)):
        said = live.run(*words)
        assert said.code == ExitCode.REFUSED, words
        assert "carries what is retired on this fleet: flag rlp-7" in said.err, words
        assert (words[-1] if len(words) > 1 else before) in said.err
    assert live.world.pids_now() == pids
    assert live.run("verify").code == ExitCode.PROVED


def test_the_tombstones_of_another_machine_count_too(live: Console) -> None:
    """D05: the one that laid the overlay was not this one."""
    assert live.run("deploy", live.new_release(4)).code == ExitCode.PROVED
    assert retire(live).code == ExitCode.PROVED
    (live.folder / ".tradeops" / "overlays" / "1.json").unlink()
    assert "flag rlp-7" in live.run("deploy", live.new_release(5, flags=(OFF,))).err


def test_a_build_says_that_the_fleet_will_not_take_it(live: Console, tmp_path: Path) -> None:
    """D05: another service's ledger may know nothing of this fleet's tombstones; the release may be for another fleet."""
    assert live.run("deploy", live.new_release(4)).code == ExitCode.PROVED
    assert retire(live).code == ExitCode.PROVED
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "main.py").write_text("print('hello')\n")
    (folder / "service.yml").write_text(SERVICE % MEANING)
    assert live.run("flags", "declare", "rlp-7", "--meaning", MEANING, "--flags", str(folder / "flags.json")).code == ExitCode.PROVED
    out = io.StringIO()
    front = ["--fleet", str(live.folder / "fleet.yml"), "--json", "--as", "operator-1"]
    assert run([*front, "build", str(folder)], Printer(as_json=True, out=out, err=out)) is ExitCode.PROVED, out.getvalue()
    assert "flag rlp-7 is retired on fleet sim: no deploy there takes this release" in json.loads(out.getvalue())["remarks"]


def in_turns(live: Console, release: str) -> Ending:
    """Blue-green, with gates that see samples."""
    site = dataclasses.replace(live.world.site(), runs=live.folder / ".tradeops" / "runs")
    return deploy(site, live.store.get(release).id, BLUE_GREEN)


def test_a_flag_is_not_retired_while_a_warm_slot_needs_it(live: Console) -> None:
    """D05, D13: the way back of a run that waits is not destroyed in passing; it is there, and when the run is over, the flag may go."""
    said: list[Said] = []
    live.world.when("end-standby", lambda: said.append(retire(live)))
    assert in_turns(live, live.new_release(4)).exit_code == ExitCode.PROVED
    (refused,) = said
    assert refused.code == ExitCode.REFUSED
    assert all(f"h{n}: keeps standing by" in refused.err for n in range(1, 9)) and "may go back to" in refused.err
    assert all(host.flags_retired == () for host in live.world.truth.values())
    assert retire(live).code == ExitCode.PROVED


def test_a_flag_is_not_retired_while_an_open_run_could_go_back_to_it(live: Console) -> None:
    """D05, D13: whoever ran it died, and the old slots with them: `runs abort` would start them again."""
    live.world.when("end-standby", live.world.die)
    with pytest.raises(OperatorDied):
        in_turns(live, live.new_release(4))
    live.world.revive()
    for host in live.world.truth.values():
        host.beside.process = None
    refused = retire(live)
    assert refused.code == ExitCode.REFUSED
    assert "may go back to" in refused.err and "h1: " not in refused.err and "let that run end" in refused.err
    assert live.run("rollback").code == ExitCode.PROVED
    assert len(live.trading()) == 8 and len(active(live)) == 8


def test_a_rollback_that_cannot_be_names_the_release_and_those_that_could(live: Console) -> None:
    """D13: what the fleet ran before was pruned on some hosts, and hosts have what this machine never saw."""
    assert live.run("deploy", live.new_release(4)).code == ExitCode.PROVED
    before, older, first = live.new_release(3, flags=(RLP,)), live.new_release(2, flags=(OFF,)), live.new_release(1)
    live.store = SimStore(dict(live.world.manifests))
    elsewhere = live.world.release(1, version="elsewhere")
    for host in live.world.truth.values():
        host.releases.add(elsewhere)
    for name in ("h2", "h5"):
        live.world.truth[name].releases.discard(live.store.get(before).id)
    said = live.run("rollback")
    assert said.code == ExitCode.REFUSED
    assert f"release {before} is not whole on 2 hosts" in said.err and "h2, h5" in said.err
    assert f"whole on every host: {older}, {first}; or build" in said.err
    assert live.run("rollback", "--to", older).code == ExitCode.PROVED


def test_flags_are_shown_by_release_and_host(live: Console) -> None:
    """Which release makes what of it, where it is in force now, and who does not answer."""
    live.world.truth["h8"].faults.add("guard_dead")
    said = live.run("flags", "list", "--flags", str(live.folder / "flags.json"), "--json").document
    flag = said["flags"][0]
    assert list(flag["releases"].values()) == ["on", "off", "unknown"]
    assert flag["active_on"] == [f"h{n}" for n in range(1, 8)]
    assert said["silent"] == ["h8"]


@pytest.fixture
def dark(console: Console) -> Console:
    """Eight hosts on release 2, which knows the flag and has it off."""
    assert console.run("deploy", console.new_release(2, flags=(OFF,))).code == ExitCode.PROVED
    return console


def test_activate_makes_a_release_that_differs_by_the_flag_alone_and_brings_it(dark: Console) -> None:
    """D06, D07: proved first, through the playbook's canary; asked again, there is nothing left to turn on."""
    said = dark.run("flags", "activate", "rlp-7", "--json")
    assert (said.code, said.document["schema"]) == (ExitCode.PROVED, "tradeops/flags-activate/v1")
    assert len(active(dark)) == 8
    before, after = (dark.store.manifest(release).predicate for release in list(dark.world.manifests)[-2:])
    assert (after.files, after.limits, after.previous) == (before.files, before.limits, list(dark.world.manifests)[-2])
    assert [flag.on for flag in after.flags] == [True]
    assert dark.run("flags", "activate", "rlp-7").code == ExitCode.REFUSED
    assert dark.run("verify").code == ExitCode.PROVED


def test_what_an_overlay_turned_off_is_activated_by_naming_it(live: Console) -> None:
    """D06: the release ends that overlay by its number; the next emergency stop works as the first."""
    for number in (1, 2):
        assert live.run("flags", "disable", "rlp-7", "--reason", "drill").code == ExitCode.PROVED
        assert active(live) == []
        assert live.run("flags", "activate", "rlp-7").code == ExitCode.PROVED
        assert len(active(live)) == 8
        assert list(live.world.manifests.values())[-1].predicate.flags == (Flag(RLP.id, RLP.meaning, on=True, ends=number),)


def test_activate_is_refused_without_parity_and_that_is_recorded(dark: Console) -> None:
    """D06, D07: a host that drifted, one that does not answer, a flag that nobody there knows: exit 9, nothing made."""
    dark.world.truth["h8"].faults.add("flipped_byte")
    said = dark.run("flags", "activate", "rlp-7")
    assert said.code == ExitCode.REFUSED
    assert "h8: files" in said.err
    dark.world.truth["h8"].faults = {"ssh_refused"}
    assert "h8: agent answers" in dark.run("flags", "activate", "rlp-7").err
    dark.world.truth["h8"].faults.clear()
    assert dark.run("flags", "activate", "power-peg").code == ExitCode.REFUSED
    assert active(dark) == []
    assert len(dark.world.manifests) == 2
    rows = [(row.verb, row.result) for row in read_rows(dark.folder / ".tradeops" / "audit.jsonl")]
    assert rows.count(("flags-activate", "Refused")) == 3


def test_activation_can_be_planned_and_approved_like_any_release(dark: Console) -> None:
    """D15: the release is made and signed, and goes the way of all; asked for again, it is the same one."""
    made = dark.run("flags", "activate", "rlp-7", "--build-only", "--json").document
    assert active(dark) == []
    assert dark.run("flags", "activate", "rlp-7", "--build-only", "--json").document["release"] == made["release"]
    plan = dark.run("plan", made["release"], "--playbook", "activate-flag", "--json").document
    assert plan["plan"]["turns_on"] == ["rlp-7"]
    words = ("deploy", made["release"], "--playbook", "activate-flag", "--plan", plan["digest"])
    assert dark.run(*words).code == ExitCode.PROVED
    assert len(active(dark)) == 8


def test_a_tombstone_is_not_activated(live: Console) -> None:
    """D05: not even where a release still knows the flag."""
    ledger = ("--flags", str(live.folder / "flags.json"))
    assert live.run("deploy", live.new_release(4)).code == ExitCode.PROVED
    assert live.run("flags", "retire", "rlp-7", *ledger).code == ExitCode.PROVED
    assert "retired" in live.run("flags", "activate", "rlp-7").err
    assert live.run("flags", "activate", "rlp-7", "--as", "risk-1").code == ExitCode.REFUSED


def test_a_canary_that_failed_is_told_to_ci(dark: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JUnit and summary: the step that failed on the canary, beside every step that did not, and every host's end."""
    monkeypatch.setenv("TRADEOPS_JUNIT", str(tmp_path / "junit.xml"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    dark.world.truth["h1"].faults.add("feed_dead")
    said = dark.run("flags", "activate", "rlp-7")
    assert said.code not in (ExitCode.PROVED, ExitCode.INCONCLUSIVE)
    suites = {suite.get("name"): suite for suite in ElementTree.parse(tmp_path / "junit.xml").getroot()}
    assert suites["parity"].get("failures") == "0"
    (failed,) = suites["smoke"].findall("testcase/failure")
    assert "feed" in ElementTree.tostring(failed, encoding="unicode")
    assert len(suites["end"].findall("testcase")) == 8
    assert f"exit code {int(said.code)}" in (tmp_path / "summary.md").read_text()


def test_a_path_that_nothing_went_down_is_told_to_ci(dark: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D07: held without a verdict is a failure of the job, with the way on."""
    monkeypatch.setenv("TRADEOPS_JUNIT", str(tmp_path / "junit.xml"))
    dark.world.truth["h1"].faults.add("path_unused")
    assert dark.run("flags", "activate", "rlp-7").code == ExitCode.INCONCLUSIVE
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    (failed,) = root.findall("testsuite/testcase/failure")
    assert "exit code 5. no verdict: nothing went down the path" in (failed.text or "")
    assert "next: `tradeops runs resume" in (failed.text or "")
    (held,) = root.findall("testsuite[@name='end']/testcase[@name='h1']/error")
    assert "nothing went down the path" in (held.text or "")
    assert len(root.findall("testsuite[@name='end']/testcase/skipped")) == 7


def test_a_trader_that_halts_itself_is_an_open_finding(live: Console) -> None:
    """D05: verify ends 10 with the trader's own words, status counts it as not trading; an unknown word is not a good one."""
    live.world.truth["h3"].flags_retired = (RLP.id,)
    said = live.run("verify", "--json")
    assert said.code == ExitCode.DRIFT and said.document["hosts"][0]["host"] == "h3"
    odd = [finding for finding in said.document["hosts"][0]["findings"] if finding["verdict"] != "yes"]
    assert [finding["detail"] for finding in odd] == ["halted: flags: flag rlp-7 is a tombstone"]
    assert [host["ok"] for host in said.document["hosts"]] == [False] + [True] * 7
    assert "7 of 8 hosts trade" in live.run("status").out
