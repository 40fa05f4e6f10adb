"""Recorded exchange WebSocket files: gzip or plain lines `local_ns json`, decimal strings, the exchange's own clock.

Messages of the kinds `bookTicker` and `trade` become quotes and trades; others (depth) are passed over.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from tradeops.base.clock import NS_PER_MS
from tradeops.base.errors import UsageError
from tradeops.contracts.units import parse_units
from tradeops.wire.protocol import Side

LINE_BYTES_MAX: Final = 1 << 20


class RecordedQuote(msgspec.Struct, frozen=True, gc=False):
    """Amounts in 1e-9 units; exchange_ns by the exchange's clock, local_ns by the recorder's."""

    symbol: str
    bid: int
    bid_qty: int
    ask: int
    ask_qty: int
    exchange_ns: int
    local_ns: int


class RecordedTrade(msgspec.Struct, frozen=True, gc=False):
    """side: the aggressor's."""

    symbol: str
    price: int
    qty: int
    side: Side
    exchange_ns: int
    local_ns: int


class _Quote(msgspec.Struct, frozen=True, gc=False):
    """A book ticker. The spot market's has no time: the recorder's is taken."""

    symbol: str = msgspec.field(name="s")
    bid: str = msgspec.field(name="b")
    bid_qty: str = msgspec.field(name="B")
    ask: str = msgspec.field(name="a")
    ask_qty: str = msgspec.field(name="A")
    event_ms: int | None = msgspec.field(name="E", default=None)


class _Trade(msgspec.Struct, frozen=True, gc=False):
    symbol: str = msgspec.field(name="s")
    price: str = msgspec.field(name="p")
    qty: str = msgspec.field(name="q")
    buyer_is_maker: bool = msgspec.field(name="m")
    event_ms: int = msgspec.field(name="E")


class _QuoteLine(msgspec.Struct, frozen=True, gc=False):
    data: _Quote


class _TradeLine(msgspec.Struct, frozen=True, gc=False):
    data: _Trade


_QUOTE: Final = msgspec.json.Decoder(_QuoteLine)
_TRADE: Final = msgspec.json.Decoder(_TradeLine)
_STREAM_BYTES: Final = 80


@lru_cache(maxsize=1 << 16)
def _amount(text: str) -> int:
    """Kept by text: prices and sizes come again and again, and looking one up costs a tenth of parsing it."""
    amount = parse_units(text)
    if amount < 0:
        raise ValueError(f"{text!r} is below zero")
    return amount


def read_recorded(path: Path) -> Iterator[RecordedQuote | RecordedTrade]:
    """The quotes and trades of a file, in its order. Raises UsageError naming file and line; OSError."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        try:
            yield from parse_lines(iter(lambda: file.readline(LINE_BYTES_MAX + 1), b""), source=str(path))
        except (EOFError, gzip.BadGzipFile) as error:
            raise UsageError(f"the compressed file is damaged: {error}", where=str(path)) from None


def parse_lines(lines: Iterable[bytes], *, source: str) -> Iterator[RecordedQuote | RecordedTrade]:
    """The same over lines. Raises UsageError naming `source` and the line's number."""
    for number, line in enumerate(lines, start=1):
        try:
            event = parse_line(line)
        except (ValueError, msgspec.DecodeError) as error:
            raise UsageError(f"not a recorded message: {error}", where=f"{source}:{number}") from None
        if event is not None:
            yield event


def parse_line(line: bytes) -> RecordedQuote | RecordedTrade | None:
    """One line; None for a kind that is passed over. Raises ValueError, msgspec.DecodeError."""
    if len(line) > LINE_BYTES_MAX:
        raise ValueError(f"longer than {LINE_BYTES_MAX} bytes")
    stamp, _, body = line.partition(b" ")
    if not stamp.isdigit():
        raise ValueError("no local time at its start")
    stream = body[:_STREAM_BYTES]
    if b'@bookTicker"' in stream:
        return _quote(_QUOTE.decode(body).data, int(stamp))
    if b'@trade"' in stream:
        return _trade(_TRADE.decode(body).data, int(stamp))
    return None


def _quote(data: _Quote, local_ns: int) -> RecordedQuote:
    exchange_ns = data.event_ms * NS_PER_MS if data.event_ms is not None else local_ns
    return RecordedQuote(
        data.symbol, _amount(data.bid), _amount(data.bid_qty), _amount(data.ask), _amount(data.ask_qty), exchange_ns, local_ns
    )


def _trade(data: _Trade, local_ns: int) -> RecordedTrade:
    side = Side.SELL if data.buyer_is_maker else Side.BUY
    return RecordedTrade(data.symbol, _amount(data.price), _amount(data.qty), side, data.event_ms * NS_PER_MS, local_ns)
