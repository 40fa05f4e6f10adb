"""The trader in process: quotes judged and conflated, orders through risk, journal and gate with fills applied, a restart.

`python -m tests.bench.bench_trader [--json]`; figures are of this machine and this run. Prints one line per figure.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from tests.support.trader import PRICE, SYMBOL, TICK, VENUE, Desk, HostRoot
from tradeops.base.clock import NS_PER_S, SystemClock, VirtualClock
from tradeops.contracts.units import UNIT
from tradeops.trader.journal import Journal
from tradeops.trader.ledger import Ledger
from tradeops.trader.market.market import Market
from tradeops.trader.market.offset import FeedOffset
from tradeops.trader.market.rules import QuoteRules
from tradeops.trader.messages import Fill, Order, OrderEvent, Signal
from tradeops.wire.marketdata import QuoteBatch, QuoteRow, decode_frame
from tradeops.wire.protocol import ExecKind, Side, Tags, frame

BATCH = 50
QUOTES = 500_000
ORDERS = 20_000
ORDERS_PER_COMMIT = 20
ENTRIES = 100_000
REAL = SystemClock()


def rate(count: int, act: Callable[[], None]) -> float:
    """How many a second."""
    begin_ns = REAL.monotonic_ns()
    act()
    return count * NS_PER_S / (REAL.monotonic_ns() - begin_ns)


def market() -> Market:
    """Eight symbols with the usual rules."""
    rules = QuoteRules(NS_PER_S, 30 * NS_PER_S, 20_000, 20_000, 500_000, 20, 300 * NS_PER_S, 6)
    symbols = [f"S{n}" for n in range(8)]
    made = Market(dict.fromkeys(symbols, PRICE), rules, FeedOffset(window_ns=60 * NS_PER_S, samples_min=1, step_max_ns=5 * NS_PER_S))
    made.bind(symbols)
    return made


def frames() -> list[bytes]:
    """Whole frames of the venue's feed, BATCH quotes each, prices walking within a tick or two."""
    made = []
    for n in range(QUOTES // BATCH):
        rows = []
        for m in range(BATCH):
            bid = PRICE + ((n * 7 + m * 3) % 5 - 2) * TICK
            rows.append(QuoteRow(m % 8, bid, UNIT, bid + TICK, UNIT, (n * BATCH + m) * 1000))
        batch = QuoteBatch(sent_ns=n * BATCH * 1000, rows=rows)
        made.append(frame(n + 1, msgspec.json.encode(batch)))
    return made


def quotes() -> dict[str, float]:
    """Decoded, validated and conflated on one core; and validated alone."""
    whole, decoded = market(), market()
    feed = frames()
    batches = [tick for data in feed if isinstance(tick := decode_frame(data)[1], QuoteBatch)]

    def _decode_and_judge() -> None:
        for data in feed:
            tick = decode_frame(data)[1]
            if isinstance(tick, QuoteBatch):
                whole.apply(tick.rows, tick.sent_ns)

    def _judge() -> None:
        for tick in batches:
            decoded.apply(tick.rows, tick.sent_ns)

    found = {"quotes_decoded_judged_per_s": rate(QUOTES, _decode_and_judge), "quotes_judged_per_s": rate(QUOTES, _judge)}
    if not whole.accepted == decoded.accepted == QUOTES:
        raise AssertionError(f"{QUOTES} quotes were sent, {whole.accepted} and {decoded.accepted} accepted")
    return found


def orders(folder: Path) -> dict[str, float]:
    """Through risk, journal (committed before the send) and gate; acknowledged, filled, applied. Stop page read twice per order."""
    clock = VirtualClock(wall_ns=1_800_000_000 * NS_PER_S)
    host = HostRoot(folder, clock=clock)
    host.release = msgspec.structs.replace(host.release, limits=_wide(host))
    host.budgets = {"gross_notional": 10**9 * UNIT}
    desk = Desk(host.write(), clock)
    desk.open_path()
    placing, engine = desk.rooms.placing, desk.rooms.engine

    def _run() -> None:
        for n in range(ORDERS // ORDERS_PER_COMMIT):
            for m in range(ORDERS_PER_COMMIT):
                side, price = (Side.BUY, PRICE - TICK) if (n + m) % 2 else (Side.SELL, PRICE + TICK)
                now_ns = clock.monotonic_ns()
                placing.place(Signal(SYMBOL, side, price, UNIT), VENUE, quoted_ns=now_ns, since_ns=now_ns)
            placing.send()
            for order in desk.session.orders():
                desk.report(order, ExecKind.NEW)
                desk.report(order, ExecKind.FILL, cumulative=UNIT, last=UNIT)
            desk.session.sent.clear()
            desk.rooms.ledger.commit()

    found = rate(ORDERS, _run)
    sent = desk.rooms.telemetry.counters["orders_sent_total"]
    if sent != ORDERS + 1 or engine.verdict.words is None:
        raise AssertionError(f"{ORDERS} orders were meant, {sent - 1} sent: {placing.denied}")
    desk.close()
    return {"orders_risk_journal_gate_fill_per_s": found}


def _wide(host: HostRoot) -> object:
    limits = host.release.limits
    if limits is None:
        raise AssertionError("a host root has limits")
    return msgspec.structs.replace(limits, order_rate_per_s_max=10**9, order_count_max=10**6, position_max=10**6 * UNIT)


def restart(folder: Path) -> dict[str, float]:
    """From a journal of ENTRIES events to positions and orders in memory."""
    journal = Journal(folder)
    ledger = Ledger(journal, REAL)
    tags = Tags(strategy="s", release="r", host="h", desk="d")
    for n in range(ENTRIES // 3):
        tracked = ledger.intend(Order(f"h-{n}", SYMBOL, VENUE, Side.BUY, PRICE, UNIT, tags), n)
        ledger.happen(tracked, OrderEvent.SENT)
        ledger.fill(tracked, Fill(f"t{n}", f"h-{n}", VENUE, SYMBOL, Side.BUY, PRICE, UNIT))
        ledger.happen(tracked, OrderEvent.FILLED)
    journal.close()
    begin_ns = REAL.monotonic_ns()
    again = Journal(folder)
    rebuilt = Ledger(again, REAL)
    entries = rebuilt.replay(again.replay())
    took_s = (REAL.monotonic_ns() - begin_ns) / NS_PER_S
    again.close()
    if rebuilt.positions.quantity(SYMBOL) != ENTRIES // 3 * UNIT:
        raise AssertionError("the positions are not those that were written")
    return {"restart_s": took_s, "restart_entries": float(entries)}


def main() -> int:
    """Run all; print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    as_json = parser.parse_args().json
    with TemporaryDirectory() as folder:
        (Path(folder) / "journal").mkdir()
        found = {**quotes(), **orders(Path(folder) / "host"), **restart(Path(folder) / "journal")}
    if as_json:
        sys.stdout.write(json.dumps({"schema": "tradeops/bench-trader/v1", "load": os.getloadavg()[0], "figures": found}) + "\n")
        return 0
    for name, value in found.items():
        sys.stdout.write(f"{name:40} {value:>14,.2f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
