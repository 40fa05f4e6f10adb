"""The three ways in: order entry, market data, drop copy. A door can be shut and opened again on the same port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import msgspec
from aiohttp import web

from tradeops.base.clock import Clock
from tradeops.venue.connection import BEATS_OF_SILENCE, Connection, Refused, accept
from tradeops.venue.faults import FaultKind, Faults
from tradeops.venue.floor import Floor
from tradeops.venue.publisher import Publisher
from tradeops.venue.sessions import Session
from tradeops.wire.marketdata import FeedUp, Subscribe
from tradeops.wire.protocol import (
    AmountOrZero,
    Code,
    DropLogon,
    DropUp,
    Logon,
    LogonRefused,
    Message,
    Notice,
    OrdersUp,
    SnapshotRequest,
    frame,
)

_ENCODE: Final = msgspec.json.Encoder().encode
_ORDERS: Final = msgspec.json.Decoder(tuple[AmountOrZero, OrdersUp])
_DROP: Final = msgspec.json.Decoder(tuple[AmountOrZero, DropUp])
_FEED: Final = msgspec.json.Decoder(tuple[AmountOrZero, FeedUp])

Handler = Callable[[Connection], Awaitable[None]]


class Door:
    """One port that takes WebSockets and hands each to `handler`."""

    def __init__(self, name: str, path: str, handler: Handler, faults: Faults, clock: Clock, *, queue_bytes_max: int) -> None:
        self.name = name
        self.port = 0
        self.connections: set[Connection] = set()
        self._handler = handler
        self._faults = faults
        self._clock = clock
        self._queue_bytes_max = queue_bytes_max
        app = web.Application()
        app.router.add_get(path, self._accept)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._site: web.TCPSite | None = None

    async def open(self, host: str, port: int) -> None:
        """Listen; `self.port` is where. Raises OSError."""
        if self._runner.server is None:
            await self._runner.setup()
        self._site = web.TCPSite(self._runner, host, port)
        await self._site.start()
        self.port = self._runner.addresses[-1][1]

    async def shut(self) -> None:
        """Refuse new connections and cut those there are, as when a venue dies."""
        site, self._site = self._site, None
        if site is not None:
            await site.stop()
        self.cut()

    def cut(self, accounts: Collection[str] = ()) -> int:
        """Cut the connections of these accounts (empty: all); how many."""
        hit = [connection for connection in self.connections if not accounts or connection.account in accounts]
        for connection in hit:
            connection.cut()
        return len(hit)

    async def close(self) -> None:
        """Stop for good."""
        self.cut()
        await self._runner.cleanup()

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return self._site is not None

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        connection = await accept(request, self._clock, queue_bytes_max=self._queue_bytes_max)
        connection.muted = lambda account: self._faults.standing(FaultKind.MUTE, account=account)
        self.connections.add(connection)
        try:
            await self._handler(connection)
        finally:
            self.connections.discard(connection)
            await connection.close()
        return connection.socket


class Desk:
    """What happens on a connection of each door."""

    def __init__(self, floor: Floor, publisher: Publisher, clock: Clock, *, logon_s: float) -> None:
        self._floor = floor
        self._publisher = publisher
        self._clock = clock
        self._logon_s = logon_s
        self.subscribed = asyncio.Event()

    async def orders(self, connection: Connection) -> None:
        """Order entry: logon, then messages until it ends."""
        first = await connection.receive(_ORDERS, self._logon_s)
        if isinstance(first, Refused | None) or not isinstance(first[1], Logon):
            return await _turn_away(connection, first)
        logon = first[1]
        session = self._floor.sessions.logon(logon, connection, self._clock.wall_ns())
        if isinstance(session, LogonRefused):
            return await connection.close(_frame(session))
        connection.account = logon.account
        beat_s = logon.heartbeat_ms / 1000
        connection.start(beat_s=beat_s, beat=session.beat)
        try:
            while True:
                got = await connection.receive(_ORDERS, beat_s * BEATS_OF_SILENCE)
                if got is None or not self._take(session, got):
                    return None
        finally:
            self._floor.leave(session)

    def _take(self, session: Session, got: tuple[int, OrdersUp] | Refused) -> bool:
        if not isinstance(got, Refused):
            return self._floor.on_message(session, *got)
        if got.seq is not None and not self._floor.sessions.take_seq(session, got.seq):
            return False
        session.notice(Code.BAD_MESSAGE, ref_seq=max(0, got.seq or 0), text=got.why)
        return got.seq is not None

    async def drop_copy(self, connection: Connection) -> None:
        """Drop copy: logon, snapshot, then reports until it ends."""
        first = await connection.receive(_DROP, self._logon_s)
        if isinstance(first, Refused | None) or not isinstance(first[1], DropLogon):
            return await _turn_away(connection, first)
        logon, working = first[1], self._floor.exchange.working
        watcher = self._floor.drop_copy.logon(logon, connection, working.values(), self._clock.wall_ns())
        if isinstance(watcher, LogonRefused):
            return await connection.close(_frame(watcher))
        connection.account = logon.account
        beat_s = logon.heartbeat_ms / 1000
        connection.start(beat_s=beat_s, beat=watcher.beat)
        try:
            while True:
                got = await connection.receive(_DROP, beat_s * BEATS_OF_SILENCE)
                if isinstance(got, Refused | None):
                    return None
                if isinstance(got[1], SnapshotRequest):
                    self._floor.drop_copy.snapshot(watcher, working.values(), got[1].request_id)
        finally:
            self._floor.drop_copy.watchers.discard(watcher)

    async def market_data(self, connection: Connection) -> None:
        """Market data: subscription, snapshot, then batches until it ends."""
        first = await connection.receive(_FEED, self._logon_s)
        if isinstance(first, Refused | None) or not isinstance(first[1], Subscribe):
            return await _turn_away(connection, first)
        subscriber = self._publisher.subscribe(first[1], connection)
        if isinstance(subscriber, Notice):
            return await connection.close(_frame(subscriber))
        beat_s = first[1].heartbeat_ms / 1000
        connection.start(beat_s=beat_s, beat=subscriber.beat)
        self.subscribed.set()
        try:
            while True:
                got = await connection.receive(_FEED, beat_s * BEATS_OF_SILENCE)
                if isinstance(got, Refused | None):
                    return None
        finally:
            self._publisher.subscribers.discard(subscriber)


def _frame(message: Message) -> bytes:
    return frame(0, _ENCODE(message))


async def _turn_away(connection: Connection, first: tuple[int, Message] | Refused | None) -> None:
    """Somebody who does not begin as the protocol says; silence is answered by silence."""
    if first is not None:
        why = first.why if isinstance(first, Refused) else "the first message is to be a logon or a subscription"
        await connection.close(_frame(Notice(code=Code.NOT_LOGGED_ON, text=why)))
