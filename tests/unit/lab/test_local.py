"""The local driver: hosts that plain OpenSSH and asyncssh use like any other, their faults, and their end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.support.wait import until
from tests.unit.lab.conftest import CLOCK, Lab, quiet
from tradeops.base.errors import UsageError
from tradeops.contracts.layout import HostLayout
from tradeops.lab import processes
from tradeops.lab.driver import Wish
from tradeops.lab.errors import LabError, LabUnsupported
from tradeops.lab.faults import driver_of, heal, inject
from tradeops.lab.keys import make_key
from tradeops.lab.local import config, manager
from tradeops.lab.local.driver import LocalDriver
from tradeops.lab.state import LabHost, StateFile

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(60),
    pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH's client"),
]


def _banner(host: LabHost, timeout_s: float = 1.0) -> str:
    try:
        with socket.create_connection((host.address, host.port), timeout=timeout_s) as connection:
            return "ssh" if connection.recv(4) == b"SSH-" else "closed"
    except TimeoutError:
        return "silent"
    except OSError as error:
        return type(error).__name__


def test_commands_have_streams_status_and_signal(lab: Lab) -> None:
    """What OpenSSH shows of a real host it shows of this one."""
    done = lab.ssh("h1", "cat; echo err >&2; exit 7", data=b"in\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"in\n", b"err\n")
    assert lab.ssh("h1", "kill -9 $$").returncode == 255
    assert lab.ssh("h1", "no-such-command").returncode == 127


def test_much_goes_both_ways(lab: Lab) -> None:
    """Backpressure holds: 8 MB in and out, nothing lost."""
    data = os.urandom(1 << 20) * 8
    done = lab.ssh("h1", "cat", data=data)
    assert (done.returncode, done.stderr, len(done.stdout)) == (0, b"", len(data))
    assert done.stdout == data


def test_only_known_keys_and_users_get_in(lab: Lab) -> None:
    """A stranger's key, and a user the host does not know."""
    assert lab.ssh("h1", "true", key="stranger").returncode == 255
    assert lab.ssh("h1", "true", user="root").returncode == 255
    assert lab.ssh("h1", "true").returncode == 0


def test_the_operator_only_ever_gets_the_agent(lab: Lab) -> None:
    """Whatever was asked for, the forced command runs (and says so when there is none)."""
    agent = HostLayout(Path(lab.host("h2").root)).agent_launcher
    missing = lab.ssh("h2", "cat /etc/passwd", user="tradeops")
    assert missing.returncode != 0
    assert b"tradeops-agent" in missing.stderr
    agent.parent.mkdir(parents=True)
    agent.write_text("import os, sys; print('agent', os.environ['SSH_ORIGINAL_COMMAND'], sys.stdin.read())")
    done = lab.ssh("h2", "cat /etc/passwd", user="tradeops", data=b"hello")
    assert done.stdout == b"agent cat /etc/passwd hello\n"
    agent.unlink()


