"""SSH servers that misbehave, each in its own way, on asyncssh in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import asyncssh

Handle = Callable[["asyncssh.SSHServerProcess[bytes]"], Awaitable[None]]


class _LetIn(asyncssh.SSHServer):
    """Lets every key in."""

    def __init__(self, connections: list[asyncssh.SSHServerConnection]) -> None:
        self._connections = connections

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connections.append(conn)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return True


class _HangsInLogin(_LetIn):
    """Accepts the connection and never decides about the key."""

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:  # type: ignore[override]  # asyncssh takes both
        await asyncio.Event().wait()
        return False


class _NeverStarts(_LetIn):
    """Lets everybody in and never answers a request for a session."""

    async def session_requested(self) -> bool:
        await asyncio.Event().wait()
        return False


class _Refuses(_LetIn):
    """Lets no key in."""

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return False


SERVERS: dict[str, type[_LetIn]] = {"lets in": _LetIn, "hangs in login": _HangsInLogin, "refuses": _Refuses, "never starts": _NeverStarts}


class BadSsh:
    """One server. port, host_key: where and as whom it answers."""

    def __init__(self, manners: str, handle: Handle | None, key: asyncssh.SSHKey) -> None:
        self._manners = manners
        self._handle = handle
        self._key = key
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.host_key = " ".join(key.export_public_key().decode().split()[:2])
        self.port = 0

    def start(self) -> None:
        """Listen; returns when it does."""
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        """End every connection and the thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        connections: list[asyncssh.SSHServerConnection] = []
        acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[self._key],
            server_factory=lambda: SERVERS[self._manners](connections),
            process_factory=self._handle,
            encoding=None,
        )
        self.port = acceptor.get_port()
        self._ready.set()
        await self._stop.wait()
        acceptor.close()
        for connection in connections:
            connection.abort()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        for connection in connections:
            await connection.wait_closed()


@contextmanager
def bad_ssh(handle: Handle | None = None, *, manners: str = "lets in", key: asyncssh.SSHKey | None = None) -> Iterator[BadSsh]:
    """A server that runs `handle` for every command."""
    server = BadSsh(manners, handle, key or asyncssh.generate_private_key("ssh-ed25519"))
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that accepts and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in accepted:
                connection.close()
