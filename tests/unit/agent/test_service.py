"""Switch, start, prove, stop and prune with a real supervisord and real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.agenthost import ManagedHost, TestRelease, envelope, plain
from tests.support.agentsession import Agent
from tests.support.wait import until
from tradeops.base.digest import digest_bytes
from tradeops.contracts.agent import Proof, Running, Stopped
from tradeops.contracts.binding import OVERLAY_SCHEMA, Overlay
from tradeops.contracts.directive import ALL_HOSTS, SCHEMA, Directive, Verb
from tradeops.contracts.envelope import Purpose
from tradeops.contracts.identity import Identity
from tradeops.contracts.pages import VitalsWriter
from tradeops.contracts.status import Vitals

STUBBORN = b"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\nwhile True:\n    signal.pause()\n"
SAYS = b"""import json, os, signal
with open(os.environ["TRADEOPS_ROOT"] + "/said", "w") as file:
    file.write(json.dumps([os.getcwd(), dict(os.environ)]))
signal.pause()
"""


def up(managed: ManagedHost, agent: Agent, release: TestRelease, slot: str = "blue") -> int:
    """Stage, switch, start; the pid once the release's own program runs."""
    managed.stage(agent, release)
    agent.do("switch", slot=slot, release=release.id, binding=plain(managed.binding()), overlay=None)
    pid = int(agent.do("start", slot=slot)["pid"])
    tree = str(managed.layout.release(release.id) / "tree")
    until(lambda: str(Path(f"/proc/{pid}/cwd").readlink()) == tree, 10)
    return pid


def prove(agent: Agent, release: str | None, *, rehash: bool = True) -> Proof:
    """What the agent proves of the blue slot."""
    return msgspec.convert(agent.do("prove", slot="blue", release=release, rehash=rehash), Proof)


def vitals(managed: ManagedHost, release: str, pid: int, ticks: int, beat_ns: int) -> VitalsWriter:
    """The page as a trader writes it."""
    writer = VitalsWriter(managed.layout.vitals_page("blue"))
    identity = Identity("trader", release, "b", 0, "blue", pid, ticks, 1)
    writer.write(Vitals(identity, beat_ns, "ready", 1, 0, 0, 0, {}, {}, {}, {}, {}, {}, {}))
    return writer


def test_a_release_runs_from_its_tree_with_its_environment(running: ManagedHost) -> None:
    """The stub follows the link once, and says root, slot, release and binding in the environment."""
    agent = running.locked()
    release = running.release(files={"run.py": SAYS})
    pid = up(running, agent, release)
    said = running.root / "said"
    until(lambda: said.exists() and said.read_text(), 10)
    folder, environment = json.loads(said.read_text())
    tree = running.layout.release(release.id) / "tree"
    assert folder == str(tree)
    assert environment["TRADEOPS_RELEASE"] == release.id and environment["TRADEOPS_SLOT"] == "blue"
    assert environment["TRADEOPS_BINDING"] == digest_bytes(running.binding().body())
    assert environment["GREETING"] == f"in {tree}"
    assert "SSH_ORIGINAL_COMMAND" not in environment
    proof = prove(agent, release.id)
    assert proof.process and (proof.process.pid, proof.process.working_folder) == (pid, str(tree))
    assert (proof.unit_state, proof.linked, proof.others, proof.bad_files) == ("active", release.id, (), ())
    assert proof.files_checked == 2 and proof.binding == digest_bytes(running.binding().body())
    assert proof.vitals is None and "there are no vitals" in proof.problems
    row = {"slot": "blue", "release": release.id, "pid": pid, "unit_state": "active", "linked": release.id}
    assert agent.do("facts")["running"][0] == row and set(row) == set(Running.__struct_fields__)
    agent.do("stop", slot="blue", stop_timeout_s=5)
    assert agent.do("facts")["running"][0] == {**row, "release": None, "pid": None, "unit_state": "inactive"}


def test_proof_reads_the_process_and_the_files_not_what_was_asked(running: ManagedHost) -> None:
    """A changed, an extra and a missing file, another mode, a removed module that is there, all named."""  # D02 D04
    agent = running.locked()
    release = running.release(files={"keep": b"x"}, removed=("lib/old.py",))
    up(running, agent, release)
    tree = running.layout.release(release.id) / "tree"
    for folder in (tree, tree / "lib"):
        folder.chmod(0o755)
    (tree / "run.py").chmod(0o644)
    (tree / "run.py").write_bytes(release.content["run.py"].replace(b"sys", b"syz"))
    (tree / "lib" / "old.py").write_text("old")
    (tree / "keep").unlink()
    (tree / "lib" / "pkg" / "a.py").chmod(0o644)
    proof = prove(agent, release.id)
    assert proof.bad_files == ("keep", "lib/old.py", "lib/pkg/a.py", "run.py")
    assert proof.present_removed == ("lib/old.py",)
    first_look = prove(agent, release.id, rehash=False)
    assert (first_look.bad_files, first_look.files_checked, first_look.present_removed) == ((), 0, ())


