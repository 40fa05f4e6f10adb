"""Recorded exchange files: decimal strings to integers, both clocks, and every kind of damage named by line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tradeops.base.errors import UsageError
from tradeops.wire.protocol import Side
from tradeops.wire.recorded import LINE_BYTES_MAX, RecordedQuote, RecordedTrade, parse_line, parse_lines, read_recorded

QUOTE = (
    b'1723161255088169167 {"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT",'
    b'"b":"61800.20","B":"2.507","a":"61800.30","A":"2.510","T":1723161256313,"E":1723161256313}}\n'
)
TRADE = (
    b'1723161255088176367 {"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256322,"s":"BTCUSDT",'
    b'"t":5266583935,"p":"61800.30","q":"0.006","X":"MARKET","m":false}}\n'
)
DEPTH = b'1723161255030314667 {"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","s":"BTCUSDT","b":[["1","2"]],"a":[]}}\n'
SNAPSHOT = b'1723161255319702566 {"lastUpdateId":1,"E":1,"T":1,"bids":[["61800.20","2.909"]],"asks":[]}\n'


def test_a_quote_and_a_trade() -> None:
    """Amounts in 1e-9 units, exchange time from milliseconds, the recorder's time as it stands."""
    assert parse_line(QUOTE) == RecordedQuote(
        "BTCUSDT",
        61_800_200_000_000,
        2_507_000_000,
        61_800_300_000_000,
        2_510_000_000,
        1_723_161_256_313_000_000,
        1_723_161_255_088_169_167,
    )
    assert parse_line(TRADE) == RecordedTrade(
        "BTCUSDT", 61_800_300_000_000, 6_000_000, Side.BUY, 1_723_161_256_322_000_000, 1_723_161_255_088_176_367
    )
    sold = parse_line(TRADE.replace(b'"m":false', b'"m":true'))
    assert isinstance(sold, RecordedTrade) and sold.side is Side.SELL


def test_a_spot_quote_without_a_time_takes_the_recorders() -> None:
    """The spot market's book ticker has none."""
    quote = parse_line(QUOTE.replace(b',"T":1723161256313,"E":1723161256313', b""))
    assert isinstance(quote, RecordedQuote) and quote.exchange_ns == quote.local_ns


def test_other_kinds_are_passed_over() -> None:
    """Depth updates and snapshots."""
    events = list(parse_lines([DEPTH, QUOTE, SNAPSHOT, TRADE], source="x"))
    assert [type(event) for event in events] == [RecordedQuote, RecordedTrade]


@pytest.mark.parametrize(
    "bad",
    [
        b"\n",
        b"no time\n",
        b"-5 {}\n",
        QUOTE[:120],
        QUOTE.replace(b'"61800.20"', b"61800.20"),
        QUOTE.replace(b'"61800.20"', b'"-1"'),
        QUOTE.replace(b'"61800.20"', b'"1e5"'),
        QUOTE.replace(b'"61800.20"', b'""'),
        QUOTE.replace(b'"61800.20"', b'"0.0000000001"'),
        QUOTE.replace(b'"61800.20"', b'"' + b"9" * 40 + b'"'),
        QUOTE.replace(b'"s":"BTCUSDT",', b""),
        TRADE.replace(b'"E":1723161256322,', b""),
        TRADE.replace(b'"m":false', b'"m":"no"'),
        QUOTE.replace(b"BTCUSDT", b"\xff\xfe"),
        b"1 " + b"x" * LINE_BYTES_MAX,
    ],
)
def test_damage_is_named_by_line(bad: bytes) -> None:
    """Torn, hostile, malformed: the line's number, never a guess."""
    with pytest.raises(UsageError, match="file:2"):
        list(parse_lines([QUOTE, bad], source="file"))


def test_plain_and_compressed_files_read_the_same(tmp_path: Path) -> None:
    """By the name's ending; a torn gzip is an error."""
    plain, packed = tmp_path / "r.txt", tmp_path / "r.gz"
    plain.write_bytes(QUOTE + TRADE)
    packed.write_bytes(gzip.compress(QUOTE + TRADE))
    assert list(read_recorded(plain)) == list(read_recorded(packed))
    packed.write_bytes(gzip.compress((QUOTE + TRADE) * 200)[:-20])
    with pytest.raises(UsageError, match="damaged"):
        list(read_recorded(packed))
    packed.write_bytes(b"not gzip at all")
    with pytest.raises(UsageError, match="damaged"):
        list(read_recorded(packed))
