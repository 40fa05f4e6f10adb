"""A TCP proxy that misbehaves: delays, resets in mid-stream, or ends the stream early. Run by its path; standard library alone.

    python -I proxy.py --listen ADDRESS:PORT --to ADDRESS:PORT --kind pass|delay|reset|truncate [--delay-ms N] [--after-bytes N]

Prints `ready` once it listens. Bytes are counted per connection, from the server to the client.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

KINDS = ("pass", "delay", "reset", "truncate")
_CHUNK_BYTES = 16 << 10
_CONNECT_S = 5.0
_LINGER_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Mischief:
    """What is done to a connection; nothing by `pass`.

    delay_s: added to every piece, each way.  after_bytes: when reset or truncate strikes.
    """

    kind: str
    delay_s: float = 0.0
    after_bytes: int = 0


class Proxy:
    """Listens at one place and passes on to another, with mischief."""

    def __init__(self, to: tuple[str, int], mischief: Mischief) -> None:
        self._to = to
        self._mischief = mischief

    async def listen(self, address: str, port: int) -> asyncio.Server:
        """Raises OSError."""
        return await asyncio.start_server(self._serve, address, port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.wait_for(asyncio.open_connection(*self._to), _CONNECT_S)
        except (OSError, TimeoutError):
            _reset(writer)
            return
        up_reader, up_writer = upstream
        ways = [asyncio.create_task(self._pass(reader, up_writer, None)), asyncio.create_task(self._pass(up_reader, writer, self._limit()))]
        try:
            with suppress(OSError):
                await asyncio.gather(*ways)
            if self._mischief.kind == "reset":
                _reset(writer)
        finally:
            for way in ways:
                way.cancel()
            writer.close()
            up_writer.close()

    def _limit(self) -> int | None:
        return None if self._mischief.kind in ("pass", "delay") else self._mischief.after_bytes

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
        """Copy until the stream ends; raises _Cut, an OSError, when `limit` bytes went through."""
        while limit is None or limit > 0:
            data = await reader.read(_CHUNK_BYTES if limit is None else min(limit, _CHUNK_BYTES))
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            if self._mischief.delay_s:
                await asyncio.sleep(self._mischief.delay_s)
            writer.write(data)
            await writer.drain()
            limit = None if limit is None else limit - len(data)
        raise _Cut


class _Cut(OSError):
    """The limit was reached: both ways end."""


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    writer.transport.abort()


def _place(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address, int(port)


async def _run(listen: tuple[str, int], to: tuple[str, int], mischief: Mischief) -> None:
    server = await Proxy(to, mischief).listen(*listen)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


def main(argv: Sequence[str] | None = None) -> None:
    """Runs until it is ended."""
    parser = argparse.ArgumentParser(description="a TCP proxy that misbehaves")
    parser.add_argument("--listen", type=_place, required=True)
    parser.add_argument("--to", type=_place, required=True)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--after-bytes", type=int, default=0)
    asked = parser.parse_args(argv)
    asyncio.run(_run(asked.listen, asked.to, Mischief(asked.kind, asked.delay_ms / 1000, asked.after_bytes)))


if __name__ == "__main__":
    main()
