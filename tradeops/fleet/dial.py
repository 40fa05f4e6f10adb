"""The first half of a connection: where it goes, how much time is left, the TCP stream; and what a wrong host key is called."""

from __future__ import annotations

import getpass
import socket
from dataclasses import dataclass

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.base.errors import HostKeyMismatch, Unreachable
from tradeops.contracts.publickey import fingerprint
from tradeops.fleet.host import Host, JumpHost
from tradeops.fleet.resolve import resolve


@dataclass(frozen=True)
class Target:
    """Where one connection goes: a host under one of its users, or a jump host."""

    name: str
    address: str
    port: int
    user: str
    host_key: str
    identity_file: str | None
    jump: str | None

    @classmethod
    def of_host(cls, host: Host, user: str) -> Target:
        """A host, logging in as `user`."""
        return cls(host.name, host.address, host.port, user, host.host_key, host.identity_file, host.jump)

    @classmethod
    def of_jump(cls, hop: JumpHost) -> Target:
        """A jump host, logging in as whom it says or as whoever runs this."""
        user = hop.user or getpass.getuser()
        return cls(f"jump host {hop.name}", hop.address, hop.port, user, hop.host_key, hop.identity_file, hop.jump)


class Budget:
    """What is left of the time for one opening."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._end_ns = clock.monotonic_ns() + int(seconds * NS_PER_S)
        self._seconds = seconds

    def left(self, most_s: float) -> float:
        """At most `most_s`. Raises Unreachable when nothing is left."""
        left_s = (self._end_ns - self._clock.monotonic_ns()) / NS_PER_S
        if left_s <= 0:
            raise Unreachable(f"no SSH session within {self._seconds:g} s")
        return min(most_s, left_s)


def dial(target: Target, budget: Budget, *, connect_s: float, silence_s: float) -> socket.socket:
    """A TCP connection to the target's first address that answers. Raises Unreachable."""
    last = "no address"
    for address in resolve(target.address, timeout_s=budget.left(connect_s)):
        wait_s = budget.left(connect_s)
        try:
            return _tuned(socket.create_connection((address, target.port), timeout=wait_s), silence_s)
        except TimeoutError:
            last = f"did not answer within {wait_s:.3g} s"
        except OSError as error:
            last = error.strerror or str(error)
    raise Unreachable(f"SSH at {target.address}:{target.port}: {last}", where=target.name, next="is the host up, and its sshd?")


def _tuned(sock: socket.socket, silence_s: float) -> socket.socket:
    """No waiting for more to send, and the kernel gives up on a peer that takes nothing, however it does that."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(silence_s * 1000))
    return sock


def key_mismatch(target: Target, shown: str, expected: str) -> HostKeyMismatch:
    """The error for a host key line other than the expected one ("" for none), with both fingerprints."""
    shown_print = f"{fingerprint(shown)} ({_kind(shown)})"
    if not expected:
        return HostKeyMismatch(
            f"its host key {shown_print} is not known: none is pinned in the fleet file, none is in known_hosts",
            where=target.name,
            holds="nothing was sent",
            next="compare it with what the host's console shows, then pin it as host_key",
        )
    return HostKeyMismatch(
        f"it shows the host key {shown_print}, expected is {fingerprint(expected)} ({_kind(expected)})",
        where=target.name,
        holds="nothing was sent",
        next="find out why before anything else; if the host was rebuilt, pin the new key as host_key",
    )


def _kind(line: str) -> str:
    return line.partition(" ")[0]


def at_host(name: str, error: Unreachable) -> Unreachable:
    """The same error, saying on which host."""
    if error.where is None:
        error.where = name
    return error
