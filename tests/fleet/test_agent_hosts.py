"""Agent and enrolment on a real host: systemd, sshd, users, sudo. The guard is a small program that beats."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

import msgspec
import pytest

from tests.fleet.conftest import Lab
from tests.support.agenthost import HOST, ManagedHost, plain
from tests.support.agentsession import Agent, ProcessAgent
from tests.support.wait import until
from tradeops.base.clock import SystemClock
from tradeops.contracts.agent import Facts, Proof, Stopped
from tradeops.fleet.channel import Finished
from tradeops.fleet.enroll import Admin
from tradeops.fleet.host import Host
from tradeops.lab.nspawn.driver import NspawnDriver

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

NAME = "h1"
FAMILY = b"import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.fork()\nos.fork()\nwhile True:\n    signal.pause()\n"


class SshAdmin:
    """The admin's rights over plain OpenSSH."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def exec_admin(self, host: Host, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> Finished:
        """Run it there."""
        done = subprocess.run(self._lab.ssh_argv(NAME, shlex.join(argv)), input=stdin, capture_output=True, timeout=timeout_s, check=False)
        return Finished(done.returncode, done.stdout, done.stderr)


@dataclass
class RealHost(ManagedHost):
    """A host of the lab behind sshd and sudo; `lab` is set right after it is made."""

    lab: Lab | None = None

    @property
    def root(self) -> Path:
        return Path("/opt/tradeops")

    def there(self) -> Lab:
        assert self.lab
        return self.lab

    def host(self) -> Host:
        address = self.there().host(NAME).address
        return Host(HOST, address, 22, "tradeops", "", 8443, "/usr/bin/python3", PurePosixPath(self.root), "systemd")

    def admin(self) -> Admin:
        return cast("Admin", SshAdmin(self.there()))

    def operator_keys(self) -> tuple[str, ...]:
        return (self.there().key.with_suffix(".pub").read_text(),)

    def agent(self) -> Agent:
        return self.process()

    def agent_argv(self) -> list[str]:
        return self.operator_argv("anything at all")

    def operator_argv(self, *words: str) -> list[str]:
        """ssh as the operator's login instead of the admin."""
        argv = self.there().ssh_argv(NAME, *words)
        return [part.replace("root@", "tradeops@") for part in argv]

    def on_host(self, command: str) -> str:
        """What the admin's command prints. It must work."""
        done = self.there().ssh(NAME, command, timeout_s=30)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def enrolled(eight: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealHost]:
    """One host of the eight, enrolled."""
    host = RealHost(tmp_path_factory.mktemp("real"), lab=eight)
    host.enrol()
    yield host
    host.on_host("systemctl stop 'tradeops-trader@*'; systemctl reset-failed; true")


@pytest.fixture
def real(enrolled: RealHost) -> Iterator[RealHost]:
    """The same; its sessions are closed and its service stopped after each test."""
    yield enrolled
    enrolled.on_host("systemctl kill -s KILL 'tradeops-trader@*' 2>/dev/null; rm -f /opt/tradeops/agent/lock.json; true")
    enrolled.close()


def up(real: RealHost, agent: Agent, number: int, code: bytes = FAMILY) -> int:
    """Release `number` running on blue; its pid."""
    release = real.release(number, files={"run.py": code})
    real.stage(agent, release)
    agent.do("switch", slot="blue", release=release.id, binding=plain(real.binding()), overlay=None)
    return int(agent.do("start", slot="blue")["pid"])


def prove(agent: Agent) -> Proof:
    """What the agent proves of the blue slot."""
    return msgspec.convert(agent.do("prove", slot="blue", release=None, rehash=True), Proof)


def test_enrolment_may_be_run_again(real: RealHost) -> None:
    """Nothing is changed the second time, and the guard is not restarted."""
    before = real.on_host("systemctl show -p MainPID tradeops-guard.service")
    assert real.enrol().changed == ()
    assert real.on_host("systemctl show -p MainPID tradeops-guard.service") == before


