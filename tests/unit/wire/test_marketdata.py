"""The feed client: subscription, batches, what is missed, quiet markets and dead ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.venue import QUICK, run, running
from tests.unit.wire.test_session import Script, peer, says
from tradeops.wire.errors import BadMessage, SessionLost, VenueUnreachable
from tradeops.wire.marketdata import FeedClient, MarketState, QuoteBatch, Source, SymbolStates, TradeBatch

YES = '[0,{"t":"subscribed","venue":"sim","source":"live","symbols":["ABC"],"venue_ns":1}]'
QUOTES = '[%d,{"t":"quotes","sent_ns":1,"rows":[[0,%d,1,9,1,1]]}]'
LIVELY = """
symbols: [{symbol: ABC}, {symbol: XYZ}]
feed: {kind: generated, quotes_per_s: 500, trade_ppm: 500000}
feed_batch: 10ms
"""


def with_peer(script: Script, story: Callable[[FeedClient], Awaitable[None]]) -> None:
    async def both() -> None:
        async with peer(script) as url:
            feed = FeedClient(url, timeouts=QUICK)
            try:
                await story(feed)
            finally:
                await feed.close()

    run(both())


def test_a_subscription_begins_with_a_snapshot_and_goes_on() -> None:
    """Quotes and trades arrive in batches, none missed, said to be generated."""

    async def story() -> None:
        async with running(LIVELY) as venue:
            feed = venue.feed()
            subscribed = await feed.subscribe(("XYZ",))
            assert (subscribed.source, subscribed.symbols) == (Source.GENERATED, ("XYZ",))
            first = await feed.receive()
            assert isinstance(first, QuoteBatch) and first.snapshot and len(first.rows) == 1
            kinds: set[type] = set()
            while kinds != {QuoteBatch, TradeBatch}:
                tick = await feed.receive()
                kinds.add(type(tick))
                if isinstance(tick, QuoteBatch):
                    assert all(row.symbol == 0 and 0 < row.bid < row.ask for row in tick.rows)
            assert feed.missed == 0 and feed.is_open

    run(story())


# R19
def test_a_halt_is_told() -> None:
    """Also to one who subscribes while it lasts."""

    async def story() -> None:
        async with running(LIVELY) as venue:
            feed, late = venue.feed(), venue.feed()
            await feed.subscribe()
            await venue.control("POST", "/v1/faults", {"kind": "halt_symbol", "symbols": ["XYZ"]})

            async def states(one: FeedClient) -> dict[int, MarketState]:
                while True:
                    tick = await one.receive()
                    if isinstance(tick, SymbolStates):
                        return tick.states

            assert await states(feed) == {1: MarketState.HALTED}
            await late.subscribe()
            assert await states(late) == {1: MarketState.HALTED}
            await venue.control("DELETE", "/v1/faults")
            assert await states(feed) == {1: MarketState.OPEN}

    run(story())


def test_a_symbol_that_is_not_there_is_an_error() -> None:
    """Not an empty feed."""

    async def story() -> None:
        async with running(LIVELY) as venue:
            with pytest.raises(BadMessage, match="unknown_symbol"):
                await venue.feed().subscribe(("NOPE",))

    run(story())


def test_a_quiet_market_is_alive_and_a_silent_venue_is_not() -> None:
    """Heartbeats alone keep it open; without them it is lost, whatever the socket says (connected but silent)."""

    async def story() -> None:
        async with running(LIVELY) as venue:
            feed = venue.feed()
            await feed.subscribe()
            await venue.control("POST", "/v1/faults", {"kind": "freeze_feed"})
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0):
                    while True:
                        await feed.receive()
            assert feed.is_open
            await venue.control("POST", "/v1/faults", {"kind": "mute"})
            with pytest.raises(SessionLost, match="silent"):
                while True:
                    await feed.receive()
            assert not feed.is_open

    run(story())


def test_missed_frames_are_counted() -> None:
    """Holes between frames, and after the last one when a heartbeat tells."""

    async def story(feed: FeedClient) -> None:
        await feed.subscribe()
        assert isinstance(await feed.receive(), QuoteBatch) and feed.missed == 0
        await feed.receive()
        assert feed.missed == 2
        with pytest.raises(SessionLost):
            await feed.receive()
        assert feed.missed == 5

    with_peer(says(YES, QUOTES % (1, 5), QUOTES % (4, 6), '[0,{"t":"heartbeat","last_seq":7}]'), story)


@pytest.mark.parametrize("frames", [["x"], ['[0,{"t":"heartbeat"}]'], ['[0,{"t":"notice","code":"refused"}]']])
def test_an_answer_that_is_no_subscription(frames: list[str]) -> None:
    """Nonsense, something else, refused."""

    async def story(feed: FeedClient) -> None:
        with pytest.raises(BadMessage):
            await feed.subscribe()
        assert not feed.is_open

    with_peer(says(*frames), story)


@pytest.mark.parametrize("row", ["[0,1,1,2,1]", '[0,"1",1,2,1,1]', "[0,1.5,1,2,1,1]", "null"])
def test_a_malformed_row_ends_the_feed(row: str) -> None:
    """Too short, text, a float, nothing: not believed."""

    async def story(feed: FeedClient) -> None:
        await feed.subscribe()
        with pytest.raises(BadMessage):
            await feed.receive()
        assert not feed.is_open

    with_peer(says(YES, '[1,{"t":"quotes","sent_ns":1,"rows":[' + row + "]}]"), story)


def test_nobody_there() -> None:
    """Refused, and reading without a subscription."""

    async def story() -> None:
        feed = FeedClient("ws://127.0.0.1:9", timeouts=QUICK)
        with pytest.raises(VenueUnreachable):
            await feed.subscribe()
        with pytest.raises(SessionLost, match="not subscribed"):
            await feed.receive()

    run(story())
