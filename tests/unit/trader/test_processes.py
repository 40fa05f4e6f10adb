"""The daemon as a process beside a real venue process: the test's hand is on the stop page, as the guard's would be."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.processes import GuardHand, TraderProcess, VenueProcess
from tests.support.trader import LIMITS, SYMBOL, HostRoot, raise_latch
from tests.support.wait import until
from tradeops.base.clock import SystemClock
from tradeops.contracts.units import UNIT

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("trader-processes")]
RECORDING = Path(__file__).parents[4] / "shared" / "data" / "btcusdt_20240808.gz"
FAST = {"strategy__requote": "50ms", "strategy__half_spread_ppm": 50, "strategy__tolerance_ppm": 30}
FEED = {"kind": "generated", "quotes_per_s": 100, "trade_ppm": 300_000}


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[VenueProcess]:
    """A venue that trades one symbol."""
    process = VenueProcess(tmp_path, symbols=[{"symbol": SYMBOL}], feed=FEED).start()
    yield process
    process.stop()


@pytest.fixture
def running(tmp_path: Path, venue: VenueProcess) -> Iterator[Callable[..., tuple[TraderProcess, GuardHand]]]:
    """Starts a trader on a fresh host, with a hand on its stop page."""
    made: list[tuple[TraderProcess, GuardHand]] = []

    def _start(**config: Any) -> tuple[TraderProcess, GuardHand]:
        host = HostRoot(tmp_path / "host", ports=venue.doors).write()
        made.append((TraderProcess(host, **{**FAST, **config}).start(), GuardHand(host)))
        return made[-1]

    yield _start
    for trader, hand in made:
        trader.kill()
        hand.silence()


def _trading(trader: TraderProcess, hand: GuardHand, venue: VenueProcess) -> None:
    trader.when(lambda vitals: vitals.state == "halted" and vitals.feed_age_ns.get("sim", -1) >= 0)
    hand.say(True)
    trader.when(lambda vitals: vitals.working >= 1 and vitals.counters["orders_sent_total"] > 2)
    until(venue.working, 20)


def _stopped(trader: TraderProcess, venue: VenueProcess, since_ns: int) -> float:
    """Seconds until the gate was shut and the venue had no working order of this host; and none comes after."""
    until(lambda: trader.events("gate")[-1]["page"] == "halted" and venue.working() == 0, 5, interval=0.005)
    took_s = (SystemClock().monotonic_ns() - since_ns) / 1e9
    before = len(venue.orders())
    trader.when(lambda vitals: vitals.state == "halted" and vitals.working == 0)
    beat = trader.when(lambda vitals: True).beat_ns
    trader.when(lambda vitals: vitals.beat_ns > beat + 500_000_000)
    assert len(venue.orders()) == before
    assert venue.working() == 0
    return took_s


def test_it_waits_trades_when_permitted_and_a_halt_ends_it_within_a_second(
    venue: VenueProcess, running: Callable[..., tuple[TraderProcess, GuardHand]]
) -> None:
    """K03, K06, K09: unarmed it sends nothing; permitted it trades, every order tagged; halted, nothing works < 1 s later."""
    trader, hand = running()
    vitals = trader.when(lambda vitals: vitals.state == "halted" and vitals.sessions["sim"] == "up")
    assert vitals.identity.slot == "blue"
    assert vitals.identity.release == trader.host.layout.slot("blue").joinpath("current").resolve().name.join(["sha256:", ""])
    assert venue.orders() == []
    _trading(trader, hand, venue)
    fills = trader.when(lambda vitals: vitals.counters["fills_total"] > 0)
    assert fills.warnings == ()
    assert fills.counters["path_checks_passed_total"] == 1
    assert fills.gauges["path_check"] == 1
    assert all(order["tags"]["host"] == "host-1" and order["tags"]["desk"] for order in venue.orders())
    since_ns = SystemClock().monotonic_ns()
    hand.say(False)
    assert _stopped(trader, venue, since_ns) < 1.0
    after = trader.when(lambda vitals: vitals.ack_epoch == hand.permit.epoch)
    assert after.send_queue == 0
    assert after.sessions["sim"] == "up"


def test_the_latch_word_alone_stops_it(venue: VenueProcess, running: Callable[..., tuple[TraderProcess, GuardHand]]) -> None:
    """The agent's word, with a guard that goes on permitting: nothing works within a second, and it is acknowledged."""
    trader, hand = running()
    _trading(trader, hand, venue)
    since_ns = SystemClock().monotonic_ns()
    raise_latch(trader.host.layout)
    assert _stopped(trader, venue, since_ns) < 1.0
    assert trader.when(lambda vitals: vitals.ack_latch == 1).ack_epoch == hand.permit.epoch


