"""The proxy that misbehaves, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tradeops.base.clock import SystemClock
from tradeops.lab import processes
from tradeops.lab.errors import LabError
from tradeops.lab.mischief import proxy_argv, start_proxy
from tradeops.lab.proxy import Mischief, Proxy
from tradeops.lab.state import LabHost

_TALK = b"x" * 50_000


async def _through(mischief: Mischief, act: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
    """A server that echoes one line and then talks, behind a proxy; `act` is the client."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline() + _TALK)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxy = await Proxy(("127.0.0.1", port), mischief).listen("127.0.0.1", 0)
    async with server, proxy:
        reader, writer = await asyncio.open_connection(*proxy.sockets[0].getsockname())
        try:
            await act(reader, writer)
        finally:
            writer.close()


def test_delay_holds_back_and_loses_nothing() -> None:
    """All bytes come, later."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun = asyncio.get_running_loop().time()
        writer.write(b"hello\n")
        assert await reader.read(-1) == b"hello\n" + _TALK
        assert asyncio.get_running_loop().time() - begun >= 0.1

    asyncio.run(_through(Mischief("delay", delay_s=0.05), client))


def test_truncate_ends_the_stream_early_and_politely() -> None:
    """Exactly so many bytes, then a plain end."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        assert await reader.read(-1) == (b"hello\n" + _TALK)[:20_000]

    asyncio.run(_through(Mischief("truncate", after_bytes=20_000), client))


def test_reset_strikes_in_mid_stream() -> None:
    """The client's read fails."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        with pytest.raises(ConnectionResetError):
            while await reader.read(4096):
                pass

    asyncio.run(_through(Mischief("reset", after_bytes=20_000), client))


def test_nobody_behind_it_is_a_reset() -> None:
    """A proxy whose server is gone drops the client."""

    async def scenario() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
            proxy = await Proxy(taken.getsockname(), Mischief("delay")).listen("127.0.0.1", 0)
            async with proxy:
                reader, writer = await asyncio.open_connection(*proxy.sockets[0].getsockname())
                with pytest.raises(ConnectionResetError):
                    await reader.read(1)
                writer.close()

    asyncio.run(scenario())


def _host(folder: Path) -> LabHost:
    return LabHost("host-1", "127.0.0.1", 22, 1, "", str(folder / "root"), str(folder), "root", "/usr/bin/python3", "systemd")


def test_the_proxy_runs_as_a_process_and_says_when_it_cannot(tmp_path: Path) -> None:
    """Started by its path, ready when this returns; a taken port is an error with the reason."""
    clock = SystemClock()
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        place = finder.getsockname()
    argv = proxy_argv({"kind": "truncate", "bytes": "0"}, place, ("127.0.0.1", 1))
    proc = start_proxy(_host(tmp_path), argv, "truncate", clock)
    try:
        with socket.create_connection(place, timeout=5) as connection, pytest.raises(ConnectionResetError):
            connection.recv(1)
        with pytest.raises(LabError, match="does not start"):
            start_proxy(_host(tmp_path), argv, "second", clock)
    finally:
        processes.end([proc], clock, grace_s=5)
