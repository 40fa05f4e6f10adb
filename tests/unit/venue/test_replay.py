"""The real recorded file through the venue to a feed client."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from tests.support.venue import run, running
from tradeops.wire.marketdata import QuoteBatch, QuoteRow, Source, TradeBatch
from tradeops.wire.recorded import RecordedQuote, read_recorded

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "data" / "btcusdt_20240808.gz"
MESSAGES = 5000

needs_recording = pytest.mark.skipif(
    not RECORDED.exists(), reason=f"the recorded exchange file is not beside the repository: {RECORDED.name}"
)


@needs_recording
def test_the_recording_arrives_whole_and_in_order() -> None:
    """As fast as it is read: every quote of the first messages, prices, sizes and exchange times as recorded, said to be a replay."""
    expected = list(islice(read_recorded(RECORDED), MESSAGES))
    quotes = [event for event in expected if isinstance(event, RecordedQuote)]

    async def story() -> tuple[list[QuoteRow], int]:
        async with running(config) as venue:
            feed = venue.feed()
            subscribed = await feed.subscribe(("BTCUSDT",))
            assert subscribed.source is Source.REPLAY
            rows: list[QuoteRow] = []
            trades = 0
            while len(rows) < len(quotes) or trades < MESSAGES - len(quotes):
                tick = await feed.receive()
                if isinstance(tick, QuoteBatch) and not tick.snapshot:
                    rows += tick.rows
                elif isinstance(tick, TradeBatch):
                    trades += len(tick.rows)
            assert feed.missed == 0
            return rows, trades

    config = f"""
symbols: [{{symbol: BTCUSDT, tick: "0.1", lot: "0.001", price: "60000"}}]
feed: {{kind: replay, file: "{RECORDED}", speed_ppm: 0, rebase: false, messages_max: {MESSAGES}}}
"""
    rows, trades = run(story())
    assert trades == MESSAGES - len(quotes)
    sent = [(q.bid, q.bid_qty, q.ask, q.ask_qty, q.exchange_ns) for q in quotes]
    assert [(row.bid, row.bid_qty, row.ask, row.ask_qty, row.exchange_ns) for row in rows] == sent
    assert all(row.bid < row.ask for row in rows)


@needs_recording
def test_the_recorders_clock_is_behind_the_exchanges() -> None:
    """1.2 s: an age check without an offset per feed would take everything or nothing (R11, O11)."""
    offsets = [event.exchange_ns - event.local_ns for event in islice(read_recorded(RECORDED), 2000)]
    assert min(offsets) > 1_000_000_000 and max(offsets) < 1_400_000_000


@needs_recording
def test_paced_and_rebased_the_offset_is_kept() -> None:
    """At its own speed, the exchange's clock is still ahead of ours by what was recorded."""

    async def story() -> list[int]:
        async with running(config) as venue:
            feed = venue.feed()
            await feed.subscribe()
            ahead: list[int] = []
            while len(ahead) < 3:
                tick = await feed.receive()
                if isinstance(tick, QuoteBatch) and not tick.snapshot:
                    ahead += [row.exchange_ns - tick.sent_ns for row in tick.rows[-1:]]
            return ahead

    config = f"""
symbols: [{{symbol: BTCUSDT, tick: "0.1", lot: "0.001", price: "60000"}}]
feed: {{kind: replay, file: "{RECORDED}", speed_ppm: 1000000}}
feed_batch: 10ms
"""
    assert all(1_000_000_000 < one < 1_400_000_000 for one in run(story()))
