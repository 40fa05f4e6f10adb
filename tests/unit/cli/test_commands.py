"""The commands, from words to words, over a simulated fleet: exit codes, documents, and what is left true."""

from __future__ import annotations

import pytest
import yaml

from tests.sim.host import SimHost
from tests.sim.world import FLEET
from tests.support.console import Console
from tradeops.base.errors import ExitCode
from tradeops.contracts.roster import SCHEMA as ROSTER_SCHEMA
from tradeops.contracts.roster import Roster, RosterHost
from tradeops.contracts.signature import RunKey
from tradeops.fleet.roster import sign_roster
from tradeops.release.sign import signer_for


def test_deploy_tells_every_host_and_the_run(console: Console) -> None:
    """D01: eight proved, in one JSON document; progress on stderr."""
    said = console.run("deploy", console.new_release(2), "--json")
    assert said.code == ExitCode.PROVED
    assert said.document["schema"] == "tradeops/deploy/v1"
    assert len(said.document["hosts"]) == 8
    assert all(host["release"] == said.document["hosts"][0]["release"] for host in said.document["hosts"])
    assert said.document["run"] in said.err
    assert "h8" in said.err


def test_a_host_that_cannot_be_reached_is_named_and_nothing_is_touched(console: Console) -> None:
    """D01: exit 3."""
    console.world.truth["h8"].faults.add("ssh_refused")
    before = console.world.pids_now()
    said = console.run("deploy", console.new_release(2))
    assert said.code == ExitCode.PREFLIGHT
    assert "h8" in said.err
    assert console.world.pids_now() == before


def test_a_release_that_does_not_come_up_is_brought_back(console: Console) -> None:
    """Exit 11, and the cause is told."""
    said = console.run("deploy", console.new_release(2, version="broken"))
    assert said.code == ExitCode.BROUGHT_BACK
    assert "h1" in said.out
    assert len(console.trading()) == 8


def test_a_plan_binds(console: Console) -> None:
    """D15: the digest printed by `plan` is taken by `deploy`, another one is not."""
    release = console.new_release(2)
    plan = console.run("plan", release, "--json").document
    assert [host["wave"] for host in plan["hosts"]] == [1, 2, 2, 3, 3, 4, 4, 5]
    assert console.run("deploy", release, "--plan", "sha256:0").code == ExitCode.REFUSED
    assert console.run("deploy", release, "--plan", plan["digest"]).code == ExitCode.PROVED


def test_rollback_ends_0_when_proved(console: Console) -> None:
    """Back to the release before, found in the journals."""
    assert console.run("rollback").code == ExitCode.USAGE
    console.run("deploy", console.new_release(2))
    said = console.run("rollback", "--json")
    assert said.code == ExitCode.PROVED
    assert said.document["hosts"][0]["release"] in console.world.manifests


def test_runs_are_listed_and_shown(console: Console) -> None:
    """Each with its ending."""
    listed = console.run("runs", "list", "--json").document
    run = listed["runs"][0]["run"]
    shown = console.run("runs", "show", run)
    assert "proved" in shown.out
    assert "finish" in shown.out
    assert console.run("runs", "show", "no-such").code == ExitCode.USAGE
    assert console.run("runs", "show", "../..").code == ExitCode.USAGE


def test_abort_of_a_run_that_ended_well_is_refused(console: Console) -> None:
    """Only of one that is open: one that ended well is refused, and nothing is touched."""
    console.run("deploy", console.new_release(2))
    run = console.run("runs", "list", "--json").document["runs"][0]["run"]
    said = console.run("runs", "abort", run)
    assert said.code == ExitCode.REFUSED
    assert "tradeops rollback" in said.err


def test_verify_names_the_odd_host_first(console: Console) -> None:
    """D03: exit 10 for a changed file, 6 for a host that does not answer."""
    assert console.run("verify").code == ExitCode.PROVED
    console.world.truth["h5"].faults.add("flipped_byte")
    said = console.run("verify", "--json")
    assert said.code == ExitCode.DRIFT
    assert said.document["hosts"][0]["host"] == "h5"
    assert "h5" in console.run("verify").out
    console.world.truth["h2"].faults.add("ssh_hang")
    assert console.run("verify").code == ExitCode.MIXED


