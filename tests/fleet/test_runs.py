"""Deploys on eight real systemd hosts, with the faults that real hosts have. Every command is run as a process of its own."""

from __future__ import annotations

import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fleet.conftest import BROKEN, NEW, OLD
from tests.support.deadlines import stated
from tests.support.fleetlab import CLOCK, COMMAND_S, Ended, FleetLab, short_id, store_of
from tests.support.wait import until
from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import ExitCode
from tradeops.base.shipped import shipped
from tradeops.contracts.layout import HostLayout
from tradeops.drills.releases import FLAG

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]


def deploy(fleet: FleetLab, number: int, *, code: int) -> Ended:
    """Deploy a release and hold its exit code."""
    return fleet.must("deploy", short_id(fleet.releases[number]), code=code)


def impatient(fleet: FleetLab) -> str:
    """A playbook for what cannot be proved: it waits ten seconds instead of thirty, forth and back."""
    usual = (shipped("playbooks") / "rolling.yml").read_text()
    assert "prove: 30s" in usual
    playbook = fleet.folder / "impatient.yml"
    playbook.write_text(usual.replace("prove: 30s", "prove: 10s").replace("name: rolling", "name: impatient"))
    return str(playbook)


def test_a_killed_host_s_permit_does_not_come_back_with_a_reboot(fleet: FleetLab) -> None:
    """K06, K07: kill, reboot a host: still halted; one person cannot start it again, two can."""
    killed = fleet.must("kill-switch", "--all", "--reason", "test")
    assert {host["road"] for host in killed.document["hosts"]} <= {"https", "ssh"}
    assert fleet.trading() == set()
    fleet.fault("h4", "power-cut")
    fleet.heal_all()
    assert until(lambda: fleet.run("status").code == 0, 60)
    assert fleet.trading() == set()
    assert fleet.run("permit", "--all", "--cause", "test").code == ExitCode.REFUSED
    fleet.must("deploy", short_id(fleet.releases[OLD]))
    assert fleet.trading() == set()
    fleet.permit()
    assert fleet.trading() == set(fleet.names())


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("partition", {}),
        ("drop", {"port": "ssh"}),
        ("reject", {"port": "ssh"}),
        ("sshd-freeze", {}),
        ("sshd-stop", {}),
        ("truncate", {"bytes": "0"}),
        ("reset", {"bytes": "2000"}),
        ("host-key", {}),
        ("disk-full", {}),
        ("read-only", {}),
        ("clock", {}),
        ("guard-kill", {}),
        ("guard-freeze", {}),
    ],
)
def test_one_host_that_is_not_fit_stops_the_deploy(fleet: FleetLab, kind: str, settings: dict[str, str]) -> None:
    """D01: host 8 unreachable, under another key, full, read-only, skewed, its guard dead or hung: exit 3, host 8 named, nobody touched."""
    fleet.fault("h8", kind, **settings)
    before = fleet.pids()
    if kind == "clock":
        before.pop("h8", None)  # the fault itself restarts that host's daemons
    ended = deploy(fleet, NEW, code=ExitCode.PREFLIGHT)
    assert "h8" in ended.out
    if kind.startswith("guard-"):
        fleet.heal_all()
        assert until(lambda: fleet.run("status").code == 0, 30)
    after = fleet.pids()
    assert {name: pid for name, pid in after.items() if name in before} == before, "a process was touched"


