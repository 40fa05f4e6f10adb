"""Each fault does to a real host what its name says, and healing undoes it."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.fleet.conftest import Lab, banner
from tests.support.wait import until
from tradeops.base.clock import SystemClock
from tradeops.base.errors import UsageError
from tradeops.lab.faults import heal, inject

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(120)]

CLOCK = SystemClock()


def _inject(lab: Lab, host: str, kind: str, **settings: str) -> None:
    inject(lab.folder, host, kind, settings, CLOCK)


@pytest.mark.parametrize(
    ("kind", "settings", "comes_to"),
    [
        ("partition", {}, "timeout"),
        ("drop", {"port": "ssh"}, "timeout"),
        ("reject", {"port": "ssh"}, "refused"),
        ("sshd-freeze", {}, "silent"),
        ("sshd-stop", {}, "refused"),
        ("power-cut", {}, "timeout"),
        ("delay", {"ms": "1500"}, "silent"),
        ("truncate", {"bytes": "0"}, "closed"),
        ("reset", {"bytes": "0"}, "ConnectionResetError"),
    ],
)
def test_what_a_connect_comes_to(lab: Lab, kind: str, settings: dict[str, str], comes_to: str) -> None:
    """The operator sees exactly this kind of unreachable, on this host alone, and the host answers again once healed."""
    _inject(lab, "h8", kind, **settings)
    assert banner(lab.host("h8"), 1) == comes_to
    assert banner(lab.host("h7"), 2) == "ssh"
    heal(lab.folder, "h8", kind, CLOCK)
    assert until(lambda: banner(lab.host("h8"), 2) == "ssh", 20)


def test_a_partition_hangs_an_open_session(lab: Lab) -> None:
    """A command that runs when the cable is cut neither ends nor fails by itself."""
    argv = lab.ssh_argv("h2", "echo ready; read line; echo done")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session:
        assert session.stdin and session.stdout
        assert session.stdout.readline() == b"ready\n"
        _inject(lab, "h2", "partition")
        session.stdin.write(b"go\n")
        session.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            session.wait(1.5)
        heal(lab.folder, "h2", "partition", CLOCK)
        assert session.stdout.readline() == b"done\n"


def test_reset_strikes_in_mid_stream(lab: Lab) -> None:
    """After so many bytes the connection is reset: a copy ends half way, with an error."""
    _inject(lab, "h3", "reset", bytes="200000")
    done = lab.ssh("h3", "head -c 1000000 /dev/zero")
    assert done.returncode == 255
    assert 0 < len(done.stdout) < 1_000_000


def test_loss_and_slow_let_some_through(lab: Lab) -> None:
    """A lossy cable still carries a command; a slow one makes 64 KB take its time."""
    _inject(lab, "h4", "loss", percent="10")
    assert until(lambda: lab.ssh("h4", "echo through", timeout_s=30).stdout == "through\n", 60)
    heal(lab.folder, "h4", "loss", CLOCK)
    _inject(lab, "h4", "slow", kbit="400")
    begun = time.monotonic()
    done = lab.ssh("h4", "head -c 64000 /dev/zero", timeout_s=30)
    assert len(done.stdout) == 64000
    assert time.monotonic() - begun > 1.0


def test_full_disk_takes_no_byte_and_healing_gives_room(lab: Lab) -> None:
    """ENOSPC for everything on the host."""
    _inject(lab, "h5", "disk-full")
    full = lab.ssh("h5", "head -c 100000 /dev/zero > /opt/some")
    assert full.returncode != 0
    assert "No space left" in full.stderr
    heal(lab.folder, "h5", "disk-full", CLOCK)
    assert lab.ssh("h5", "head -c 100000 /dev/zero > /opt/some && rm /opt/some").returncode == 0


def test_read_only_root(lab: Lab) -> None:
    """EROFS below the root of tradeops, and elsewhere nothing changes."""
    lab.ssh("h5", "mkdir -p /opt/tradeops")
    _inject(lab, "h5", "read-only")
    refused = lab.ssh("h5", "touch /opt/tradeops/some")
    assert "Read-only" in refused.stderr
    assert lab.ssh("h5", "touch /root/some").returncode == 0
    heal(lab.folder, "h5", "read-only", CLOCK)
    assert lab.ssh("h5", "touch /opt/tradeops/some && rm -r /opt/tradeops").returncode == 0


def test_reboot_comes_back_with_its_identity(lab: Lab) -> None:
    """Another boot, the same machine id, host key and address; later faults find the new systemd."""
    before = lab.ssh("h6", "cat /etc/machine-id; stat -c %Y /proc/1").stdout.split()
    _inject(lab, "h6", "reboot")
    after = until(lab.ssh("h6", "cat /etc/machine-id; stat -c %Y /proc/1").stdout.split, 20)
    assert after[0] == before[0]
    assert after[1] != before[1]
    _inject(lab, "h6", "sshd-stop")
    assert banner(lab.host("h6"), 1) == "refused"


def test_changed_host_key_is_refused_by_who_pins_it(lab: Lab) -> None:
    """OpenSSH with the pinned key does not log in; healed, it does."""
    _inject(lab, "h6", "host-key")
    refused = lab.ssh("h6", "true")
    assert refused.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in refused.stderr or "Host key verification failed" in refused.stderr
    heal(lab.folder, "h6", "host-key", CLOCK)
    assert lab.ssh("h6", "true").returncode == 0


def test_a_fault_stands_once_and_is_known_by_its_name(lab: Lab) -> None:
    """Twice the same, an unknown name, an unknown setting, a number out of bounds, nothing to heal: each says so."""
    _inject(lab, "h1", "reject")
    for kind, settings, words in (
        ("reject", {}, "in force already"),
        ("earthquake", {}, "no fault"),
        ("loss", {"share": "1"}, "no setting"),
        ("loss", {"percent": "0"}, "it may be"),
        ("delay", {"port": "all"}, "takes one port"),
        ("drop", {"port": "web"}, "no port is called"),
    ):
        with pytest.raises(UsageError, match=words):
            _inject(lab, "h1", kind, **settings)
    with pytest.raises(UsageError, match="not in force"):
        heal(lab.folder, "h1", "drop", CLOCK)


def test_rejected_port_is_reset_for_open_connections_too(lab: Lab) -> None:
    """An open connection is reset by its next packet, so that no session lives through a reject."""
    host = lab.host("h2")
    with socket.create_connection((host.address, host.port), timeout=5) as connection:
        assert connection.recv(4) == b"SSH-"
        _inject(lab, "h2", "reject", port="ssh")
        connection.sendall(b"SSH-2.0-test\r\n")
        connection.settimeout(5)
        with pytest.raises(ConnectionResetError):
            while connection.recv(4096):
                pass


def test_folder_of_the_lab_is_private(lab: Lab) -> None:
    """lab.json names what root will end and remove: nobody else may write it."""
    assert Path(lab.folder, "lab.json").stat().st_mode & 0o077 == 0