def test_verify_needs_no_key(console: Console) -> None:
    """Looking is free for whoever has the fleet's state."""
    assert console.run("verify", "--as", "nobody").code == ExitCode.PROVED


def test_status_counts_and_names(console: Console) -> None:
    """The host that does not answer stands first; exit 6."""
    assert console.run("status").out.startswith("8 of 8 hosts trade")
    console.world.truth["h3"].faults.add("guard_dead")
    said = console.run("status", "--json")
    assert said.code == ExitCode.MIXED
    assert said.document["hosts"][0]["host"] == "h3"
    assert said.document["hosts"][0]["trading"] is None


@pytest.mark.parametrize("command", ["verify", "status"])
def test_watching_is_no_document(console: Console, command: str) -> None:
    """--watch never ends and --json is one document."""
    assert console.run(command, "--watch", "--json").code == ExitCode.USAGE


def test_the_kill_stops_everything_and_is_recorded(console: Console) -> None:
    """K05, A01: one person, every host; the intent lies before the outcome; every host is a witness."""
    said = console.run("kill-switch", "--all", "--reason", "drill", "--as", "risk-1", "--json")
    assert said.code == ExitCode.PROVED
    assert said.document["blocked"] == said.document["declared"] == 8
    assert console.trading() == []
    rows = console.run("audit", "show", "--verb", "kill", "--json").document["rows"]
    assert [(row["kind"], row["actor"]) for row in rows] == [("intent", "risk-1"), ("outcome", "risk-1")]
    assert console.run("audit", "verify").code == ExitCode.PROVED


def test_a_kill_that_does_not_reach_a_host_is_not_done(console: Console) -> None:
    """Promise 3: exit 8, the host and what to do now."""
    console.world.truth["h4"].faults.add("ssh_hang")
    said = console.run("kill-switch", "--all", "--reason", "drill", "--deadline", "3")
    assert said.code == ExitCode.KILL_INCOMPLETE
    assert said.out.startswith("7 of 8 HOSTS BLOCKED")
    assert "h4: repeat the command; else reach h4 by its console" in said.out


def test_a_kill_of_some_hosts_leaves_the_others(console: Console) -> None:
    """K01: by name and tag."""
    assert console.run("kill-switch", "--host", "h1", "--tag", "t0", "--reason", "drill").code == ExitCode.PROVED
    assert console.trading() == ["h3", "h5", "h7"]


@pytest.mark.parametrize("argv", [("--reason", "x"), ("--reason", "x", "--all", "--host", "h1"), ("--all",), ("--all", "--reason", " ")])
def test_a_kill_says_whom_and_why(console: Console, argv: tuple[str, ...]) -> None:
    """Nobody is stopped by leaving something out."""
    assert console.run("kill-switch", *argv).code == ExitCode.USAGE
    assert len(console.trading()) == 8


def test_a_kill_reaches_hosts_that_only_the_roster_knows(console: Console) -> None:
    """A host that was taken out of the fleet file still trades: the roster remembers it."""
    text = (console.folder / "fleet.yml").read_text().replace("hosts_declared: 8", "hosts_declared: 7")
    head, _, tail = text.partition("- address: 192.0.2.8")
    (console.folder / "fleet.yml").write_text(head + tail[tail.find("\nhosts_declared") :])
    said = console.run("kill-switch", "--all", "--reason", "drill", "--json")
    assert said.document["declared"] == 8
    assert console.trading() == []


