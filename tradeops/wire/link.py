"""One WebSocket to a venue: a send queue that can be seen and withheld, a beat when idle, silence as an error."""

from __future__ import annotations

import asyncio
import fcntl
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from tradeops.wire.errors import SendQueueFull, SessionLost, VenueUnreachable
from tradeops.wire.protocol import FRAME_BYTES_MAX

if TYPE_CHECKING:
    from aiohttp import web

_BUFFER_POLL_S = 0.001
_STALL_S = 0.02
_SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes in the send queue that have never been sent
_CLOSE_CODES = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)


@dataclass(frozen=True)
class Timeouts:
    """Every wait of a session, in seconds. beat_s: how long to stay quiet at most; silence_s: how long the venue may."""

    connect_s: float = 3.0
    logon_s: float = 3.0
    beat_s: float = 1.0
    silence_s: float = 3.0
    close_s: float = 0.5


DEFAULT_TIMEOUTS = Timeouts()


class _Socket(aiohttp.ClientWebSocketResponse):
    """aiohttp's client socket that keeps its transport at hand, so that unsent bytes can be counted."""

    def __init__(self, reader: Any, writer: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(reader, writer, *args, **kwargs)
        self.transport: asyncio.Transport = writer.transport


async def receive_patiently(socket: aiohttp.ClientWebSocketResponse | web.WebSocketResponse, limit_s: float) -> aiohttp.WSMessage:
    """The next message within `limit_s`, and a little more: when this process itself stood still, what came meanwhile is
    read only after the timer has fired, and a stall of ours is not the other side's silence. Raises TimeoutError.
    """
    try:
        return await socket.receive(timeout=limit_s)
    except TimeoutError:
        return await socket.receive(timeout=_STALL_S)


def _unsent_in_kernel(transport: asyncio.Transport) -> int:
    """Bytes the kernel holds because the other side does not read; 0 for a dead socket, which emits nothing any more."""
    held = transport.get_extra_info("socket")
    if held is None or held.fileno() < 0:
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(held.fileno(), _SIOCOUTQNSD, bytes(4)), sys.byteorder)
    except OSError:
        return 0


@dataclass(frozen=True, slots=True)
class Queued:
    """A message on its way out. numbered: takes the next sequence number when it is written.

    still_allowed: looked at right before it is written; withheld: told when that says no, and when the link is closed.
    """

    body: bytes
    numbered: bool = True
    still_allowed: Callable[[], bool] | None = None
    withheld: Callable[[], None] | None = None