@pytest.mark.parametrize("harm", ["deleted", "corrupt"])
def test_a_damaged_stop_page_stops_it(venue: VenueProcess, running: Callable[..., tuple[TraderProcess, GuardHand]], harm: str) -> None:
    """K06: while the trader runs, the page is deleted or overwritten: halted within 1.5 s, and it stays up."""
    trader, hand = running()
    _trading(trader, hand, venue)
    page = trader.host.layout.stop_page
    hand.silence()
    since_ns = SystemClock().monotonic_ns()
    if harm == "deleted":
        page.unlink()
    else:
        with page.open("r+b") as file:
            file.write(os.urandom(4096))
    assert _stopped(trader, venue, since_ns) < 1.5


def test_a_silent_guard_stops_it(venue: VenueProcess, running: Callable[..., tuple[TraderProcess, GuardHand]]) -> None:
    """K13: no beat for two seconds: halted, working orders gone."""
    trader, hand = running()
    _trading(trader, hand, venue)
    since_ns = SystemClock().monotonic_ns()
    hand.silence()
    assert 1.0 < _stopped(trader, venue, since_ns) < 4.0


def test_killed_and_started_again_it_knows_its_positions_and_asks_for_its_orders(
    venue: VenueProcess, running: Callable[..., tuple[TraderProcess, GuardHand]]
) -> None:
    """R09: kill -9 in mid-trade; positions come back from journal and venue, no order is sent twice."""
    trader, hand = running()
    _trading(trader, hand, venue)
    trader.when(lambda vitals: vitals.counters["fills_total"] >= 3)
    trader.kill()
    hand.say(False)
    until(lambda: venue.working() == 0, 20)
    truth = sum((1 if order["side"] == "buy" else -1) * order["cumulative_qty"] for order in venue.orders())
    trader.start()
    vitals = trader.when(lambda vitals: vitals.state == "halted" and vitals.sessions["sim"] == "up" and vitals.working == 0)
    assert vitals.positions.get(SYMBOL, 0) == truth
    assert trader.events("recovered")
    hand.say(True)
    trader.when(lambda vitals: vitals.counters["orders_sent_total"] > 2)
    ids = [order["client_id"] for order in venue.orders()]
    assert len(set(ids)) == len(ids)
    assert trader.when(lambda vitals: True).counters["orders_rejected_total"] == 0


def test_a_venue_that_is_down_is_waited_for(tmp_path: Path) -> None:
    """It starts without its venue, says so in its vitals, and takes up the session when the venue is there."""
    venue = VenueProcess(tmp_path, symbols=[{"symbol": SYMBOL}], feed=FEED).start()
    venue.stop()
    host = HostRoot(tmp_path / "host", ports=venue.doors).write()
    trader, hand = TraderProcess(host, **FAST).start(), GuardHand(host)
    try:
        vitals = trader.when(
            lambda vitals: vitals.sessions["sim"].startswith("down: ") and vitals.sessions["sim/feed"].startswith("down: ")
        )
        assert vitals.state == "starting"
        venue.start()
        _trading(trader, hand, venue)
        venue.stop()
        trader.when(lambda vitals: vitals.sessions["sim"].startswith("down: "))
        venue.start()
        trader.when(lambda vitals: vitals.sessions["sim"] == "up" and vitals.state == "ready")
    finally:
        trader.kill()
        hand.silence()
        venue.stop()


def test_sigterm_drains(venue: VenueProcess, running: Callable[..., tuple[TraderProcess, GuardHand]]) -> None:
    """SIGTERM takes back what works, closes the journal, leaves last words, and ends with 0."""
    trader, hand = running()
    _trading(trader, hand, venue)
    trader.signal(signal.SIGTERM)
    assert trader.wait() == 0
    assert venue.working() == 0
    vitals = trader.vitals()
    assert vitals is not None
    assert (vitals.state, vitals.working) == ("stopping", 0)
    assert [line["working"] for line in trader.events("stopped")] == [0]