@pytest.mark.parametrize("change", ["dropped", "added", "moved"])
def test_a_fleet_file_that_is_not_the_signed_roster_is_refused(console: Console, change: str) -> None:
    """D01, K07: seven of eight hosts do not pass for the fleet by leaving one out of the file; the kill reaches all the same."""
    release = console.new_release(2)
    path = console.folder / "fleet.yml"
    fleet = yaml.safe_load(path.read_text())
    if change == "dropped":
        fleet["hosts"].pop()
    elif change == "added":
        key = RunKey.generate().public_line
        fleet["hosts"].append(fleet["hosts"][0] | {"name": "h9", "address": "192.0.2.9", "host_key": key})
    else:
        fleet["hosts"][7]["address"] = "192.0.2.99"
    fleet["hosts_declared"] = len(fleet["hosts"])
    path.write_text(yaml.safe_dump(fleet))
    for words in (("plan", release), ("deploy", release), ("verify",), ("permit", "--all", "--cause", "test", "--and", "risk-1")):
        said = console.run(*words)
        assert (said.code, said.err.count("h9" if change == "added" else "h8") > 0) == (ExitCode.REFUSED, True), (words, said.err)


def test_two_people_permit_a_killed_fleet(console: Console) -> None:
    """K07, A04: one signature is refused, two distinct people are taken, and the hosts are read back as trading."""
    console.run("kill-switch", "--all", "--reason", "drill")
    assert console.run("permit", "--all", "--cause", "checked").code == ExitCode.REFUSED
    assert console.run("permit", "--all", "--cause", "checked", "--and", "operator-1").code == ExitCode.REFUSED
    assert console.run("permit", "--all", "--cause", "checked", "--and", "sentinel").code == ExitCode.REFUSED
    assert console.trading() == []
    assert console.run("permit", "--all", "--cause", "checked", "--and", "risk-1").code == ExitCode.PROVED
    assert len(console.trading()) == 8


def test_a_permit_travels_in_a_file(console: Console) -> None:
    """The first person asks, the second signs the very same bytes; what is no permit is not signed."""
    console.run("kill-switch", "--all", "--reason", "drill")
    asked = console.folder / "permit.json"
    assert console.run("permit", "--all", "--cause", "checked", "--out", str(asked)).code == ExitCode.PROVED
    assert console.trading() == []
    said = console.run("permit", "--sign", str(asked), "--as", "risk-1")
    assert said.code == ExitCode.PROVED
    assert "checked" in said.err
    assert len(console.trading()) == 8
    asked.write_bytes((console.folder / ".tradeops" / "policy.json").read_bytes())
    assert console.run("permit", "--sign", str(asked), "--as", "risk-1").code == ExitCode.USAGE


def test_a_permit_in_a_file_says_until_when_it_can_be_taken(console: Console) -> None:
    """Told to the first person, and held against it when the second one signs."""
    console.run("kill-switch", "--all", "--reason", "drill")
    asked = console.folder / "permit.json"
    said = console.run("permit", "--all", "--cause", "checked", "--out", str(asked), "--json")
    assert "can be taken until" in said.document["title"]
    console.world.clock.sleep_s(901)
    late = console.run("permit", "--sign", str(asked), "--as", "risk-1")
    assert late.code == ExitCode.USAGE
    assert "ask anew" in late.err


def test_a_permit_needs_its_cause_and_takes_one_selection(console: Console) -> None:
    """What is missing is named; a file has its own hosts and cause."""
    said = console.run("permit", "--all")
    assert said.code == ExitCode.USAGE
    assert "--cause" in said.err
    for more in (("--all",), ("--host", "h1"), ("--cause", "x"), ("--and", "risk-1"), ("--out", "y")):
        assert console.run("permit", "--sign", "p.json", *more).code == ExitCode.USAGE


def test_a_scoped_kill_says_its_scope(console: Console) -> None:
    """K08: whoever reads the title knows that the rest goes on; a name that no binding has is refused before anything is sent."""
    path = console.folder / "fleet.yml"
    venue = {"order_entry": "wss://x/1", "market_data": "wss://x/2", "drop_copy": "wss://x/3", "account": "a", "secret": "x"}
    acme = {"tick": "0.01", "lot": "1", "reference_price": "10", "as_of": "2026-01-01T00:00:00Z"}
    common = {"venues": {"xsim": venue}, "instruments": {"ACME": acme}}
    path.write_text(path.read_text() + yaml.safe_dump({"bindings": {"common": common}}))
    said = console.run("kill-switch", "--all", "--reason", "odd", "--symbol", "ACME", "--json")
    assert said.document["title"].startswith("symbol ACME blocked on 8 of 8 hosts; everything else trades on")
    assert said.document["scope"] == {"venues": [], "symbols": ["ACME"], "strategies": []}
    for wrong in (("--symbol", "ACNE"), ("--symbol", ""), ("--venue", "x"), ("--strategy", " ")):
        assert console.run("kill-switch", "--all", "--reason", "odd", *wrong).code == ExitCode.USAGE


