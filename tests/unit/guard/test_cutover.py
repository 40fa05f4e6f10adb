"""A real guard, two real traders, a real venue: the token goes over and back, and whatever dies on the way, one slot writes or none."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.trader import SYMBOL
from tests.support.twoslots import Slots, two_slots
from tests.support.wait import until
from tradeops.base.clock import SystemClock
from tradeops.contracts.directive import ADOPT, Verb
from tradeops.contracts.status import MarkKind
from tradeops.contracts.units import UNIT
from tradeops.wire.entry import OrderEntry
from tradeops.wire.protocol import NewOrder, Side, Tags
from tradeops.wire.session import OrderSession, SessionConfig

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("guard-trader-venue")]


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[Slots]:
    """Blue trades, green stands by."""
    with two_slots(tmp_path) as made:
        yield made


def _stray(slots: Slots) -> None:
    """An order of this host at the venue that no slot has sent, over a session of its own."""

    async def place() -> None:
        session = OrderSession(SessionConfig(f"ws://127.0.0.1:{slots.venue.ports['orders']}", "elsewhere", "ACC"), SystemClock())
        await session.connect()
        tags = Tags(strategy="s", release="r", host="host-1", desk="d")
        OrderEntry(session).send(NewOrder(client_id="stray-1", symbol=SYMBOL, side=Side.BUY, qty=UNIT, price=UNIT, tags=tags))
        await session.receive()
        await session.logout()

    asyncio.run(place())
    until(lambda: "stray-1" in slots.at_work().values(), 5)


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Slots]:
    """The same in a market that gives no reason to take an order back."""
    still = {"strategy__half_spread_ppm": 5_000, "strategy__tolerance_ppm": 100_000}
    with two_slots(tmp_path, feed={"kind": "generated", "quotes_per_s": 20, "trade_ppm": 0}, **still) as made:
        _both_at_work(made)
        yield made


def _both_at_work(slots: Slots) -> None:
    """A slot that trades may not have sent its orders yet: once the venue has them."""
    until(lambda: len(slots.at_work()) == 2, 20)


def test_over_and_back_with_nothing_lost(slots: Slots) -> None:
    """Stood down and clear, then the other slot writes under a higher number; the old one stays warm and goes back."""  # O09
    before = slots.host.status()
    assert (before.active, before.token) == ("blue", 0)
    assert before.standby is not None and before.standby.state == "standby" and before.problems == ()
    for number, (old, new) in enumerate((("blue", "green"), ("green", "blue")), 1):
        down = slots.standby()
        assert down.accepted and down.blocked
        assert slots.activate(new, number).accepted
        status = slots.trades(new)
        assert (status.active, status.token, slots.writers()) == (new, number, [new])
        assert status.standby is not None and status.standby.identity.slot == old and status.standby.state == "standby"
        assert slots.activate(old, number).code == "older"
        assert slots.activate(old, number + 1).code == "not_standing_by"
    slots.whole()


def test_a_standby_that_dies_changes_nothing(slots: Slots) -> None:
    """It is no orphan while it lives and no loss when it is gone; it is not given the token."""  # O09
    slots.traders["green"].kill()
    until(lambda: slots.host.status().standby is None, 5)
    assert slots.host.status().trading and slots.host.status().problems == ()
    slots.standby()
    refused = slots.activate("green", 1, wait_ms=500)
    assert refused.code == "not_proved" and "no process" in refused.error
    assert slots.activate("blue", 1).accepted
    slots.trades("blue")
    slots.whole()


def test_a_writer_that_dies_in_mid_stand_down_is_stood_down(slots: Slots) -> None:
    """Its orders are gone by drop copy, its lock fell: the other slot takes over."""  # O09
    slots.traders["blue"].signal(signal.SIGKILL)
    slots.traders["blue"].wait()
    assert slots.standby().accepted
    assert slots.activate("green", 1).accepted
    halts = tuple(mark.id for mark in slots.host.status().marks if mark.kind is MarkKind.HALT)
    assert not halts or slots.host.post(slots.host.people.say(Verb.RESUME, ends=halts), wait_ms=10_000).accepted
    slots.trades("green")
    slots.whole()


def test_a_frozen_writer_is_never_succeeded(slots: Slots) -> None:
    """Not stood down is not activated; ended, it is; halted or active on one slot at every moment."""  # O09
    os.kill(slots.traders["blue"].pid, signal.SIGSTOP)
    try:
        slots.standby()
        refused = slots.activate("green", 1, wait_ms=1500)
        assert refused.code == "not_stood_down", refused
        assert slots.host.status().trading is False
    finally:
        os.kill(slots.traders["blue"].pid, signal.SIGCONT)
    assert slots.activate("green", 1).accepted
    slots.trades("green")
    assert slots.writers() == ["green"]
    slots.whole()


def test_a_new_writer_that_dies_halts_the_host_and_the_old_one_comes_back(slots: Slots) -> None:
    """After a restart of everything the page still names one slot, and a person can see which."""  # O09 K06
    slots.standby()
    assert slots.activate("green", 1).accepted
    slots.traders["green"].signal(signal.SIGKILL)
    until(lambda: MarkKind.HALT in {mark.kind for mark in slots.host.status().marks}, 10)
    slots.host.kill_guard()
    slots.host.start_guard()
    status = slots.host.status()
    assert (status.active, status.token, status.trading) == ("green", 1, False)
    assert status.standby is not None and status.standby.writes is False
    assert slots.standby().accepted
    assert slots.activate("blue", 2).accepted
    halts = tuple(mark.id for mark in slots.host.status().marks if mark.kind is MarkKind.HALT)
    assert slots.host.post(slots.host.people.say(Verb.RESUME, ends=halts), wait_ms=10_000).accepted
    slots.trades("blue")
    slots.whole()


def test_a_guard_that_dies_in_mid_cutover_leaves_nobody_writing(slots: Slots) -> None:
    """The mark outlives it: both stand by until somebody activates."""  # O09 K06
    slots.standby()
    slots.host.kill_guard()
    slots.host.start_guard()
    status = slots.host.status()
    assert [mark.kind for mark in status.marks] == [MarkKind.STANDBY] and slots.writers() == []
    assert slots.venue.working() == 0
    assert slots.activate("green", 1).accepted
    slots.trades("green")
    slots.whole()


def test_a_kill_stops_both_slots(slots: Slots) -> None:
    """The standby acknowledges too; killed, the token still moves, and nothing trades until two people permit."""  # K03 K07 O09
    reply = slots.host.kill()
    assert reply.blocked and reply.blocked_ms is not None and reply.blocked_ms < 1000
    assert slots.standby().accepted and slots.activate("green", 1).accepted
    until(lambda: slots.writers() == ["green"], 10)
    assert not slots.host.status().trading and slots.venue.working() == 0
    assert slots.host.post(slots.host.people.permit(reply.id), wait_ms=20_000).accepted
    slots.trades("green")
    slots.whole()


def test_orders_stay_at_work_over_and_back(quiet: Slots) -> None:
    """Adopted: the same orders at the venue before, between and after, whoever writes, once its path is checked; a kill takes them
    back.
    """  # O09 R09 K02
    before = quiet.at_work()
    for number, new in enumerate(("green", "blue"), 1):
        assert quiet.standby(ADOPT).accepted
        quiet.left()
        assert quiet.at_work() == before and quiet.host.status().clear is False
        reply = quiet.activate(new, number, ADOPT)
        assert reply.accepted and reply.note == "adopted: 2 orders work, by drop copy", reply
        quiet.trades(new)
        until(lambda: (vitals := quiet.host.status().vitals) is not None and (vitals.working, vitals.unanswered) == (2, 0), 5)
        status = quiet.host.status()
        assert quiet.at_work() == before and status.vitals is not None
        assert (status.vitals.warnings, quiet.writers()) == ((), [new])
    killed = quiet.host.kill()
    until(lambda: not quiet.at_work(), 5)
    assert quiet.host.post(quiet.host.people.permit(killed.id), wait_ms=20_000).accepted
    quiet.trades("blue")
    quiet.whole()


def test_under_load_nothing_is_lost_or_twice(slots: Slots) -> None:
    """Adopted or, where a fill came too close, cancelled: journal and venue agree."""  # O09
    for number, new in enumerate(("green", "blue", "green"), 1):
        slots.busy()
        assert slots.standby(ADOPT).accepted
        assert slots.activate(new, number, ADOPT).accepted
        slots.trades(new)
    slots.whole()


def test_what_is_not_taken_over_is_cancelled(quiet: Slots) -> None:
    """An order that the journal does not know goes to nobody; a guard that dies between, and a slot with the token, leave none."""  # O09
    _stray(quiet)
    quiet.standby(ADOPT)
    refused = quiet.activate("green", 1, ADOPT, wait_ms=1000)
    assert refused.code == "not_adoptable" and "the journal does not hold it open" in refused.error
    reply = quiet.activate("green", 1, ADOPT)
    assert reply.accepted and "not adopted, but cancelled: after 5 s" in reply.note and "stray-1 works" in reply.note
    quiet.trades("green")
    _both_at_work(quiet)
    quiet.standby(ADOPT)
    quiet.left()
    quiet.host.kill_guard()
    assert quiet.at_work()
    quiet.host.start_guard()
    until(lambda: not quiet.at_work(), 5)
    assert "started anew" in quiet.activate("blue", 2, ADOPT).note
    quiet.trades("blue")
    _both_at_work(quiet)
    quiet.standby(ADOPT)
    quiet.left()
    os.kill(quiet.traders["green"].pid, signal.SIGSTOP)
    assert quiet.activate("green", 3, ADOPT, wait_ms=0).accepted and quiet.at_work()
    quiet.traders["green"].signal(signal.SIGKILL)
    until(lambda: not quiet.at_work(), 10)
    assert MarkKind.HALT in {mark.kind for mark in quiet.host.status().marks}
