"""A real guard, two real traders, a real venue: the token goes over and back, and whatever dies on the way, one slot writes or none."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.twoslots import Slots, two_slots
from tests.support.wait import until
from tradeops.contracts.directive import Verb
from tradeops.contracts.status import MarkKind

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("guard-trader-venue")]


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[Slots]:
    """Blue trades, green stands by."""
    with two_slots(tmp_path) as made:
        yield made


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
