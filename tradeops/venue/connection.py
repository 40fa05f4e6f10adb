"""One member's connection, seen from the venue: whole frames in, a bounded queue of frames out, a beat when idle."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

import aiohttp
import msgspec
from aiohttp import web

from tradeops.base.clock import NS_PER_MS, NS_PER_S, Clock
from tradeops.contracts.codec import parse
from tradeops.wire.link import receive_patiently
from tradeops.wire.protocol import FRAME_BYTES_MAX

BEATS_OF_SILENCE: Final = 3
"""A member that says nothing for so many of its heartbeat intervals is gone."""
CLOSE_S: Final = 0.5
_POLL_S: Final = 0.001

M = TypeVar("M")


class Refused(NamedTuple):
    """A frame that does not decode. seq: its number when at least that could be read."""

    seq: int | None
    why: str


class _Waiting(NamedTuple):
    frame: bytes
    due_ns: int


class Connection:
    """A WebSocket of a member. `put` never blocks; a member that does not read is cut off.

    account: set at its logon.  muted: asked before every frame; one that says yes is never sent.
    """

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport, clock: Clock, *, queue_bytes_max: int) -> None:
        self.account = ""
        self.muted: Callable[[str], bool] = lambda account: False
        self.socket = socket
        self._transport = transport
        self._clock = clock
        self._queue: deque[_Waiting] = deque()
        self._queue_bytes = 0
        self._queue_bytes_max = queue_bytes_max
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the member has not taken yet."""
        return self._queue_bytes + self._transport.get_write_buffer_size()

    def start(self, *, beat_s: float, beat: Callable[[], bytes]) -> None:
        """Begin to write; `beat()` goes out after `beat_s` without anything else."""
        self._writer = asyncio.create_task(self._write_loop(beat_s, beat), name="venue-writer")

    def put(self, frame: bytes, *, delay_ms: int = 0) -> None:
        """Queue a frame, to leave `delay_ms` from now at the earliest."""
        if self.muted(self.account):
            return
        self._queue.append(_Waiting(frame, self._clock.monotonic_ns() + delay_ms * NS_PER_MS if delay_ms else 0))
        self._queue_bytes += len(frame)
        if self.waiting_bytes > self._queue_bytes_max:
            self.cut()
        self._wake.set()

    async def receive(self, decoder: msgspec.json.Decoder[M], timeout_s: float) -> M | Refused | None:
        """The next frame, decoded; None when the member left or fell silent."""
        try:
            message = await receive_patiently(self.socket, timeout_s)
        except TimeoutError:
            return None
        if message.type is not aiohttp.WSMsgType.TEXT:
            return None
        try:
            return decoder.decode(message.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Refused(_seq_of(message.data), str(error)[:200])

    def cut(self) -> None:
        """End the connection at once, as a broken network would."""
        self._transport.abort()

    async def close(self, last: bytes | None = None) -> None:
        """Write what waits and `last`, for a moment at most, then close. Never raises."""
        if last is not None:
            self.put(last)
        try:
            async with asyncio.timeout(CLOSE_S):
                while self._queue and not self._transport.is_closing():
                    if self._writer is None:
                        await self._write(self._queue.popleft().frame)
                    await asyncio.sleep(_POLL_S)
                await self.socket.close()
        except TimeoutError:
            self._transport.abort()
        finally:
            if self._writer is not None:
                self._writer.cancel()
                await asyncio.gather(self._writer, return_exceptions=True)

    async def _write_loop(self, beat_s: float, beat: Callable[[], bytes]) -> None:
        while not self._transport.is_closing():
            if not self._queue:
                self._wake.clear()
                try:
                    async with asyncio.timeout(beat_s):
                        await self._wake.wait()
                except TimeoutError:
                    self.put(beat())
                continue
            frame, due_ns = self._queue[0]
            if due_ns and (wait_ns := due_ns - self._clock.monotonic_ns()) > 0:
                await asyncio.sleep(wait_ns / NS_PER_S)
            if not await self._write(frame):
                return
            self._queue.popleft()
            self._queue_bytes -= len(frame)

    async def _write(self, frame: bytes) -> bool:
        try:
            await self.socket.send_frame(frame, aiohttp.WSMsgType.TEXT)
        except (aiohttp.ClientError, ConnectionError):
            return False
        return True


async def accept(request: web.Request, clock: Clock, *, queue_bytes_max: int) -> Connection:
    """Turn a request into a Connection. Raises aiohttp's HTTPException when it is no WebSocket handshake."""
    socket = web.WebSocketResponse(compress=False, max_msg_size=FRAME_BYTES_MAX, timeout=CLOSE_S, decode_text=False)
    await socket.prepare(request)
    transport = request.transport
    if transport is None:
        raise web.HTTPBadRequest(text="the connection is gone")
    return Connection(socket, transport, clock, queue_bytes_max=queue_bytes_max)


def _seq_of(data: bytes) -> int | None:
    try:
        return parse(data, tuple[int, msgspec.Raw])[0]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
