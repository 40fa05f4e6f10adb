"""Quotes decoded and conflated on one core: our own feed's batches and recorded exchange JSON, beside the standard library's json.

`python -m tests.bench.bench_quotes [--json]`; figures are of this machine and this run, the best of several rounds of CPU time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec

from tests.support.venue import COIN
from tradeops.wire.marketdata import QuoteBatch, QuoteRow, decode_frame
from tradeops.wire.protocol import frame
from tradeops.wire.recorded import RecordedQuote, parse_line

BATCH, BATCHES, LINES, SYMBOLS, ROUNDS = 50, 4000, 50_000, 8, 5
RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "btcusdt_20240808.gz"


def rate(count: int, act: Callable[[], None]) -> int:
    """`count` by the best of several rounds of `act`, per second of CPU."""
    best_ns = 0
    for _ in range(ROUNDS):
        began_ns = time.process_time_ns()
        act()
        took_ns = time.process_time_ns() - began_ns
        best_ns = min(best_ns or took_ns, took_ns)
    return int(count * 1e9 / best_ns)


def venue_frame() -> bytes:
    """A batch as the venue sends it."""
    rows = [
        QuoteRow(n % SYMBOLS, 61_800 * COIN + n, 2_507_000_000 + n, 61_801 * COIN + n, 2_510_000_000, 1_723_161_256_313_000_000 + n)
        for n in range(BATCH)
    ]
    return frame(7, msgspec.json.encode(QuoteBatch(sent_ns=1_723_161_256_313_000_000, rows=rows)))


def ours(data: bytes) -> None:
    """What the trader does with a frame."""
    latest: dict[int, QuoteRow] = {}
    for _ in range(BATCHES):
        _, message = decode_frame(data)
        if isinstance(message, QuoteBatch):
            for row in message.rows:
                latest[row.symbol] = row


def standard(data: bytes) -> None:
    """The same with the standard library, nothing validated."""
    latest: dict[int, list[int]] = {}
    for _ in range(BATCHES):
        for row in json.loads(data)[1]["rows"]:
            latest[row[0]] = row


def recorded_lines() -> list[bytes]:
    """Recorded quotes; a made-up one again and again where the file is absent."""
    if RECORDED.exists():
        import gzip

        with gzip.open(RECORDED, "rb") as file:
            return [line for line in file if b"@bookTicker" in line[:100]][:LINES]
    made = {"e": "bookTicker", "s": "BTCUSDT", "b": "61800.20", "B": "2.507", "a": "61800.30", "A": "2.510", "E": 1_723_161_256_313}
    return [b"1723161255088169167 " + json.dumps({"stream": "btcusdt@bookTicker", "data": made}).encode() + b"\n"] * LINES


def ours_recorded(lines: list[bytes]) -> None:
    """Decimal strings to checked integers, conflated."""
    latest: dict[str, RecordedQuote] = {}
    for line in lines:
        quote = parse_line(line)
        if isinstance(quote, RecordedQuote):
            latest[quote.symbol] = quote


def standard_recorded(lines: list[bytes]) -> None:
    """The same with json and Decimal, nothing checked."""
    latest: dict[str, tuple[int, ...]] = {}
    for line in lines:
        stamp, _, body = line.partition(b" ")
        data = json.loads(body)["data"]
        amounts = (int(Decimal(data[name]) * COIN) for name in ("b", "B", "a", "A"))
        latest[data["s"]] = (*amounts, data["E"] * 1_000_000, int(stamp))


def measure() -> dict[str, int]:
    """Every figure, in quotes per second of one core."""
    data, lines = venue_frame(), recorded_lines()
    return {
        "venue feed, ours": rate(BATCH * BATCHES, lambda: ours(data)),
        "venue feed, json": rate(BATCH * BATCHES, lambda: standard(data)),
        "recorded, ours": rate(len(lines), lambda: ours_recorded(lines)),
        "recorded, json + Decimal": rate(len(lines), lambda: standard_recorded(lines)),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure()
    if options.json:
        sys.stdout.write(json.dumps({"schema": "tradeops/bench/quotes/v1", "per_s": figures}) + "\n")
        return
    for name, per_s in figures.items():
        sys.stdout.write(f"{name:<26} {per_s:>12,} quotes/s\n")


if __name__ == "__main__":
    main()