def test_a_kill_tells_of_hosts_that_are_not_in_the_fleet_file(console: Console) -> None:
    """K04: a newer roster on a host names one more: killed too and told; one that cannot be had is not passed over."""
    world = console.world
    world.truth["h9"] = SimHost("h9", FLEET, world.clock, world.manifests)
    key = RunKey.generate().public_line
    newer = Roster(ROSTER_SCHEMA, FLEET, 2, (RosterHost("h9", "192.0.2.99", 22, "tradeops", key, 8443),))
    world.truth["h3"].roster_number = 2
    said = console.run("kill-switch", "--all", "--reason", "odd", "--json")
    assert said.code == ExitCode.KILL_INCOMPLETE
    assert "it keeps no roster" in said.document["unread"]
    world.truth["h3"].roster = sign_roster(newer, signer_for(str(console.folder / "operator-1")))
    said = console.run("kill-switch", "--all", "--reason", "odd")
    assert said.code == ExitCode.PROVED
    assert "h9 is not in the fleet file here: roster 2 of h3 names it, and it was killed too" in said.out
    assert said.out.startswith("9 of 9 HOSTS BLOCKED")


def test_a_kill_cut_short_says_what_stays_in_force(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: exit 130, what was confirmed, and the same command again; the record is closed as interrupted."""

    def cut_short(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tradeops.safety.kill.kill", cut_short)
    said = console.run("kill-switch", "--all", "--reason", "drill")
    assert said.code == ExitCode.INTERRUPTED
    assert "0 of 8 hosts blocked" in said.err
    assert "run the same command again" in said.err
    rows = console.run("audit", "show", "--verb", "kill", "--json").document["rows"]
    assert [row["kind"] for row in rows] == ["intent", "outcome"]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_kill_without_time_is_no_kill(console: Console, seconds: str) -> None:
    """A deadline that nothing could meet, or that never comes, is a mistake."""
    assert console.run("kill-switch", "--all", "--reason", "x", "--deadline", seconds).code == ExitCode.USAGE
    assert len(console.trading()) == 8


def test_no_permit_for_a_host_that_is_not_proved(console: Console) -> None:
    """K07: drift first, then the permit."""
    console.run("kill-switch", "--all", "--reason", "drill")
    console.world.truth["h6"].faults.add("flipped_byte")
    said = console.run("permit", "--all", "--cause", "checked", "--and", "risk-1")
    assert said.code == ExitCode.REFUSED
    assert "h6" in said.err
    assert console.trading() == []


def test_a_permit_that_leaves_a_host_halted_says_so(console: Console) -> None:
    """Success is read back: a halt that still stands is named."""
    console.run("halt", "--host", "h2", "--reason", "look")
    console.run("kill-switch", "--all", "--reason", "drill")
    said = console.run("permit", "--all", "--cause", "checked", "--and", "risk-1")
    assert said.code == ExitCode.MIXED
    assert "h2: halt by operator-1: look; next: one person: `tradeops resume --host h2 --reason TEXT`" in said.err


def test_halt_and_resume(console: Console) -> None:
    """One person each way; D18: more than half of the fleet needs the typed count."""
    said = console.run("halt", "--tag", "t0", "--reason", "look")
    assert said.code == ExitCode.PROVED
    assert "h2 h4 h6 h8: halt by operator-1: look; next: one person: `tradeops resume" in said.out
    assert console.trading() == ["h1", "h3", "h5", "h7"]
    assert console.run("halt", "--all", "--reason", "look").code == ExitCode.REFUSED
    assert console.run("halt", "--all", "--reason", "look", "--count", "7").code == ExitCode.REFUSED
    assert len(console.trading()) == 4
    assert console.run("halt", "--all", "--reason", "look", "--count", "8").code == ExitCode.PROVED
    assert console.trading() == []
    said = console.run("resume", "--all", "--reason", "seen", "--json")
    assert said.code == ExitCode.PROVED
    assert len(said.document["ends"]) == 2
    assert len(console.trading()) == 8
    assert console.run("resume", "--all", "--reason", "seen").code == ExitCode.USAGE


def test_a_halt_that_a_host_does_not_take_is_incomplete(console: Console) -> None:
    """Exit 8, and the next road is named."""
    console.world.truth["h2"].faults.add("guard_dead")
    said = console.run("halt", "--host", "h1", "--host", "h2", "--reason", "look")
    assert said.code == ExitCode.KILL_INCOMPLETE
    assert "h2" in said.err
    assert "kill-switch" in said.err


def test_production_is_asked_for_by_name(console: Console) -> None:
    """Without a terminal nobody can be asked: a plan's digest or --yes says that it is meant."""
    path = console.folder / "fleet.yml"
    path.write_text(path.read_text().replace("environment: lab", "environment: production"))
    release = console.new_release(2)
    assert console.run("deploy", release).code == ExitCode.REFUSED
    assert console.run("deploy", release, "--yes").code == ExitCode.PROVED


def test_the_fleet_is_listed_and_asked(console: Console) -> None:
    """Names and facts; a host that does not answer is named."""
    assert "h8" in console.run("fleet", "list").out
    assert console.run("fleet", "facts").code == ExitCode.PROVED
    console.world.truth["h8"].faults.add("ssh_refused")
    said = console.run("fleet", "facts", "--json")
    assert said.code == ExitCode.MIXED
    assert said.document["hosts"][0] == {"host": "h8", "answered": False, "error": "connection refused"}


def test_doctor_says_what_to_mend(console: Console) -> None:
    """Exit 3 with a fix for each thing; a well fleet ends 0 but for certificates that enrolment makes."""
    console.world.truth["h8"].faults.add("clock_skew")
    console.world.truth["h7"].faults.add("guard_dead")
    said = console.run("doctor", "--json")
    assert said.code == ExitCode.PREFLIGHT
    bad = {(check["where"], check["check"]): check["fix"] for check in said.document["checks"] if check["verdict"] != "yes"}
    assert all(bad.values())
    assert [host["host"] for host in said.document["hosts"] if not host["ok"]] == ["h7", "h8"]
    assert set(bad) == {("here", "certificates"), ("h7", "guard"), ("h8", "clock")}
    assert console.run("doctor", "--here").code == ExitCode.PREFLIGHT
    assert "clock" in console.run("doctor").out


def test_the_chain_is_exported_and_its_damage_found(console: Console) -> None:
    """A01, A02: an edited row and a chain rewritten as a whole."""
    target = console.folder / "chain.json"
    assert console.run("audit", "export", "--out", str(target)).code == ExitCode.PROVED
    assert console.run("audit", "export").out.startswith("{")
    log = console.folder / ".tradeops" / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b"operator-1", b"operator-2", 1))
    said = console.run("audit", "verify", "--here", "--json")
    assert said.code == ExitCode.DRIFT
    assert said.document["problems"]


def test_no_log_no_deploy(console: Console) -> None:
    """A03: a damaged chain stops the deploy and the resume before anything is touched; halt and kill go on, and are owed."""
    log = console.folder / ".tradeops" / "audit.jsonl"
    log.write_bytes(b"")
    before = console.world.pids_now()
    assert console.run("deploy", console.new_release(2)).code == ExitCode.REFUSED
    assert console.world.pids_now() == before
    said = console.run("halt", "--host", "h2", "--reason", "drill")
    assert said.code == ExitCode.PROVED
    assert "not yet in the audit log: intent of halt" in said.err
    assert "h2" not in console.trading()
    assert console.run("resume", "--host", "h2", "--reason", "drill").code == ExitCode.REFUSED
    assert console.run("kill-switch", "--all", "--reason", "drill").code == ExitCode.PROVED
    assert console.trading() == []