@pytest.mark.parametrize("phase", ["lock", "stage", "drain", "stop", "switch", "start", "prove", "smoke", "resume", "finish"])
def test_abort_after_the_operator_was_killed(fleet: FleetLab, phase: str) -> None:
    """SIGKILL of the operator in each phase, then `runs abort`: every host proved on the old release, trading.

    Once, two hosts fall silent in between (D01): both ways to take the run up name them in time, and touch nothing.
    """
    killed = fleet.interrupted("deploy", short_id(fleet.releases[NEW]), at=f"{phase} done", how=signal.SIGKILL)
    assert killed.code == -signal.SIGKILL
    runs = fleet.open_runs()
    assert len(runs) == 1
    if phase == "prove":
        for host in ("h2", "h7"):
            fleet.fault(host, "partition")
        for command in ("runs resume", "runs abort"):
            names_the_two(fleet, command, (runs[0],), ExitCode.PREFLIGHT)
        fleet.heal_all()
    fleet.must("runs", "abort", runs[0])
    fleet.must("verify")
    if fleet.trading() != set(fleet.names()):  # a guard whose drop copy was away for more than ten seconds has halted its host
        assert phase == "prove"
        fleet.must("resume", "--all", "--reason", "the two were cut off from their venue too")
    assert fleet.trading() == set(fleet.names())


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_can_be_undone(fleet: FleetLab, how: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end with 130; abort brings the hosts back."""
    ended = fleet.interrupted("deploy", short_id(fleet.releases[NEW]), at="switch done", how=how)
    assert ended.code == ExitCode.INTERRUPTED
    runs = fleet.open_runs()
    fleet.must("runs", "abort", runs[0])
    assert fleet.trading() == set(fleet.names())


def test_a_release_that_does_not_come_up_is_taken_back(fleet: FleetLab) -> None:
    """Exit 11: one host tried, all eight proved on the old release and trading."""
    ended = deploy(fleet, BROKEN, code=ExitCode.BROUGHT_BACK)
    assert "h1" in ended.document["title"]
    fleet.must("verify")
    assert fleet.trading() == set(fleet.names())


def test_a_staged_file_that_changes_before_the_switch_is_found(fleet: FleetLab) -> None:
    """D02, A05: what host 5 was given, and said it had, is not what runs there: found from the process's own files, taken back."""

    def spoil(_process: object) -> None:
        config = HostLayout(fleet.root("h5")).release(fleet.releases[NEW]) / "tree" / "config" / "trader.yml"
        config.chmod(0o644)
        config.write_bytes(config.read_bytes().replace(b"desk", b"dusk", 1))
        config.chmod(0o444)

    ended = fleet.midway("deploy", short_id(fleet.releases[NEW]), at="stage done", act=spoil)
    assert ended.code == ExitCode.BROUGHT_BACK, ended.out + ended.err
    assert "h5" in ended.out
    fleet.must("verify")
    assert fleet.trading() == set(fleet.names())


def test_a_disk_that_fills_in_mid_run_leaves_a_named_state(fleet: FleetLab) -> None:
    """D01: host 8 cannot write once everything is staged: the run does not end well, names it, and abort mends the fleet."""
    ended = fleet.midway(
        *("deploy", short_id(fleet.releases[NEW]), "--playbook", impatient(fleet)),
        at="stage done",
        act=lambda _process: fleet.fault("h8", "disk-full"),
    )
    assert ended.code in (ExitCode.BROUGHT_BACK, ExitCode.MIXED), ended.out + ended.err
    assert "h8" in ended.out
    fleet.heal_all()
    if ended.code == ExitCode.MIXED:
        newest = fleet.must("runs", "list").document["runs"][0]["run"]
        assert until(lambda: fleet.run("runs", "abort", newest).code == 0, 60)
    fleet.must("verify")


def test_two_deploys_at_once(fleet: FleetLab) -> None:
    """The second ends 7 and says who holds the hosts; the first is not disturbed."""
    with subprocess.Popen(
        fleet.argv("deploy", short_id(fleet.releases[OLD])), cwd=fleet.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as first:
        assert first.stderr
        assert any("lock done" in line for line in first.stderr)
        second = fleet.run("deploy", short_id(fleet.releases[OLD]), timeout_s=COMMAND_S)
        for _ in first.stderr:
            pass
    assert second.code == ExitCode.LOCKED, second.out + second.err
    assert first.returncode == ExitCode.PROVED


def test_a_changed_file_is_drift(fleet: FleetLab) -> None:
    """D02, D03: one bit of one file of the running release on host 5: exit 10, host 5 first."""
    fleet.fault("h5", "changed-file")
    ended = fleet.must("verify", code=ExitCode.DRIFT)
    assert ended.document["hosts"][0]["host"] == "h5"
    fleet.heal_all()
    fleet.must("verify")


def test_an_old_process_beside_the_new_one_is_found(fleet: FleetLab) -> None:
    """D02: a second process of the service on host 3 is drift, and no deploy proves that host."""
    fleet.fault("h3", "extra-process")
    ended = fleet.must("verify", code=ExitCode.DRIFT)
    assert ended.document["hosts"][0]["host"] == "h3"
    ended = fleet.must("deploy", short_id(fleet.releases[NEW]), "--playbook", impatient(fleet), code=ExitCode.MIXED)
    assert "h3" in [host["host"] for host in ended.document["hosts"] if host["problem"]]
    fleet.heal_all()
    newest = fleet.must("runs", "list").document["runs"][0]["run"]
    assert until(lambda: fleet.run("runs", "abort", newest).code == 0, 60)


DROPPED: tuple[tuple[str, tuple[str, ...], ExitCode], ...] = (
    ("plan", ("BROKEN",), ExitCode.PREFLIGHT),
    ("deploy", ("BROKEN",), ExitCode.PREFLIGHT),
    ("rollback", (), ExitCode.PREFLIGHT),
    ("verify", (), ExitCode.MIXED),
    ("status", (), ExitCode.MIXED),
    ("fleet sign", (), ExitCode.PROVED),
    ("fleet facts", (), ExitCode.MIXED),
    ("fleet enroll", (), ExitCode.MIXED),
    ("flags list", (), ExitCode.PROVED),
    ("flags activate", (FLAG,), ExitCode.REFUSED),
    ("flags retire", (FLAG,), ExitCode.REFUSED),
    ("doctor", (), ExitCode.PREFLIGHT),
    ("audit verify", (), ExitCode.PROVED),
    ("resume", ("--all", "--reason", "test"), ExitCode.MIXED),
    ("permit", ("--all", "--cause", "test", "--and", "risk-1"), ExitCode.MIXED),
    ("halt", ("--all", "--count", "8", "--reason", "test"), ExitCode.KILL_INCOMPLETE),
)
"""A command, what follows it, and its exit code, with two of eight hosts silent; the last one halts, so it goes last."""


def names_the_two(fleet: FleetLab, command: str, words: tuple[str, ...], code: ExitCode) -> None:
    """Run a command while h2 and h7 are silent."""
    began_ns = CLOCK.monotonic_ns()
    ended = fleet.run(*command.split(), *(short_id(fleet.releases[BROKEN]) if word == "BROKEN" else word for word in words))
    seconds = (CLOCK.monotonic_ns() - began_ns) / NS_PER_S
    assert (ended.code, "h2" in ended.out, "h7" in ended.out) == (code, True, True), (command, ended.out, ended.err)
    assert seconds < stated()[command], command


def test_a_release_that_differs_in_one_file_sends_little_and_two_silent_hosts_keep_it_there(fleet: FleetLab) -> None:
    """Forty megabytes of which one file changed: under one megabyte to all eight, and the fleet trades on it.

    Then two hosts drop every packet (D01): every command that asks the hosts ends within its stated deadline, names the two,
    and moves nothing. (The kill is among the stops; an overlay stays with a fleet for good, so `flags disable` is simulated.)
    """
    release = store_of(fleet).get(fleet.releases[NEW])
    assert sum(file.size for file in release.manifest.predicate.files) > 40_000_000
    ended = deploy(fleet, NEW, code=ExitCode.PROVED)
    assert 0 < ended.document["bytes_sent"] < 1_000_000
    assert fleet.trading() == set(fleet.names())
    for host in ("h2", "h7"):
        fleet.fault(host, "partition")
    with ThreadPoolExecutor(max_workers=3) as pool:
        list(pool.map(lambda row: names_the_two(fleet, *row), DROPPED[:-1]))
    names_the_two(fleet, *DROPPED[-1])
    fleet.make_whole()
    fleet.must("rollback")
    assert fleet.trading() == set(fleet.names())
    fleet.must("verify")
