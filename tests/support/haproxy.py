"""A real HAProxy on loopback, in a folder, for whoever runs the tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.sshd import free_port, listens
from tests.support.wait import until

HAPROXY = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
BACKEND = "web"
_CONFIG = """\
global
  stats socket {folder}/admin.sock level admin
  stats socket {folder}/operator.sock level operator
  stats socket ipv4@127.0.0.1:{stats} level admin
defaults
  mode http
  retries 3
  option redispatch
  timeout connect 1s
  timeout client 10s
  timeout server 10s
  timeout queue 5s
frontend front
  bind 127.0.0.1:{port}
  default_backend web
backend web
  balance roundrobin
{servers}
"""


@dataclass(frozen=True)
class RunningProxy:
    """port: where clients come in.  admin, operator: its stats sockets, by what may be done there; stats: the TCP one."""

    port: int
    admin: str
    operator: str
    stats: str
    pid: int

    def end(self) -> None:
        """SIGKILL, and nobody listens any more."""
        os.kill(self.pid, signal.SIGKILL)
        until(lambda: not listens(self.port), 10)


def say(stats: str, command: str) -> str:
    """What a person types at a stats socket, and the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(stats)
        connection.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()


@contextmanager
def haproxy(servers: Mapping[str, str], *, options: str = "weight 100") -> Iterator[RunningProxy]:
    """servers: name -> address:port. options: of every server."""
    assert HAPROXY
    with tempfile.TemporaryDirectory(prefix="haproxy-") as folder:  # short: the path of a socket has 107 bytes
        port, stats = free_port(), free_port()
        lines = "\n".join(f"  server {name} {address} {options}" for name, address in servers.items())
        config = Path(folder) / "haproxy.cfg"
        config.write_text(_CONFIG.format(folder=folder, stats=stats, port=port, servers=lines))
        process = subprocess.Popen([HAPROXY, "-db", "-f", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: listens(port) and Path(folder, "admin.sock").exists(), 10)
            yield RunningProxy(port, f"{folder}/admin.sock", f"{folder}/operator.sock", f"127.0.0.1:{stats}", process.pid)
        finally:
            process.kill()
            process.wait(10)