class Link:
    """Sends and receives whole text frames. One reader at a time; `send` never blocks.

    A message is framed (numbered) only when it is written, so that a withheld one leaves no hole.
    """

    def __init__(
        self, url: str, *, timeouts: Timeouts, frame: Callable[[Queued], bytes], idle: Callable[[], bytes], queue_bytes_max: int
    ) -> None:
        self.url = url
        self._timeouts = timeouts
        self._frame = frame
        self._idle = idle
        self._queue_bytes_max = queue_bytes_max
        self._queue: deque[Queued] = deque()
        self._queue_bytes = 0
        self._wake = asyncio.Event()
        self._http: aiohttp.ClientSession | None = None
        self._socket: _Socket | None = None
        self._writer: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the socket stands, as far as this side knows."""
        return self._socket is not None and not self._socket.closed and self._writer is not None and not self._writer.done()

    @property
    def send_queue(self) -> int:
        """Bytes that were handed over and have not been put on the wire: ours, the transport's, and the kernel's unsent ones."""
        if self._socket is None:
            return self._queue_bytes
        return self._queue_bytes + self._socket.transport.get_write_buffer_size() + _unsent_in_kernel(self._socket.transport)

    async def open(self) -> None:
        """Connect. Raises VenueUnreachable."""
        self._http = aiohttp.ClientSession(ws_response_class=_Socket)
        try:
            async with asyncio.timeout(self._timeouts.connect_s):
                socket = await self._http.ws_connect(
                    self.url,
                    compress=0,
                    max_msg_size=FRAME_BYTES_MAX,
                    timeout=aiohttp.ClientWSTimeout(ws_close=self._timeouts.close_s),
                    decode_text=False,
                )
            self._socket = cast("_Socket", socket)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            what = str(error) or f"no connection within {self._timeouts.connect_s} s"
            raise VenueUnreachable(
                what, where=self.url, holds="nothing was sent", next="check that the venue is up, then connect again"
            ) from None
        finally:
            if self._socket is None:
                http, self._http = self._http, None
                await http.close()

    async def write_now(self, frame: bytes) -> None:
        """Write one frame past the queue: for the logon, before `start`. Raises SessionLost."""
        try:
            await self._require().send_frame(frame, aiohttp.WSMsgType.TEXT)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise self._lost(str(error)) from None

    def start(self) -> None:
        """Begin to write what is queued, and to beat."""
        self._writer = asyncio.create_task(self._write_loop(), name=f"link-writer {self.url}")

    def send(self, item: Queued, *, always: bool) -> None:
        """Queue a message. always: take it however much is queued (cancels). Raises SessionLost, SendQueueFull."""
        if not self.is_open:
            raise self._lost("not connected")
        if not always and self.send_queue + len(item.body) > self._queue_bytes_max:
            raise SendQueueFull(f"{self.send_queue} bytes wait to be sent, {self._queue_bytes_max} are allowed", where=self.url)
        self._queue.append(item)
        self._queue_bytes += len(item.body)
        self._wake.set()

    async def receive(self, timeout_s: float | None = None) -> bytes:
        """The next frame. Raises SessionLost when the connection ends or is silent for `timeout_s` (the silence limit)."""
        limit_s = self._timeouts.silence_s if timeout_s is None else timeout_s
        try:
            message = await receive_patiently(self._require(), limit_s)
        except TimeoutError:
            raise self._lost(f"silent for {limit_s} s") from None
        if message.type is aiohttp.WSMsgType.TEXT:
            data: bytes = message.data
            return data
        if message.type in _CLOSE_CODES:
            raise self._lost(f"the venue closed the connection ({message.data or 'no code'})")
        raise self._lost(f"unexpected {message.type.name} frame: {message.data!r:.100}")

    async def close(self) -> None:
        """End the connection; what is still queued never leaves. Never raises; safe to repeat."""
        writer, socket, http = self._writer, self._socket, self._http
        self._writer = self._http = None
        try:
            if writer is not None:
                writer.cancel()
                await asyncio.gather(writer, return_exceptions=True)
            self._withhold_all()
            if socket is not None:
                await socket.close()
        finally:  # also when the closing itself is cancelled
            if socket is not None:
                socket.transport.abort()
            if http is not None:
                await http.close()
            self._socket = None

    def _require(self) -> _Socket:
        if self._socket is None:
            raise self._lost("not connected")
        return self._socket

    def _lost(self, what: str) -> SessionLost:
        return SessionLost(
            what,
            where=self.url,
            holds="orders sent and not answered are unknown",
            next="connect again and query them; do not send them again",
        )

    async def _write_loop(self) -> None:
        socket = self._require()
        try:
            while True:
                if not self._queue:
                    await self._rest(socket)
                    continue
                item = self._queue.popleft()
                self._queue_bytes -= len(item.body)
                if item.still_allowed is None or item.still_allowed():
                    await socket.send_frame(self._frame(item), aiohttp.WSMsgType.TEXT)
                    await self._until_written(socket)
                elif item.withheld is not None:
                    item.withheld()
        except (aiohttp.ClientError, ConnectionError):
            socket.transport.abort()  # the reader then sees the end and reports it

    async def _rest(self, socket: _Socket) -> None:
        """Wait for work; beat when there is none for a while."""
        self._wake.clear()
        try:
            async with asyncio.timeout(self._timeouts.beat_s):
                await self._wake.wait()
        except TimeoutError:
            await socket.send_frame(self._idle(), aiohttp.WSMsgType.TEXT)

    async def _until_written(self, socket: _Socket) -> None:
        """Let the transport empty first: what still waits in our own queue can be withheld, what is in its buffer cannot."""
        while socket.transport.get_write_buffer_size() and not socket.transport.is_closing():
            await asyncio.sleep(_BUFFER_POLL_S)

    def _withhold_all(self) -> None:
        while self._queue:
            item = self._queue.popleft()
            self._queue_bytes -= len(item.body)
            if item.withheld is not None:
                item.withheld()
