"""A stop reaches working orders, and no new one leaves: by every way a stop page can say no."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.support.trader import Desk, raise_latch
from tradeops.contracts.directive import Scope
from tradeops.contracts.pages import Token
from tradeops.trader.gate.verdict import Cause, Level
from tradeops.wire.protocol import CancelAll, CancelOrder, CancelRejected, Code, ExecKind

Start = Callable[..., Desk]


def _cancel_alls(desk: Desk) -> list[CancelAll]:
    return [message for message in desk.session.sent if isinstance(message, CancelAll)]


def test_nothing_leaves_without_a_permit(start: Start) -> None:
    """K06: an unarmed page, quotes and a session: not one message that adds risk."""
    desk = start()
    desk.log_on()
    desk.subscribe()
    desk.quotes()
    desk.look()
    assert desk.session.orders() == []
    assert desk.rooms.path.result == 0


def test_it_trades_when_permitted(start: Start) -> None:
    """With a permit the path is checked first; then a bid and an offer are placed, tagged (K09, D17)."""
    desk = start()
    orders = desk.trade()
    assert {order.side.value for order in orders} == {"buy", "sell"}
    assert all(order.tags.host == "host-1" and order.tags.release.startswith("sha256:") for order in orders)
    assert desk.rooms.path.result == 1


def test_a_halt_cancels_all_and_is_acknowledged(start: Start) -> None:
    """K02: the epoch is acknowledged with an empty queue; the cancel names this host alone; the session stays up."""
    desk = start()
    orders = desk.trade()
    desk.guard.say(False)
    desk.look()
    (cancel,) = _cancel_alls(desk)
    assert cancel.hosts == ("host-1",)
    assert desk.rooms.gate.acknowledged.epoch == desk.guard.epoch
    for order in orders:
        desk.report(order, ExecKind.CANCELLED, code=Code.MASS_CANCEL)
    desk.look()
    assert desk.rooms.ledger.orders.open_count == 0
    before = len(desk.session.orders())
    for _ in range(30):
        desk.quote()
        desk.look(50)
    assert len(desk.session.orders()) == before


def test_orders_in_the_queue_are_withheld_and_not_acknowledged_before(start: Start) -> None:
    """What a send buffer could still emit counts as not blocked; the last look keeps it back."""
    desk = start()
    desk.open_path()
    desk.session.held = True
    desk.quote()
    desk.look()
    assert desk.session.send_queue > 0
    desk.guard.say(False)
    desk.look()
    assert desk.rooms.gate.acknowledged.epoch < desk.guard.epoch
    desk.session.held = False
    desk.session.release()
    desk.look()
    assert desk.session.orders() == []
    assert desk.rooms.gate.acknowledged.epoch == desk.guard.epoch
    assert desk.rooms.telemetry.counters["orders_withheld_total"] == 2
    assert desk.rooms.ledger.orders.open_count == 0


def test_the_latch_alone_stops(start: Start) -> None:
    """The agent's word needs no guard: latched is halted, and acknowledged."""
    desk = start()
    desk.trade()
    raise_latch(desk.layout, 7)
    desk.look()
    assert len(_cancel_alls(desk)) == 1
    assert desk.rooms.gate.acknowledged.latch == 7
    assert desk.rooms.gate.look().cause is Cause.LATCHED


def test_a_deleted_page_stops_and_a_copy_of_the_old_one_does_not_start(start: Start) -> None:
    """K06: a mapping outlives its name; the name is checked at every look, and a lapsed epoch never counts again."""
    desk = start()
    desk.trade()
    content = desk.layout.stop_page.read_bytes()
    desk.layout.stop_page.unlink()
    desk.stare()
    assert len(_cancel_alls(desk)) == 1
    desk.layout.stop_page.write_bytes(content)
    desk.stare()
    assert desk.rooms.gate.look().cause is Cause.EPOCH_SPENT


@pytest.mark.parametrize("damage", [b"\xff" * 4096, b"\0" * 4096])
def test_a_corrupt_page_pauses_at_once_and_halts_soon(start: Start, damage: bytes) -> None:
    """K06: words that do not add up let nothing out; when they stay so, working orders go."""
    desk = start()
    desk.trade()
    with desk.layout.stop_page.open("r+b") as file:
        file.write(damage)
    desk.stare()
    assert desk.rooms.gate.look().level is Level.PAUSED
    assert _cancel_alls(desk) == []
    desk.clock.advance_ns(600_000_000)
    desk.stare()
    assert desk.rooms.gate.look().cause is Cause.PAGE_DAMAGED
    assert len(_cancel_alls(desk)) == 1


