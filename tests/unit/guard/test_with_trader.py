"""A guard process, a trader process, a venue process. What is said to the guard happens at the venue."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.three import Three, running
from tests.support.wait import until
from tradeops.base.clock import NS_PER_S, SystemClock
from tradeops.contracts.directive import Verb
from tradeops.contracts.status import MarkKind

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("guard-trader-venue")]


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Three]:
    """All up, nobody has permitted anything."""
    with running(tmp_path) as up:
        yield up


def test_many_kills_under_load_each_block_the_trader(tmp_path: Path) -> None:
    """K03: a feed many times faster than it decides, orders working; each kill blocks and clears."""
    with running(tmp_path, quotes_per_s=20_000) as busy:
        for _ in range(5):
            busy.trade()
            reply = busy.host.kill()
            assert reply.accepted and reply.blocked and reply.blocked_ms is not None and reply.blocked_ms < 1000
            until(lambda: busy.host.status().clear, 5)
        busy.quiet()


def test_permit_trade_kill_restart_permit(three: Three) -> None:
    """Armed it trades; killed it is blocked and clear, and stays so through restarts of both, until two people permit."""  # K02 K03 K06
    three.trade()
    reply = three.host.kill()
    assert reply.accepted and reply.blocked and reply.blocked_ms is not None and reply.blocked_ms < 1000
    until(lambda: three.host.status().clear, 5)
    three.quiet()
    three.trader.signal(signal.SIGTERM)
    three.trader.wait()
    three.host.kill_guard()
    three.host.start_guard()
    three.trader.start()
    three.trader.when(lambda vitals: vitals.state == "halted" and vitals.sessions["sim"] == "up")
    three.quiet()
    three.trade()
    again = three.host.post(three.host.people.say(Verb.KILL, id=reply.id), certified=False)
    assert again.code == "spent"
    assert three.host.status().trading


def test_a_run_caps_the_flow_of_a_real_trader(three: Three) -> None:
    """What the guard takes the trader obeys; nothing new is taken at a cap of nothing, and its orders are let go one by one."""  # D08
    three.trade()
    people = three.host.people

    def obeys(share: float) -> bool:
        vitals = three.host.status().vitals
        return vitals is not None and vitals.gauges["flow_cap_ratio"] == share

    assert three.host.post(people.run_says(Verb.LEASE, args={"lease_s": 60, "fence": 1, "flow_cap_ppm": 500_000})).accepted
    until(lambda: obeys(0.5), 5)
    until(lambda: (vitals := three.host.status().vitals) is not None and vitals.counters["signals_capped_total"] > 3, 20)
    assert three.host.post(people.run_says(Verb.LEASE, args={"lease_s": 0, "fence": 1})).accepted
    until(lambda: obeys(1), 5)


def test_a_halt_stops_and_a_resume_goes_on(three: Three) -> None:
    """One person each."""
    three.trade()
    halt = three.host.post(three.host.people.say(Verb.HALT))
    assert halt.accepted and halt.blocked
    three.quiet()
    assert three.host.post(three.host.people.say(Verb.RESUME, ends=(halt.id,))).accepted
    until(lambda: three.venue.working() > 0, 10)


def test_a_hung_trader_is_ended_and_its_orders_are_taken_back(three: Three) -> None:
    """SIGSTOP in mid-trade: the guard's own sessions cancel, the process is ended, and then it is blocked and clear."""  # K02 K13
    three.trade()
    os.kill(three.trader.pid, signal.SIGSTOP)
    reply = three.host.kill()
    assert reply.blocked and three.trader.wait() == -signal.SIGKILL
    until(lambda: three.host.status().clear, 5)
    three.quiet()


def test_a_guard_that_dies_halts_the_trader_and_one_that_is_back_lets_it_go_on(three: Three) -> None:
    """The beat stops, the trader stops; the permit outlives the guard."""  # K13 R06
    three.trade()
    three.host.kill_guard()
    three.trader.when(lambda vitals: vitals.state == "halted")
    three.quiet()
    three.host.start_guard()
    status = three.host.status()
    assert status.permit is not None and not [mark for mark in status.marks if mark.kind is MarkKind.KILL]
    until(lambda: three.venue.working() > 0, 10)


def test_a_truncated_page_stops_the_orders(three: Three) -> None:
    """Whatever the trader makes of it, nothing works at the venue, and the host is unarmed."""  # K06
    three.trade()
    os.truncate(three.host.layout.stop_page, 0)
    three.quiet()
    until(lambda: three.host.status().clear, 5)
    assert three.host.status().permit is None


def test_books_meet_while_it_trades(three: Three) -> None:
    """The trader's working orders and positions stand the comparison with the drop copy for longer than its window."""  # R14
    three.trade()
    until(lambda: (vitals := three.host.status().vitals) is not None and vitals.counters["fills_total"] > 5, 30)
    now_ns = SystemClock().monotonic_ns()
    until(lambda: SystemClock().monotonic_ns() - now_ns > 5 * NS_PER_S, 10)
    status = three.host.status()
    assert status.trading and status.marks == (), status.marks
