"""Stop page, permit and disk harmed while a real guard and trader run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.guardhost import GuardHost
from tests.support.wait import until
from tradeops.base.clock import NS_PER_S
from tradeops.contracts.pages import STOP_BYTES, Narrowing, StopPage

DAY_NS = 24 * 3600 * NS_PER_S


def _delete(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    os.truncate(path, 0)


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def _corrupt(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(30)
        file.write(b"\xff\xff\xff")


def _forge(path: Path) -> None:
    page = StopPage(path, writable=True)
    words = page.read()
    assert words
    page.write(
        epoch=words.epoch + 5,
        may_send=True,
        beat_ns=words.beat_ns,
        latch_cleared=words.latch,
        scope_generation=9,
        narrowing=Narrowing(),
        token=words.token,
        durable=False,
    )
    page.close()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_delete, _truncate, _replace, _corrupt, _forge, _folder])
def test_a_damaged_stop_page_halts_while_trading(host: GuardHost, damage: Callable[[Path], None]) -> None:
    """Deleted, truncated, replaced, corrupted, forged: halted at the next beat, the page made anew, the permit lost."""  # K06
    host.permit()
    before = host.status().epoch
    damage(host.layout.stop_page)
    until(lambda: "unarmed" in host.kinds(), 5)
    status = host.status()
    assert not status.trading and status.epoch > before and status.permit is None
    assert not host.page_says_send() and host.layout.stop_page.stat().st_size == STOP_BYTES
    assert any("stop page" in mark.reason for mark in status.marks)
    host.permit()
    assert host.page_says_send()


def test_the_old_mapping_of_a_deleted_page_says_halted(host: GuardHost) -> None:
    """A mapping outlives its name: a trader that has the old page mapped is stopped through it."""  # K06
    host.permit()
    mapped = StopPage(host.layout.stop_page, writable=False)
    host.layout.stop_page.unlink()
    until(lambda: (words := mapped.read()) is not None and not words.may_send, 5)
    mapped.close()


@pytest.mark.parametrize("damage", [_delete, _truncate, _corrupt])
@pytest.mark.parametrize("down", [False, True])
def test_a_damaged_permit_halts(host: GuardHost, damage: Callable[[Path], None], down: bool) -> None:
    """While the guard runs and while it does not: lost, unreadable, altered = halted.

    A guard that lost its memory also takes a latch that the host bore earlier for a kill that nobody ended.
    """  # K06
    host.permit()
    if down:
        host.kill_guard()
    damage(host.layout.guard_state / "state.json")
    if down:
        host.start_guard()
    until(lambda: "unarmed" in host.kinds() and not host.page_says_send(), 5)


def test_an_old_permit_does_not_come_back_after_the_state_was_lost(host: GuardHost) -> None:
    """With the list of spent ids lost, whatever was signed before counts as spent."""  # K07
    permit = host.people.permit()
    assert host.post(permit).accepted
    assert host.post(permit).code == "replayed"
    host.kill_guard()
    (host.layout.guard_state / "state.json").unlink()
    host.start_guard()
    assert host.post(permit).code in {"signed_before", "kill_not_named"}
    assert not host.page_says_send()


def test_a_state_copied_back_from_before_a_kill_does_not_trade(host: GuardHost) -> None:
    """The stop page remembers a higher epoch than the state."""  # K06
    host.permit()
    state = host.layout.guard_state / "state.json"
    before = state.read_bytes()
    host.kill()
    host.kill_guard()
    state.write_bytes(before)
    host.start_guard()
    assert not host.page_says_send() and host.kinds() == {"unarmed"}


def test_a_kill_goes_on_when_the_disk_refuses(host: GuardHost) -> None:
    """The state cannot be written: blocked all the same, the answer says it is not on the disk, and it is retried."""  # A03
    host.permit()
    folder = host.layout.guard_state
    moved = folder.with_name("guard-away")
    folder.rename(moved)
    refused = host.post(host.people.permit())
    assert refused.code == "not_durable" or not refused.accepted
    reply = host.kill()
    assert reply.accepted and reply.blocked and "disk" in reply.error
    assert any("state" in problem for problem in host.status().problems)
    moved.rename(folder)
    until(lambda: not any("cannot be written" in problem for problem in host.status().problems), 5)
    host.kill_guard()
    host.start_guard()
    assert "kill" in host.kinds()
