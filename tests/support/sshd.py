"""A real OpenSSH server on loopback, in a folder, for whoever runs the tests."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.support.wait import until
from tradeops.fleet.host import Host

SSHD = Path("/usr/sbin/sshd")
_SIZE = {"rsa": ("-b", "2048")}


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> str:
    """A key pair at `path`; its public line."""
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *_SIZE.get(kind, ()), "-N", passphrase, "-C", "", "-f", str(path)], check=True)
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


def free_port() -> int:
    """A port nobody listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def listens(port: int) -> bool:
    """Whether something accepts on the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def host(name: str = "host-1", *, port: int, host_key: str = "", identity: Path | None = None, **more: Any) -> Host:
    """A host on loopback, reached as whoever runs the tests."""
    values: dict[str, Any] = {
        "name": name,
        "address": "127.0.0.1",
        "port": port,
        "user": getpass.getuser(),
        "host_key": host_key,
        "control_port": 1,
        "interpreter": "/usr/bin/python3",
        "root": PurePosixPath("/opt/tradeops"),
        "service_manager": "systemd",
        "admin_user": getpass.getuser(),
        "identity_file": str(identity) if identity else None,
    }
    return Host(**{**values, **more})


@dataclass(frozen=True)
class Sshd:
    """A running server. client_key: a private key file it lets in."""

    port: int
    pid: int
    host_key: str
    client_key: Path
    folder: Path

    def host(self, name: str = "host-1", **more: Any) -> Host:
        """This server as a host with its key pinned."""
        values: dict[str, Any] = {"host_key": self.host_key, "identity": self.client_key, **more}
        return host(name, port=self.port, **values)


@contextmanager
def running_sshd(folder: Path, *lines: str) -> Iterator[Sshd]:
    """Start sshd with further configuration `lines`; skip the test where there is none."""
    if not SSHD.exists():
        pytest.skip("there is no OpenSSH server here")
    if os.geteuid() == 0:
        # sshd asks for its empty chroot when it runs as root; the system makes it at boot, in the same way.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    host_key = make_key(folder / "host_key")
    public = make_key(folder / "client_key")
    (folder / "authorized_keys").write_text(public + "\n")
    port = free_port()
    settings = [
        f"ListenAddress 127.0.0.1:{port}",
        f"HostKey {folder / 'host_key'}",
        f"AuthorizedKeysFile {folder / 'authorized_keys'}",
        f"PidFile {folder / 'sshd.pid'}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "PermitRootLogin prohibit-password",
        *lines,
    ]
    (folder / "sshd_config").write_text("\n".join(settings) + "\n")
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log, stdin=subprocess.DEVNULL)
    try:
        until(lambda: listens(port), 10)
        yield Sshd(port, process.pid, host_key, folder / "client_key", folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