def test_the_operators_key_reaches_the_agent_and_nothing_else(real: RealHost) -> None:
    """Whatever is asked for, the agent answers; no shell, no file transfer, no forwarding, no terminal (K05)."""
    for words in (("rm", "-rf", "/opt/tradeops"), ("sh",), ("-s", "sftp")):
        done = subprocess.run(real.operator_argv(*words), input="", capture_output=True, text=True, timeout=20, check=False)
        assert '"agent":"tradeops-agent/v1"' in done.stdout or done.returncode != 0
    assert real.on_host("test -d /opt/tradeops/agent && echo there") == "there"
    argv = real.operator_argv()
    tunnel = [*argv[:-1], "-o", "ExitOnForwardFailure=yes", "-W", "127.0.0.1:22", argv[-1]]
    done = subprocess.run(tunnel, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0 and "SSH-" not in done.stdout
    allowed = real.on_host("sudo -l -U tradeops | tail -1").split()
    assert allowed == ["(root)", "NOPASSWD:", "/opt/tradeops/bin/tradeops-agent", '""']
    assert real.on_host("su -s /bin/sh tradeops -c 'echo x >> ~/.ssh/authorized_keys' 2>&1; true").endswith("Permission denied")


def test_users_are_kept_apart(real: RealHost) -> None:
    """The service's user writes its data and vitals alone; the guard's user owns the page, root everything that is verified."""
    paths = "bin/tradeops-agent etc/policy.json releases slots/blue pages/stop.page latched agent guard etc/tls blobs platform"
    script = f"cd /opt/tradeops; for p in {paths}; do runuser -u tradeops-trader -- test -w $p && echo $p; done; true"
    assert real.on_host(script) == ""
    assert real.on_host(script.replace("tradeops-trader", "tradeops-guard")) == "pages/stop.page\nguard\netc/tls"
    assert real.on_host("cd /opt/tradeops; runuser -u tradeops-trader -- test -r etc/tls/guard.key || echo no") == "no"


def test_the_service_runs_as_its_own_user_and_is_proved_from_proc(real: RealHost) -> None:
    """Under systemd's hardening /proc still shows executable and working folder as they are (D02)."""  # D02
    agent = real.locked()
    pid = up(real, agent, 1)

    def in_its_tree() -> bool:
        process = prove(agent).process
        return process is not None and process.working_folder.endswith("/tree")

    until(in_its_tree, 10)
    proof = prove(agent)
    assert proof.process and proof.process.pid == pid and proof.unit_state == "active"
    assert (proof.bad_files, proof.others) == ((), ())
    assert real.on_host(f"stat -c %U /proc/{pid}") == "tradeops-trader"
    facts = msgspec.convert(agent.do("facts"), Facts)
    assert facts.running[0].release == proof.linked and facts.problems == ()
    assert facts.machine_id == real.on_host("cat /etc/machine-id")


def test_a_stop_ends_the_whole_family_and_names_strangers(real: RealHost) -> None:
    """Forked children that ignore SIGTERM die with the unit; a process of the service's user outside it is a survivor."""
    agent = real.locked()
    up(real, agent, 2)
    real.on_host("systemd-run --quiet --unit=stranger --uid=tradeops-trader sleep 3600")
    try:
        assert [process.command[0] for process in prove(agent).others] == ["/usr/bin/sleep"]
        stopped = msgspec.convert(agent.do("stop", slot="blue", stop_timeout_s=0.3), Stopped)
        assert not stopped.stopped and [process.command[1] for process in stopped.survivors] == ["3600"]
    finally:
        real.on_host("systemctl kill -s KILL stranger; true")
    assert until(lambda: agent.do("stop", slot="blue", stop_timeout_s=0.3)["stopped"], 5)


def test_the_guards_request_kills_the_service(real: RealHost) -> None:
    """The guard's user writes one file; systemd runs the stop as root, and the request is gone afterwards."""
    agent = real.locked()
    up(real, agent, 3)
    real.on_host("runuser -u tradeops-guard -- /usr/bin/touch /opt/tradeops/guard/stop-request")
    until(lambda: prove(agent).process is None, 10)
    assert agent.do("stop", slot="blue", stop_timeout_s=0)["survivors"] == []
    assert until(lambda: real.on_host("ls /opt/tradeops/guard/ | grep stop-request; true") == "", 5)


def test_a_guard_that_dies_is_back_at_once(real: RealHost) -> None:
    """Killed ten times, it still comes back: systemd's start limit does not apply to it."""
    show = "systemctl show -p MainPID --value tradeops-guard.service"
    for _ in range(10):
        before = until(lambda: (pid := real.on_host(show)) != "0" and pid, 10)
        real.on_host(f"kill -9 {before}")
        until(lambda: real.on_host(show) not in ("0", before), 10)  # noqa: B023  # asked before the next round


def test_a_kill_over_ssh_stops_what_will_not_stop(real: RealHost) -> None:
    """Latch with `stop`: every process of the service is dead, without a lock."""
    agent = real.locked()
    up(real, agent, 4)
    done = real.agent().do("latch", directive=plain(real.kill()), stop=True)
    assert done["blocked"] and done["stopped"]["stopped"] and done["problems"] == []
    assert agent.code("start", slot="blue") == "fenced"


def test_after_a_power_cut_nothing_trades_and_nothing_is_forgotten(real: RealHost) -> None:
    """Latch, fence and releases are as before; the lease died with the boot; the service is not started by itself (K06)."""  # K06
    agent = real.locked()
    up(real, agent, 5)
    latched = real.agent().do("latch", directive=plain(real.kill("kill-9")))["latch"]
    fence = real.agent().hello["fence"]
    lab = real.there()
    driver = NspawnDriver(lab.folder, SystemClock())
    driver.power_cut(lab.host(NAME))
    driver.boot(lab.host(NAME))
    for old in real.agents:
        if isinstance(old, ProcessAgent):
            old.kill()
    again = real.agent()
    facts = until(lambda: again.do("facts"), 10)
    assert again.hello["fence"] == fence and facts["lock"] is None
    assert [row["pid"] for row in facts["running"]] == [None, None]
    assert "kill-9" in [mark["id"] for mark in facts["marks"]]
    assert (
        int.from_bytes(
            bytes.fromhex(real.on_host("head -c 72 /opt/tradeops/pages/stop.page | tail -c 8 | od -An -tx1").replace(" ", "")), "little"
        )
        == latched
    )
    assert until(lambda: real.on_host("systemctl is-active tradeops-guard.service; true") == "active", 10)
    assert real.lock(again)["result"]["fence"] > fence