def test_a_truncated_page_stops(start: Start) -> None:
    """A page of another size is not read at all: a mapping past the end would end the process."""
    desk = start()
    desk.trade()
    os.truncate(desk.layout.stop_page, 100)
    desk.stare()
    assert len(_cancel_alls(desk)) == 1
    desk.stare()
    assert desk.rooms.gate.look().cause is Cause.PAGE_MISSING


def test_a_silent_guard_pauses_then_halts_until_it_speaks_anew(start: Start) -> None:
    """K13, K07: a beat alone does not re-arm; a higher epoch does."""
    desk = start()
    desk.trade()
    desk.clock.advance_ns(600_000_000)
    desk.stare()
    assert desk.rooms.gate.look().cause is Cause.GUARD_LATE
    assert _cancel_alls(desk) == []
    desk.clock.advance_ns(1_500_000_000)
    desk.stare()
    assert len(_cancel_alls(desk)) == 1
    desk.look()
    assert desk.rooms.gate.look().cause is Cause.EPOCH_SPENT
    desk.guard.say(True)
    assert desk.rooms.gate.look().level is Level.OPEN


def test_a_beat_from_the_future_is_silence(start: Start) -> None:
    """After a reboot the page's time means nothing."""
    desk = start()
    desk.guard.say(True)
    desk.clock.rewind_to_ns(desk.clock.monotonic_ns() - 10_000_000_000)
    assert desk.rooms.gate.look().cause is Cause.GUARD_SILENT


def test_a_scope_takes_its_subset_and_nothing_else(start: Start) -> None:
    """K01: a blocked symbol loses its orders; another scope touches nothing."""
    desk = start()
    desk.trade()
    desk.guard.say(True, Scope(symbols=("OTHER",)))
    desk.look()
    assert _cancel_alls(desk) == [CancelAll(request_id="all-1", hosts=("host-1",), symbols=("OTHER",))]
    assert desk.rooms.ledger.orders.open_count == 2
    desk.guard.say(True, Scope(symbols=("ACME",), strategies=("mean-quoter",)))
    desk.look()
    cancel = _cancel_alls(desk)[-1]
    assert (cancel.symbols, cancel.strategies) == (("ACME",), ("mean-quoter",))
    before = len(desk.session.orders())
    desk.quote(bid=90_000_000_000 + 9_000_000_000, ask=101_000_000_000)
    desk.look(500)
    assert len(desk.session.orders()) == before


def test_cancels_that_the_venue_refuses_are_tried_again(start: Start) -> None:
    """K14: a refused cancel is never taken as done."""
    desk = start()
    orders = desk.trade()
    desk.guard.say(False)
    desk.look()
    desk.say(CancelRejected(client_id="x", orig_client_id=orders[0].client_id, code=Code.REFUSED))
    desk.look(1_100)
    again = [message for message in desk.session.sent if isinstance(message, CancelOrder)]
    assert [message.orig_client_id for message in again] == [orders[0].client_id]
    assert desk.rooms.ledger.orders.open_count == 2


def test_a_session_that_comes_back_under_a_stop_is_told_again(start: Start) -> None:
    """A stop that came while the venue was away is acted on when it is back."""
    desk = start()
    desk.trade()
    desk.session.down = True
    desk.guard.say(False)
    desk.look()
    assert _cancel_alls(desk) == []
    desk.session.down = False
    desk.log_on()
    desk.look()
    assert len(_cancel_alls(desk)) == 1


@pytest.mark.parametrize("holder", [Token(1, "green"), Token(1, "")])
def test_only_the_slot_that_holds_the_token_sends(start: Start, holder: Token) -> None:
    """O09: the page says that another slot, or none, may send: nothing more leaves this process, not even what was queued."""
    desk = start()
    desk.open_path()
    desk.session.held = True
    desk.quote()
    desk.look()
    assert desk.session.send_queue
    desk.guard.token = holder
    desk.guard.say(True)
    desk.session.held = False
    desk.session.release()
    desk.look()
    assert desk.session.orders() == []
    verdict = desk.rooms.engine.verdict
    assert (verdict.level, verdict.cause) == (Level.HALTED, Cause.STANDBY)
    assert _cancel_alls(desk)
