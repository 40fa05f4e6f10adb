"""Waits for an sshd to speak."""

from __future__ import annotations

import socket

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.lab.errors import LabError

_TRY_S = 1.0
_POLL_S = 0.02


def ssh_answers(address: str, port: int, timeout_s: float) -> bool:
    """Whether an SSH server greets there within `timeout_s`."""
    try:
        with socket.create_connection((address, port), timeout=timeout_s) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def wait_for_ssh(name: str, address: str, port: int, clock: Clock, *, within_s: float) -> None:
    """Returns when it greets. Raises LabError when it does not."""
    deadline = clock.monotonic_ns() + int(within_s * NS_PER_S)
    while not ssh_answers(address, port, _TRY_S):
        if clock.monotonic_ns() > deadline:
            raise LabError(f"its sshd does not answer on {address}:{port} within {within_s:g} s", where=name)
        clock.sleep_s(_POLL_S)