def test_an_old_process_that_survives_is_found(running: ManagedHost) -> None:
    """By its working folder, its command or its environment; the stop says who it is, the proof lists it (D02)."""  # D02
    agent = running.locked()
    release = running.release()
    up(running, agent, release)
    tree = running.layout.release(release.id) / "tree"
    wait = "import signal; signal.pause()"
    starts: list[dict[str, Any]] = [
        {"args": [sys.executable, "-c", wait], "cwd": tree},
        {"args": [sys.executable, str(tree / "run.py")]},
        {"args": [sys.executable, "-c", wait], "env": {"TRADEOPS_ROOT": str(running.root), "TRADEOPS_SLOT": "blue"}},
    ]
    for start in starts:
        orphan = subprocess.Popen(**start)
        try:
            until(lambda: [process.pid for process in prove(agent, None).others] == [orphan.pid], 10)  # noqa: B023  # asked before the next round
            assert prove(agent, None).process
        finally:
            orphan.kill()
            orphan.wait(10)
    orphan = subprocess.Popen([sys.executable, "-c", wait], cwd=tree)
    try:
        stopped = msgspec.convert(agent.do("stop", slot="blue", stop_timeout_s=5), Stopped)
        assert not stopped.stopped and [process.pid for process in stopped.survivors] == [orphan.pid]
        assert stopped.unit_state == "inactive"
    finally:
        orphan.kill()
        orphan.wait(10)
    assert agent.do("stop", slot="blue", stop_timeout_s=5)["stopped"] is True


def test_processes_that_the_service_started_itself_are_its_own(running: ManagedHost) -> None:
    """A worker of the main process is no survivor of an older one."""
    agent = running.locked()
    code = b"import subprocess, sys, signal\nsubprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\nsignal.pause()\n"
    pid = up(running, agent, running.release(files={"run.py": code}))
    children = Path(f"/proc/{pid}/task/{pid}/children")
    assert until(children.read_text, 10)
    (worker,) = map(int, children.read_text().split())
    try:
        assert prove(agent, None).others == ()
    finally:
        os.kill(worker, signal.SIGKILL)  # it outlives its parent


def test_a_service_that_will_not_end_is_killed(running: ManagedHost) -> None:
    """After the time it was given; the stop is only true when nothing is left."""
    agent = running.locked()
    up(running, agent, running.release(files={"run.py": STUBBORN}))
    log = running.folder / "trader-blue.log"
    until(lambda: "ready" in log.read_text(), 10)
    stopped = agent.do("stop", slot="blue", stop_timeout_s=0.2)
    assert stopped == {"stopped": True, "survivors": [], "unit_state": "inactive"}
    assert agent.do("stop", slot="blue", stop_timeout_s=1)["stopped"] is True


def test_start_fails_when_nothing_comes_up(running: ManagedHost) -> None:
    """An empty slot: refused with the unit's state, nothing left behind."""
    agent = running.locked()
    answer = agent.ask("start", slot="blue")
    assert answer["ok"] or answer["error"]["code"] == "service"
    until(lambda: prove(agent, None).process is None, 10)
    assert prove(agent, None).unit_state in ("inactive", "failed")


def test_vitals_are_believed_while_fresh_and_their_process_lives(running: ManagedHost) -> None:
    """The identity of a dead or silent process is no identity."""
    agent = running.locked()
    release = running.release()
    up(running, agent, release)
    process = prove(agent, None).process
    assert process
    vitals(running, release.id, process.pid, process.start_ticks, time.monotonic_ns())
    proof = prove(agent, release.id)
    assert proof.vitals == Identity("trader", release.id, "b", 0, "blue", process.pid, process.start_ticks, 1)
    assert proof.vitals_age_ms is not None and 0 <= proof.vitals_age_ms < 5000
    vitals(running, release.id, process.pid, process.start_ticks, time.monotonic_ns() - 60 * 10**9)
    stale = prove(agent, release.id)
    assert stale.vitals is None and stale.vitals_age_ms and stale.vitals_age_ms > 59_000
    vitals(running, release.id, process.pid, process.start_ticks + 1, time.monotonic_ns())
    assert prove(agent, release.id).vitals is None


def test_switch_wants_a_stopped_service_and_this_hosts_signed_binding(running: ManagedHost) -> None:
    """Running: refused. A binding for another host, fleet or service, or signed by nobody entitled: refused."""
    agent, release = running.locked(), running.release()
    running.stage(agent, release)
    blue: dict[str, Any] = {"slot": "blue", "release": release.id, "overlay": None}
    for bad in (
        running.binding(host="host-2"),
        running.binding(fleet="other"),
        running.binding(service="other"),
        running.binding(signer=running.two),
        running.binding(signer=running.nobody),
    ):
        assert agent.code("switch", **blue, binding=plain(bad)) == "signature"
    assert agent.code("switch", **{**blue, "release": "sha256:" + "1" * 64}, binding=plain(running.binding())) == "not_found"
    assert agent.do("switch", **blue, binding=plain(running.binding())) == {"previous": None}
    agent.do("start", slot="blue")
    assert agent.code("switch", **blue, binding=plain(running.binding())) == "service"


