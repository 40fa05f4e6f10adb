"""What one local host is told about itself: a file in its folder, read at each boot."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tradeops.contracts.codec import parse
from tradeops.contracts.layout import HostLayout

SCHEMA = "tradeops/lab-local-host/v1"
HOST_MARK = "TRADEOPS_LAB_HOST"
"""Environment variable of what runs on one host: `LAB/HOST`. What is left of a host is found by it."""


class LocalHost(msgspec.Struct, frozen=True):
    """address: the host's.  port: of its SSH server.  control_port: where its guard is reached, which itself listens on
    the same port of `control_address`.  run: short-named folder for sockets.  shells, forced: files of
    public keys, read at every login: user `admin_user` gets a shell, `user` only ever gets `forced_argv`.
    """

    schema: str
    lab: str
    name: str
    address: str
    port: int
    control_port: int
    control_address: str
    folder: str
    root: str
    run: str
    admin_user: str
    user: str
    shells: str
    forced: str
    forced_argv: tuple[str, ...]
    interpreter: str
    service: str
    host_key: str

    @property
    def mark(self) -> str:
        """Value of HOST_MARK."""
        return f"{self.lab}/{self.name}"

    @property
    def supervisor_socket(self) -> Path:
        """Where supervisord answers."""
        return Path(self.run) / "supervisor.sock"

    @property
    def door_socket(self) -> Path:
        """Where the SSH server is told to move its listener."""
        return Path(self.run) / "door.sock"


def enrolled(root: Path) -> bool:
    """Whether a platform was installed below `root`."""
    return HostLayout(root).host_file.exists()


def load(path: Path) -> LocalHost:
    """Raises OSError, msgspec.DecodeError."""
    return parse(path.read_bytes(), LocalHost)
