"""A guard's TLS end that says whatever a test has it say, on asyncio in a thread."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.support.sshd import host
from tradeops.base.clock import SystemClock
from tradeops.fleet.host import Host
from tradeops.fleet.tls import TlsFiles, create_ca, issue_client, issue_guard

Answer = Callable[["Heard"], Awaitable[bytes | None]]


@dataclass(frozen=True)
class Heard:
    """One request. client: whether a client certificate was shown."""

    method: str
    target: str
    body: bytes
    client: bool


@dataclass
class TlsGuard:
    """port, and every request that came."""

    name: str
    port: int = 0
    connections: int = 0
    heard: list[Heard] = field(default_factory=list)

    def host(self, *, address: str = "127.0.0.1", jump: str | None = None) -> Host:
        """This guard's host."""
        return host(self.name, port=1, control_port=self.port, address=address, jump=jump)


def make_tls(folder: Path, *names: str, now_ns: int | None = None) -> TlsFiles:
    """A fleet's CA with guards of these names and the operator."""
    files = TlsFiles(folder)
    now_ns = SystemClock().wall_ns() if now_ns is None else now_ns
    create_ca(files, "test-fleet", now_ns=now_ns)
    issue_client(files, "operator-1", now_ns=now_ns)
    for name in names:
        issue_guard(files, name, now_ns=now_ns)
    return files


def http(body: bytes, status: str = "200 OK") -> bytes:
    """A whole HTTP answer."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def tls_guards(files: TlsFiles, answers: dict[str, Answer], *, shows: str | None = None) -> Iterator[dict[str, TlsGuard]]:
    """A guard per name. An answer of None hangs, b"" closes at once.  shows: whose certificate all of them show."""
    guards = {name: TlsGuard(name) for name in answers}
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        tasks: set[asyncio.Task[None]] = set()

        async def talk(guard: TlsGuard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task
            tasks.add(task)
            guard.connections += 1
            try:
                answer = await answers[guard.name](await _read(guard, reader, writer))
                if answer is None:
                    await stop.wait()
                writer.write(answer or b"")
                await writer.drain()
            except (OSError, EOFError, ssl.SSLError):
                pass
            finally:
                writer.transport.abort()

        servers = []
        for guard in guards.values():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files.guard(shows or guard.name), files.guard_key(shows or guard.name))
            context.load_verify_locations(files.ca)
            context.verify_mode = ssl.CERT_OPTIONAL
            server = await asyncio.start_server(partial(talk, guard), "127.0.0.1", 0, ssl=context)
            guard.port = server.sockets[0].getsockname()[1]
            servers.append(server)
        ready.set()
        await stop.wait()
        for server in servers:
            server.close()
        await asyncio.gather(*tasks)

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert ready.wait(20)
    try:
        yield guards
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


async def _read(guard: TlsGuard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    method, target, _ = head.split(" ", 2)
    sizes = [int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length:")]
    body = await reader.readexactly(sizes[0] if sizes else 0)
    heard = Heard(method, target, body, bool(writer.get_extra_info("peercert")))
    guard.heard.append(heard)
    return heard