def test_a_lost_client_closes_the_pipes_and_the_process_ends(lab: Lab) -> None:
    """As with OpenSSH: the command is not killed, its input ends."""
    note = lab.folder / "ended"
    client = subprocess.Popen(lab.argv("h1", f"echo up; cat >/dev/null; touch {note}"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with client:
        assert client.stdout and client.stdout.readline() == b"up\n"
        client.kill()
    assert until(note.exists, 10)


@pytest.mark.parametrize(
    ("kind", "settings", "comes_to"),
    [
        ("partition", {}, "silent"),
        ("drop", {}, "silent"),
        ("reject", {"port": "ssh"}, "ConnectionRefusedError"),
        ("sshd-stop", {}, "ConnectionRefusedError"),
        ("delay", {"ms": "3000"}, "silent"),
        ("truncate", {"bytes": "0"}, "closed"),
        ("reset", {"bytes": "0"}, "ConnectionResetError"),
        ("power-cut", {}, "ConnectionRefusedError"),
    ],
)
def test_what_a_connect_comes_to(lab: Lab, kind: str, settings: dict[str, str], comes_to: str) -> None:
    """This kind of unreachable, on this host alone; healed, it answers."""
    inject(lab.folder, "h2", kind, settings, CLOCK)
    assert _banner(lab.host("h2")) == comes_to
    assert _banner(lab.host("h1")) == "ssh"
    with pytest.raises(UsageError, match="in force already"):
        inject(lab.folder, "h2", kind, settings, CLOCK)
    assert [fault.kind for fault in heal(lab.folder, "h2", kind, CLOCK)] == [kind]
    assert _banner(lab.host("h2"), 5) == "ssh"
    assert lab.state.faults == ()


def test_an_open_session_survives_a_closed_door(lab: Lab) -> None:
    """Refusing new connections leaves those that are open."""
    with subprocess.Popen(lab.argv("h1", "echo up; cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin and client.stdout and client.stdout.readline() == b"up\n"
        inject(lab.folder, "h1", "sshd-stop", {}, CLOCK)
        client.stdin.write(b"still here\n")
        client.stdin.close()
        assert client.stdout.read() == b"still here\n"


def test_changed_host_key_is_refused_and_healed(lab: Lab) -> None:
    """By a client that pins it."""
    inject(lab.folder, "h1", "host-key", {}, CLOCK)
    assert lab.ssh("h1", "true").returncode == 255
    heal(lab.folder, "h1", "host-key", CLOCK)
    assert lab.ssh("h1", "true").returncode == 0


def test_reboot_ends_what_ran_and_comes_back(lab: Lab) -> None:
    """Other processes, the same address and key; it is over by itself."""
    before = lab.host("h1").init
    lab.ssh("h1", "setsid sleep 3600 >/dev/null 2>&1 </dev/null &")
    mark = f"{config.HOST_MARK}={lab.state.id}/h1"
    assert until(lambda: processes.marked([mark]), 5)
    inject(lab.folder, "h1", "reboot", {}, CLOCK)
    assert processes.marked([mark]) == []
    assert before is not None
    assert lab.host("h1").init != before
    assert lab.ssh("h1", "true").returncode == 0
    assert lab.state.faults == ()


def test_what_cannot_be_done_here_says_why(lab: Lab) -> None:
    """Usage errors that name the other driver, or what is missing."""
    for kind, settings in (
        ("loss", {}),
        ("slow", {}),
        ("disk-full", {}),
        ("read-only", {}),
        ("drop", {"port": "ssh"}),
        ("sshd-freeze", {}),
        ("delay", {"port": "all"}),
    ):
        with pytest.raises(LabUnsupported) as caught:
            inject(lab.folder, "h1", kind, settings, CLOCK)
        assert caught.value.next == "use the nspawn driver"
    with pytest.raises(LabError, match="not enrolled"):
        inject(lab.folder, "h1", "guard-freeze", {}, CLOCK)


def test_the_guard_is_reached_through_the_hosts_cable(lab: Lab) -> None:
    """Its port passes on, is reset where no guard listens, refuses when told to, and hangs with the host's when it is cut off."""
    host = lab.host("h1")
    with socket.create_server((host.fields["control_address"], host.control_port)) as guard:
        assert _ask_guard(host, guard) == b"pong"
        inject(lab.folder, "h1", "partition", {}, CLOCK)
        with socket.create_connection((host.address, host.control_port), timeout=0.5) as connection, pytest.raises(TimeoutError):
            connection.recv(1)
        heal(lab.folder, "h1", None, CLOCK)
        assert _ask_guard(host, guard) == b"pong"
        inject(lab.folder, "h1", "reject", {"port": "control"}, CLOCK)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host.address, host.control_port), timeout=5)
        assert _banner(host) == "ssh"
        heal(lab.folder, "h1", None, CLOCK)
        inject(lab.folder, "h1", "truncate", {"port": "control", "bytes": "2"}, CLOCK)
        assert _ask_guard(host, guard) == b"po"
    heal(lab.folder, "h1", None, CLOCK)
    with pytest.raises(ConnectionResetError), socket.create_connection((host.address, host.control_port), timeout=5) as connection:
        connection.recv(1)


def _ask_guard(host: LabHost, guard: socket.socket) -> bytes:
    """What a client of the fleet's address reads when the guard says pong and ends."""
    with socket.create_connection((host.address, host.control_port), timeout=5) as connection:
        for _ in range(2):  # a client of an earlier, hanging connection may stand first in the queue
            served, _peer = guard.accept()
            with served:
                served.sendall(b"pong")
            connection.settimeout(0.2)
            try:
                got = b""
                while piece := connection.recv(64):
                    got += piece
                return got
            except TimeoutError:
                continue
        raise AssertionError("the guard's port does not pass on")


def test_down_leaves_no_process_and_no_folder_also_after_a_kill(tmp_path: Path) -> None:
    """The operator died while it brought hosts up: what runs is found by the lab's mark."""
    driver = LocalDriver(tmp_path, CLOCK)
    state = driver.up(Wish(tmp_path, 2, make_key(tmp_path / "admin")), quiet)
    daemons = [proc for host in state.hosts for proc in (host.init, host.manager) if proc]
    assert len(daemons) == 4
    # as if nobody had come to write the pids down
    StateFile(tmp_path).update(lambda now: msgspec.structs.replace(now, hosts=tuple(_unknown(host) for host in now.hosts)))
    processes.send(daemons[0], signal.SIGSTOP)
    driver.down(quiet)
    assert until(lambda: not any(processes.alive(proc) for proc in daemons), 5)
    assert not (tmp_path / "hosts" / "h1").exists()
    assert not Path(state.hosts[0].fields["supervisor_socket"]).parent.parent.exists()


def _unknown(host: LabHost) -> LabHost:
    return msgspec.structs.replace(host, init=None, manager=None)


def test_what_is_asked_for_must_make_sense(tmp_path: Path) -> None:
    """Counts and ranges; nothing is left behind by a refusal."""
    driver = LocalDriver(tmp_path, CLOCK)
    for hosts, network in ((0, None), (65, None), (2, "10.0.0.0/8"), (2, "nonsense")):
        with pytest.raises((LabUnsupported, LabError)):
            driver.up(Wish(tmp_path, hosts, "ssh-ed25519 AAAA", network=network), quiet)
    assert list(tmp_path.iterdir()) == []


def test_drivers_have_names(tmp_path: Path) -> None:
    """Two of them."""
    assert [driver_of(tmp_path, CLOCK, name).name for name in ("local", "nspawn")] == ["local", "nspawn"]
    with pytest.raises(UsageError, match="no driver 'vagrant'"):
        driver_of(tmp_path, CLOCK, "vagrant")


def test_values_that_would_break_the_configuration_are_refused() -> None:
    """A folder whose name begins a comment."""
    with pytest.raises(LabError, match="cannot stand"):
        manager.escaped("/var/a ;b")
    assert manager.escaped("/var/50%") == "/var/50%%"