def test_overlays_do_not_go_back(running: ManagedHost) -> None:
    """Signed by who may, numbered, shown in the facts; an older one, or none at all after it, is refused."""  # K07
    agent, release = running.locked(), running.release()
    running.stage(agent, release)

    def switch(number: int, signer: Any = running.one) -> dict[str, Any]:
        said = {"overlay": msgspec.to_builtins(Overlay(OVERLAY_SCHEMA, "test-fleet", number))}
        directive = Directive(SCHEMA, f"v{number}", Verb.OVERLAY, "test-fleet", (ALL_HOSTS,), "test", 0, 1, args=said)
        overlay = plain(envelope(directive, Purpose.DIRECTIVE, signer))
        return agent.ask("switch", slot="blue", release=release.id, binding=plain(running.binding()), overlay=overlay)

    assert switch(3)["ok"]
    assert agent.do("facts")["overlay_number"] == 3
    assert switch(2)["error"]["code"] == "older"
    for digest in (release.id, None):
        assert agent.code("switch", slot="blue", release=digest, binding=plain(running.binding()), overlay=None) == "older"
    assert agent.do("facts")["overlay_number"] == 3 and switch(3)["ok"]
    assert switch(4, running.two)["error"]["code"] == "signature"


def test_previous_is_kept_and_a_slot_can_be_emptied(running: ManagedHost) -> None:
    """What a rollback goes back to; null takes the link away, as before the first release."""
    agent = running.locked()
    one, two = running.release(1), running.release(2)
    for release in (one, two):
        running.stage(agent, release)
    binding = plain(running.binding())
    assert agent.do("switch", slot="blue", release=one.id, binding=binding, overlay=None) == {"previous": None}
    assert agent.do("switch", slot="blue", release=two.id, binding=binding, overlay=None) == {"previous": one.id}
    assert agent.do("switch", slot="blue", release=two.id, binding=binding, overlay=None) == {"previous": two.id}
    assert agent.do("facts")["previous"] == one.id
    assert agent.do("switch", slot="blue", release=None, binding=binding, overlay=None) == {"previous": two.id}
    proof = prove(agent, None)
    assert proof.linked is None and "linked to no release" in proof.problems[0]


def test_prune_keeps_what_runs_what_is_linked_and_the_previous(running: ManagedHost) -> None:
    """The newest N besides; blobs that no kept release names are dropped with the rest."""
    agent = running.locked()
    releases = [running.release(number, files={"own": f"only in {number}".encode()}) for number in range(1, 6)]
    up(running, agent, releases[0])
    for release in releases[1:]:
        running.stage(agent, release)
    assert agent.do("prune", keep=2)["removed"] == sorted(release.id for release in releases[1:4])
    assert sorted(agent.do("facts")["releases"]) == sorted([releases[0].id, releases[4].id])
    names = {path.name for path in running.layout.blobs.glob("*/*")}
    assert digest_bytes(b"only in 5")[7:] in names and digest_bytes(b"only in 3")[7:] not in names
    assert agent.code("prune", keep=0) == "bad_request"


def test_a_hung_session_of_an_older_run_changes_nothing_any_more(running: ManagedHost) -> None:
    """Taken over while it slept, its next verb is fenced off."""
    old = running.holding(running.process())
    old.process.send_signal(signal.SIGSTOP)
    new = running.agent()
    assert running.lock(new, takeover=True)["ok"]
    old.process.send_signal(signal.SIGCONT)
    assert old.code("start", slot="blue") == "fenced"


def test_the_stop_command_kills_the_service_and_takes_no_orders(running: ManagedHost) -> None:
    """What the guard runs for a hung trader: no arguments, and nothing of the service is left."""
    agent = running.locked()
    pid = up(running, agent, running.release(files={"run.py": STUBBORN}))
    host = json.loads(running.layout.host_file.read_text())
    done = subprocess.run(host["stop_command"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert not Path(f"/proc/{pid}/cwd").exists()
    assert prove(agent, None).process is None


@pytest.mark.parametrize("argv", [[], ["red"], ["blue", "green"]])
def test_the_start_stub_wants_one_slot(managed: ManagedHost, argv: list[str]) -> None:
    """Anything else ends at once with a status of its own."""
    done = subprocess.run(
        [sys.executable, "-I", str(managed.root / "bin" / "tradeops-start"), *argv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 78 and "usage" in done.stderr


def test_a_service_manager_that_is_gone_is_said(managed: ManagedHost) -> None:
    """`service`, with what to look at."""
    agent = managed.locked()
    assert agent.code("start", slot="blue") == "service"
    assert agent.code("prove", slot="blue", release=None, rehash=False) == "service"
