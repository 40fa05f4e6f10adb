"""The loop's own beat: overlays taken up while it runs, a journal that fails and comes back, vitals at their pace, the drain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from tests.support.trader import SLOT, STRANGER, Desk, overlay, overlay_file
from tradeops.contracts.pages import read_vitals
from tradeops.contracts.units import UNIT
from tradeops.trader.heart import Heart
from tradeops.trader.messages import OrderEvent
from tradeops.wire.protocol import CancelAll

Start = Callable[..., Desk]


def _heart(desk: Desk) -> Heart:
    return Heart(desk.rooms, look_every_s=0.001, vitals_every_s=0.1)


def _beat(desk: Desk, heart: Heart, advance_ms: int = 200) -> None:
    desk.clock.advance_ns(advance_ms * 1_000_000)
    desk.guard.beat()
    heart.beat()


def test_an_overlay_is_taken_up_while_it_runs(start: Start) -> None:
    """D06: limits down and flags off at once; one that nobody entitled has signed halts until it is gone or mended."""
    desk = start()
    heart = _heart(desk)
    _beat(desk, heart)
    desk.layout.overlay_file.write_bytes(overlay_file(overlay(5, limits={"position_max": UNIT}, flags_off={"lean-to-mean": 5})))
    _beat(desk, heart)
    vitals = read_vitals(desk.layout.vitals_page(SLOT))
    assert vitals is not None
    assert (vitals.identity.overlay, vitals.identity.flags, vitals.limits["position_max"]) == (5, {}, UNIT)
    desk.layout.overlay_file.write_bytes(overlay_file(overlay(6), STRANGER))
    _beat(desk, heart)
    assert "overlay" in desk.rooms.standing.reasons
    desk.layout.overlay_file.write_bytes(overlay_file(overlay(7, limits={"order_count_max": 0})))
    _beat(desk, heart)
    assert set(desk.rooms.standing.reasons) == {"limits"}
    assert desk.rooms.placing.terms.limits.values["position_max"] == UNIT


def test_a_journal_that_comes_back_ends_its_halt(start: Start) -> None:
    """A full disk that is made room on: no person is needed for what was never sent."""
    desk = start()
    heart = _heart(desk)
    desk.trade()
    desk.journal._db.execute("ALTER TABLE entries RENAME TO gone")
    order = replace(desk.rooms.ledger.orders.open()[0].order, id="host-1-999999")
    desk.rooms.ledger.happen(desk.rooms.ledger.intend(order, 999_999), OrderEvent.WITHHELD)
    _beat(desk, heart, 10)
    assert set(desk.rooms.standing.reasons) == {"journal"}
    _beat(desk, heart, 10)
    assert any(isinstance(message, CancelAll) for message in desk.session.sent)
    desk.journal._db.execute("ALTER TABLE gone RENAME TO entries")
    _beat(desk, heart, 10)
    assert desk.rooms.standing.reasons == {}


def test_a_drain_takes_back_what_works_and_does_not_wait_for_ever(start: Start) -> None:
    """A venue that does not answer: the drain ends at its bound, and the last words say what is left."""
    desk = start()
    heart = _heart(desk)
    desk.trade()
    clock = desk.clock
    beat = desk.guard.beat

    async def _drain() -> None:
        async def _time() -> None:
            while True:
                clock.advance_ns(100_000_000)
                beat()
                await asyncio.sleep(0)

        time = asyncio.create_task(_time())
        await heart.drain(3.0)
        time.cancel()

    asyncio.run(_drain())
    heart.last_words()
    assert any(isinstance(message, CancelAll) for message in desk.session.sent)
    vitals = read_vitals(desk.layout.vitals_page(SLOT))
    assert vitals is not None
    assert (vitals.state, vitals.working) == ("stopping", 2)