def test_a_second_trader_of_the_same_host_does_not_start(
    venue: VenueProcess, running: Callable[..., tuple[TraderProcess, GuardHand]]
) -> None:
    """Two processes on one journal would be two routers with one memory."""
    trader, _ = running()
    trader.when(lambda vitals: vitals.sessions["sim"] == "up")
    second = TraderProcess(trader.host, **FAST).start()
    try:
        assert second.wait() == 1
    finally:
        second.kill()
    assert "held by another trader" in second.events("cannot_run")[-1]["what"]
    assert trader.when(lambda vitals: True).sessions["sim"] == "up"


def test_a_bad_configuration_ends_it_with_a_clear_line(tmp_path: Path) -> None:
    """Exit status 2, and one JSON line with file, line and key."""
    host = HostRoot(tmp_path / "host").write()
    trader = TraderProcess(host, risk__collar_ppm="wide").start()
    try:
        assert trader.wait() == 2
    finally:
        trader.kill()
    (said,) = trader.events("cannot_run")
    assert "trader.yml:" in said["where"]
    assert "risk.collar_ppm" in said["what"]


def test_a_changed_release_does_not_start(tmp_path: Path) -> None:
    """A manifest that nobody entitled has signed is refused by the trader itself (A05)."""
    host = HostRoot(tmp_path / "host").write()
    manifest = host.layout.slot("blue") / "current" / "release.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"payload":"', b'"payload":"AAAA'))
    trader = TraderProcess(host).start()
    try:
        assert trader.wait() == 9
    finally:
        trader.kill()
    assert trader.events("cannot_run")


@pytest.mark.skipif(not RECORDING.exists(), reason="the recorded market data is not on this machine")
def test_the_recorded_exchange_file_replays_through_venue_feed_and_trader(tmp_path: Path) -> None:
    """lab.md: recorded prices of a clock 1.25 s ahead: believed by the estimated offset, traded on, and their age is small."""
    symbol = {"symbol": "BTCUSDT", "tick": "0.1", "lot": "0.001", "price": "61800.2"}
    feed = {"kind": "replay", "file": str(RECORDING), "speed_ppm": 1_000_000}
    venue = VenueProcess(tmp_path, symbols=[symbol], feed=feed).start()
    price, milli = 61_800 * UNIT, UNIT // 1000
    host = HostRoot(tmp_path / "host", ports=venue.doors, symbol="BTCUSDT", tick=UNIT // 10, lot=milli, reference_price=price)
    limits = msgspec.structs.replace(LIMITS, instruments=("BTCUSDT",), order_price_max=100_000 * UNIT, position_max=UNIT)
    host.release = msgspec.structs.replace(host.release, limits=limits)
    trader = TraderProcess(host.write(), **{**FAST, "strategy__quantity": "0.001", "strategy__position_max": "0.05"}).start()
    hand = GuardHand(host)
    try:
        _trading(trader, hand, venue)
        vitals = trader.when(lambda vitals: vitals.counters["quotes_total"] > 500)
        unsynced = vitals.counters["quotes_invalid_clock_unknown_total"]
        assert vitals.counters["quotes_invalid_total"] - unsynced < vitals.counters["quotes_total"] // 20
        assert 0 <= vitals.feed_age_ns["sim"] < 1_000_000_000
        assert vitals.warnings == ()
        since_ns = SystemClock().monotonic_ns()
        hand.say(False)
        assert _stopped(trader, venue, since_ns) < 1.0
    finally:
        trader.kill()
        hand.silence()
        venue.stop()


def test_a_lost_answer_and_a_crash_leave_one_order_at_the_venue(
    venue: VenueProcess, running: Callable[..., tuple[TraderProcess, GuardHand]]
) -> None:
    """R09: the acknowledgement is dropped, the trader dies and comes back: it asks, and sends nothing twice."""
    trader, hand = running()
    trader.when(lambda vitals: vitals.state == "halted" and vitals.feed_age_ns.get("sim", -1) >= 0)
    venue.ask("/v1/faults", {"kind": "drop_ack"})
    hand.say(True)
    trader.when(lambda vitals: vitals.counters["orders_sent_total"] >= 1)
    until(venue.orders, 20)
    trader.kill()
    hand.say(False)
    venue.ask("/v1/faults", method="DELETE")
    before = venue.orders()
    trader.start()
    trader.when(lambda vitals: vitals.state == "halted" and vitals.working == 0)
    after = venue.orders()
    assert [order["client_id"] for order in after] == [order["client_id"] for order in before]
    asked = venue.ask("/v1/messages?direction=in&session=host-1-trader")["messages"]
    queried = {entry["message"]["client_id"] for entry in asked if entry["message"].get("t") == "query"}
    assert queried
