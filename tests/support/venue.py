"""A real venue in this process, on free loopback ports, for tests of everything that talks to one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp

from tradeops.base.clock import SystemClock
from tradeops.base.config import parse_yaml
from tradeops.venue.config import VenueConfig
from tradeops.venue.server import Venue
from tradeops.wire.dropcopy import DropCopyClient, DropCopyConfig
from tradeops.wire.entry import OrderEntry
from tradeops.wire.link import Timeouts
from tradeops.wire.marketdata import FeedClient
from tradeops.wire.protocol import NewOrder, Side, Tags, Tif
from tradeops.wire.session import Answer, OrderSession, SessionConfig

T = TypeVar("T")

QUICK = Timeouts(connect_s=2.0, logon_s=2.0, beat_s=0.05, silence_s=0.5, close_s=0.2)
TAGS = Tags(strategy="quoter", release="sha256:1", host="host-1", desk="desk-1")
COIN = 1_000_000_000
QUIET = """
name: sim
symbols: [{symbol: ABC, tick: "0.01", lot: "1", price: "100"}, {symbol: XYZ, tick: "0.01", lot: "1", price: "50"}]
feed: {kind: generated, quotes_per_s: 1, levels: 1, spread_ticks: 5000, trade_ppm: 0}
feed_batch: 10ms
"""
"""Makers so wide apart and slow that orders between them meet nobody but each other."""


def run(story: Coroutine[Any, Any, T], timeout_s: float = 20.0) -> T:
    """Run one asynchronous story to its end, with a deadline."""

    async def bounded() -> T:
        async with asyncio.timeout(timeout_s):
            return await story

    return asyncio.run(bounded())


async def until(predicate: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Wait until `predicate` holds. Raises TimeoutError."""
    async with asyncio.timeout(timeout_s):
        while not predicate():
            await asyncio.sleep(0.002)


class VenueUnderTest:
    """A running venue and clients for it."""

    def __init__(self, venue: Venue, ports: dict[str, int]) -> None:
        self.venue = venue
        self.ports = ports
        self._open: list[OrderSession | DropCopyClient | FeedClient] = []

    def url(self, door: str) -> str:
        """Where a door is."""
        scheme = "http" if door == "control" else "ws"
        return f"{scheme}://127.0.0.1:{self.ports[door]}"

    def session(self, name: str = "s1", account: str = "acc-1", **more: Any) -> OrderSession:
        """An order session, not yet connected."""
        config = SessionConfig(**{"url": self.url("orders"), "session": name, "account": account, "timeouts": QUICK, **more})
        session = OrderSession(config, SystemClock())
        self._open.append(session)
        return session

    def drop_copy(self, name: str = "d1", account: str = "acc-1", **more: Any) -> DropCopyClient:
        """A drop copy client, not yet connected."""
        config = DropCopyConfig(**{"url": self.url("drop_copy"), "session": name, "account": account, "timeouts": QUICK, **more})
        client = DropCopyClient(config, SystemClock())
        self._open.append(client)
        return client

    def feed(self) -> FeedClient:
        """A feed client, not yet subscribed."""
        client = FeedClient(self.url("market_data"), timeouts=QUICK)
        self._open.append(client)
        return client

    async def control(self, method: str, path: str, body: object = None) -> Any:
        """Ask the control page."""
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, self.url("control") + path, json=body) as answer,
        ):
            return await answer.json()

    async def close(self) -> None:
        """Close every client."""
        for client in self._open:
            await client.close()


@asynccontextmanager
async def running(text: str = QUIET) -> AsyncIterator[VenueUnderTest]:
    """A venue with the configuration `text`."""
    venue = Venue(parse_yaml(text, VenueConfig, source="test"), SystemClock())
    ports = await venue.start()
    feed = asyncio.create_task(venue.run_feed())
    under_test = VenueUnderTest(venue, ports)
    try:
        yield under_test
    finally:
        await under_test.close()
        feed.cancel()
        await asyncio.gather(feed, return_exceptions=True)
        await venue.close()


def order(client_id: str, side: Side = Side.BUY, qty: int = 10, price: str = "100.00", *, symbol: str = "ABC", **more: Any) -> NewOrder:
    """An order of `qty` coins at a decimal price."""
    whole, _, cents = price.partition(".")
    amount = int(whole) * COIN + int(cents or 0) * COIN // 100
    return NewOrder(
        **{"client_id": client_id, "symbol": symbol, "side": side, "qty": qty * COIN, "price": amount, "tags": TAGS, "tif": Tif.DAY, **more}
    )


async def place(session: OrderSession, *orders: NewOrder) -> list[Answer]:
    """Send orders and wait for the first report of each."""
    entry = OrderEntry(session)
    for one in orders:
        entry.send(one)
    return [(await session.receive()).message for _ in orders]
