"""Two trader processes of one host beside a real venue: the journal and the session go from one to the other and back."""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import GuardHand, TraderProcess, VenueProcess
from tests.support.trader import SYMBOL, HostRoot
from tests.support.wait import until

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("trader-processes")]
FAST = {"strategy__requote": "50ms", "strategy__half_spread_ppm": 50, "strategy__tolerance_ppm": 30}
FEED = {"kind": "generated", "quotes_per_s": 100, "trade_ppm": 300_000}
Slots = tuple[TraderProcess, TraderProcess, GuardHand, VenueProcess]


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[Slots]:
    """Blue trades, green stands by."""
    venue = VenueProcess(tmp_path, symbols=[{"symbol": SYMBOL}], feed=FEED).start()
    host = HostRoot(tmp_path / "host", ports=venue.doors).write()
    host.fill_slot("green")
    blue, green = TraderProcess(host, "blue", **FAST), TraderProcess(host, "green", **FAST)
    hand = GuardHand(host)
    try:
        hand.say(True)
        blue.start().when(lambda vitals: vitals.state == "ready" and vitals.working > 0)
        green.start().when(lambda vitals: vitals.state == "standby" and vitals.counters["quotes_total"] > 0)
        yield blue, green, hand, venue
    finally:
        blue.kill()
        green.kill()
        hand.silence()
        venue.stop()


def _whole(venue: VenueProcess) -> None:
    """No id came twice, none was refused; what left is known to the venue, each once."""
    orders = venue.orders()
    assert max(Counter(order["client_id"] for order in orders).values()) == 1
    assert not [order for order in orders if order["state"] == "rejected"]


def test_it_goes_over_and_back(slots: Slots) -> None:
    """O09: the old one leaves with nothing working, the new one goes on from its books; and back again."""
    blue, green, hand, venue = slots
    fills = blue.when(lambda vitals: vitals.counters["fills_total"] > 0)
    assert fills.writes and green.when(lambda vitals: vitals.counters["decisions_compared_total"] > 0).writes is False
    for number, (old, new) in enumerate(((blue, green), (green, blue)), 1):
        hand.activate("", number - 1)
        left = old.when(lambda vitals: vitals.state == "standby" and not vitals.writes)
        assert venue.working() == 0
        hand.activate(new.slot, number)
        there = new.when(lambda vitals: vitals.writes and vitals.state == "ready" and vitals.working > 0)
        assert there.token == number and there.counters["orders_sent_total"] > 0
        assert left.warnings == () == there.warnings
    _whole(venue)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_writer_that_dies_leaves_the_lock_to_the_next(slots: Slots, end: signal.Signals) -> None:
    """O09: with its death the lock falls and its day orders go; the standby stays one until it is given the token."""
    blue, green, hand, venue = slots
    blue.signal(end)
    blue.wait()
    until(lambda: venue.working() == 0, 10)
    beat = green.when(lambda vitals: True).beat_ns
    assert green.when(lambda vitals: vitals.beat_ns > beat + 300_000_000).writes is False
    hand.activate("green", 1)
    assert green.when(lambda vitals: vitals.state == "ready" and vitals.working > 0).warnings == ()
    _whole(venue)


def test_a_frozen_writer_keeps_everybody_out(slots: Slots) -> None:
    """O09: it holds the lock, so nobody else writes, whatever the page says; awake again it sees the page and sends nothing."""
    blue, green, hand, venue = slots
    blue.signal(signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        stack.callback(blue.signal, signal.SIGCONT)
        hand.activate("green", 1)
        held = green.when(lambda vitals: any("held by another trader" in warning for warning in vitals.warnings))
        assert not held.writes
        before = len(venue.orders())
    blue.when(lambda vitals: vitals.state == "standby")
    green.when(lambda vitals: vitals.writes and vitals.state == "ready" and vitals.working > 0)
    fresh = [order for order in venue.orders()[before:] if order["tags"]["release"]]
    assert fresh and blue.when(lambda vitals: True).token == 0
    _whole(venue)


def test_a_process_of_the_slot_without_the_token_stands_by_from_its_start(slots: Slots) -> None:
    """A restart in mid-cutover: neither slot writes before the page names one."""
    blue, green, hand, venue = slots
    hand.activate("", 0)
    blue.when(lambda vitals: vitals.state == "standby")
    for trader in (blue, green):
        trader.kill()
        trader.start()
    for trader in (blue, green):
        trader.when(lambda vitals: vitals.state == "standby")
    assert venue.working() == 0
    hand.activate("green", 1)
    green.when(lambda vitals: vitals.state == "ready" and vitals.working > 0)
    assert blue.when(lambda vitals: True).writes is False
