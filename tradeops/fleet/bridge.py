"""A tunnel's stream as a socket: two threads carry the bytes, since asyncio and TLS want a real descriptor."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

_CHUNK_BYTES = 32 << 10


class Stream(Protocol):
    """What is used of a paramiko channel."""

    def recv(self, _bytes_max: int, /) -> bytes: ...
    def sendall(self, s: bytes, /) -> None: ...
    def settimeout(self, timeout: float | None) -> None: ...
    def close(self) -> None: ...


def bridge(stream: Stream) -> socket.socket:
    """Our end. Closing it closes the stream; the stream's end is seen there as the end."""
    ours, theirs = socket.socketpair()
    stream.settimeout(None)

    def inwards() -> None:
        _carry(stream.recv, theirs.sendall)
        with suppress(OSError):
            theirs.shutdown(socket.SHUT_WR)

    def outwards() -> None:
        _carry(theirs.recv, stream.sendall)
        stream.close()
        reading.join()
        theirs.close()

    reading = threading.Thread(target=inwards, name="tunnel-in", daemon=True)
    reading.start()
    threading.Thread(target=outwards, name="tunnel-out", daemon=True).start()
    return ours


def _carry(take: Callable[[int], bytes], give: Callable[[bytes], None]) -> None:
    """Until either side ends or breaks."""
    with suppress(OSError, EOFError):
        while data := take(_CHUNK_BYTES):
            give(data)
