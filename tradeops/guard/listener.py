"""Accepts TLS connections and keeps room for the next: what is slow or idle makes way, so that a kill always gets in."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.base.logs import event

_LOG = logging.getLogger("guard.listener")
HANDSHAKE_S: Final = 10.0
IDLE_S: Final = 10.0
"""How long a connection may be without a whole request."""
CONNECTIONS_MAX: Final = 512
_BACKLOG: Final = 512
_SWEEP_S: Final = 0.5


@dataclass(eq=False)
class Connection:
    """One accepted socket. busy: a whole request head is being answered; such a one is never cut off to make room."""

    raw: socket.socket
    quiet_since_ns: int
    busy: int = 0
    transport: asyncio.BaseTransport | None = None
    opening: asyncio.Task[None] | None = None


class Listener:
    """Listens on one address; `make` gives the protocol of each connection."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext, make: Callable[[], asyncio.Protocol], clock: Clock) -> None:
        self._sock = sock
        self._tls = tls
        self._make = make
        self._clock = clock
        self._open: dict[object, Connection] = {}

    def connection(self, protocol: object) -> Connection | None:
        """The connection that this protocol serves."""
        return self._open.get(protocol)

    async def run(self) -> None:
        """Accept for ever. Raises OSError when the socket itself fails."""
        self._sock.listen(_BACKLOG)
        self._sock.setblocking(False)
        loop = asyncio.get_running_loop()
        sweeper = loop.create_task(self._sweep())
        try:
            while True:
                try:
                    raw, _ = await loop.sock_accept(self._sock)
                except OSError as error:
                    event(_LOG, logging.ERROR, "cannot accept", problem=str(error))
                    self._make_room(len(self._open) - 1)
                    await asyncio.sleep(0.05)
                    continue
                self._make_room(CONNECTIONS_MAX - 1)
                self._take(raw)
        finally:
            sweeper.cancel()
            for connection in list(self._open.values()):
                self._cut(connection)

    def _take(self, raw: socket.socket) -> None:
        raw.setblocking(False)
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        protocol = self._make()
        connection = Connection(raw, self._clock.monotonic_ns())
        self._open[protocol] = connection
        connection.opening = asyncio.get_running_loop().create_task(self._serve(protocol, connection))

    async def _serve(self, protocol: asyncio.Protocol, connection: Connection) -> None:
        """Shake hands, then leave the connection to its protocol; the sweep notices its end."""
        loop = asyncio.get_running_loop()
        try:
            connection.transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, connection.raw, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_S, ssl_shutdown_timeout=1.0
            )
        except (OSError, asyncio.CancelledError):
            connection.raw.close()
            self._open.pop(protocol, None)

    def _make_room(self, allowed: int) -> None:
        """Cut the ones that have been quiet longest until no more than `allowed` are left or all that are left are busy."""
        if len(self._open) <= allowed:
            return
        quiet = sorted((one for one in self._open.values() if not one.busy), key=lambda one: one.quiet_since_ns)
        for connection in quiet[: len(self._open) - max(0, allowed)]:
            self._cut(connection)

    def _cut(self, connection: Connection) -> None:
        if isinstance(connection.transport, asyncio.Transport):
            connection.transport.abort()
        if connection.opening is not None:
            connection.opening.cancel()
        self._open = {protocol: one for protocol, one in self._open.items() if one is not connection}

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            before_ns = self._clock.monotonic_ns() - int(IDLE_S * NS_PER_S)
            for connection in [one for one in self._open.values() if not one.busy and one.quiet_since_ns < before_ns]:
                self._cut(connection)
            for protocol in [protocol for protocol, one in self._open.items() if one.transport is not None and one.transport.is_closing()]:
                del self._open[protocol]
