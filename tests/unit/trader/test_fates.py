"""What venues say, and do not say: every order's fate is found out, none is sent twice, executions count once."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
import pytest

from tests.support.trader import MEAN_FLAG, PRICE, SLOT, SYMBOL, TICK, VENUE, Desk, HostRoot, overlay
from tradeops.contracts.binding import Venue
from tradeops.contracts.pages import read_vitals
from tradeops.contracts.units import UNIT
from tradeops.trader.bus import FeedSaid, FeedSpoke, SessionDown
from tradeops.trader.orders.states import State
from tradeops.trader.risk.denial import Code as Denied
from tradeops.wire.marketdata import MarketState, SymbolStates, TradeBatch
from tradeops.wire.protocol import (
    CancelAll,
    CancelAllDone,
    CancelOrder,
    CancelRejected,
    Code,
    ExecKind,
    NewOrder,
    Notice,
    OrderState,
    QueryOrder,
    Side,
)

Start = Callable[..., Desk]


def _state(desk: Desk, order: NewOrder) -> State:
    tracked = desk.rooms.ledger.orders.get(order.client_id)
    assert tracked is not None
    return tracked.state


def _held(desk: Desk) -> int:
    return desk.rooms.ledger.positions.quantity(SYMBOL)


def _queries(desk: Desk) -> list[str]:
    return [message.client_id for message in desk.session.sent if isinstance(message, QueryOrder)]


def _recovered(desk: Desk) -> bool:
    return desk.rooms.standing.recovered


def test_an_execution_told_twice_counts_once(start: Start) -> None:
    """By cumulative quantity, whatever is resent."""
    desk = start()
    bid = desk.trade()[0]
    for _ in range(3):
        desk.report(bid, ExecKind.PARTIAL, cumulative=UNIT // 2, last=UNIT // 2)
    assert _held(desk) == UNIT // 2
    desk.report(bid, ExecKind.FILL, cumulative=UNIT, last=UNIT // 2)
    desk.report(bid, ExecKind.FILL, cumulative=UNIT, last=UNIT // 2)
    assert (_held(desk), _state(desk, bid)) == (UNIT, State.FILLED)
    assert desk.rooms.telemetry.counters["fills_total"] == 2
    assert desk.rooms.telemetry.warnings == ()


def test_a_missed_execution_is_made_up_by_the_next(start: Start) -> None:
    """The second report says more than its own part: the difference counts too."""
    desk = start()
    bid = desk.trade()[0]
    desk.report(bid, ExecKind.FILL, cumulative=UNIT, last=UNIT // 2)
    assert _held(desk) == UNIT


def test_more_than_ordered_is_a_break(start: Start) -> None:
    """R14: an execution beyond the order halts."""
    desk = start()
    bid = desk.trade()[0]
    desk.report(bid, ExecKind.FILL, cumulative=2 * UNIT, last=2 * UNIT)
    assert "break" in desk.rooms.standing.reasons
    assert _held(desk) == 2 * UNIT


def test_an_execution_of_an_unknown_order_is_a_break(start: Start) -> None:
    """R14: it halts, takes back what works, and says so."""
    desk = start()
    bid, ask = desk.trade()
    desk.report(msgspec.structs.replace(bid, client_id="other-9"), ExecKind.CANCELLED)
    desk.report(msgspec.structs.replace(bid, client_id="other-9"), ExecKind.NEW)
    assert desk.rooms.standing.reasons == {}
    desk.report(msgspec.structs.replace(bid, client_id="host-1-999999"), ExecKind.NEW)
    assert "break" in desk.rooms.standing.reasons
    desk.report(msgspec.structs.replace(ask, client_id="other-9"), ExecKind.FILL, cumulative=UNIT, last=UNIT)
    desk.look()
    assert not desk.rooms.standing.may_place(desk.rooms.engine.verdict)
    assert isinstance(desk.session.sent[-1], CancelAll)


def test_a_rejected_order_is_counted_and_frees_its_side(start: Start) -> None:
    """Rejected is the venue's no; the next decision may place again."""
    desk = start()
    desk.open_path()
    desk.quote()
    desk.look()
    bid = desk.session.orders()[0]
    desk.report(bid, ExecKind.REJECTED, code=Code.HALTED)
    assert desk.rooms.telemetry.counters["orders_rejected_total"] == 1
    assert _state(desk, bid) is State.REJECTED
    desk.clock.advance_ns(300_000_000)
    desk.quote()
    desk.look()
    assert [order.side for order in desk.session.orders()].count(Side.BUY) == 2


def test_a_send_without_an_answer_is_asked_about_and_never_sent_again(start: Start) -> None:
    """R09: no acknowledgement within the bound: unknown, a query; the side stays taken until the answer."""
    desk = start()
    desk.open_path()
    desk.quote()
    desk.look()
    orders = desk.session.orders()
    assert len(orders) == 2
    for _ in range(4):
        desk.clock.advance_ns(300_000_000)
        desk.quote()
        desk.look()
    assert set(_queries(desk)) == {order.client_id for order in orders}
    assert {_state(desk, order) for order in orders} == {State.UNKNOWN}
    assert len(desk.session.orders()) == 2
    assert desk.rooms.telemetry.counters["orders_unknown_total"] == 2
    desk.status(orders[0].client_id, OrderState.WORKING)
    desk.status(orders[1].client_id, OrderState.UNKNOWN)
    assert [_state(desk, order) for order in orders] == [State.WORKING, State.LOST]
    desk.look(1)
    assert _recovered(desk)


def test_a_query_is_asked_again_until_it_is_answered(start: Start) -> None:
    """Silence is no answer."""
    desk = start()
    desk.open_path()
    desk.quote()
    desk.look()
    for _ in range(35):
        desk.look(100)
    assert len(_queries(desk)) == 2 * 3


@pytest.mark.parametrize(
    ("answer", "cumulative", "state", "held"),
    [
        (OrderState.FILLED, UNIT, State.FILLED, UNIT),
        (OrderState.CANCELLED, UNIT // 2, State.CANCELLED, UNIT // 2),
        (OrderState.REJECTED, 0, State.REJECTED, 0),
        (OrderState.WORKING, UNIT // 2, State.WORKING, UNIT // 2),
    ],
)
def test_after_a_crash_the_venue_tells_what_became_of_each_order(
    host: HostRoot, start: Start, answer: OrderState, cumulative: int, state: State, held: int
) -> None:
    """Journal and venue together: not ready before, right after; executions known by query alone are a warning."""
    first = start()
    bid = first.trade()[0]
    first.rooms.ledger.commit()
    first.close()
    desk = Desk(host, first.clock)
    try:
        assert desk.rooms.ledger.orders.open_count == 2
        desk.log_on()
        assert not _recovered(desk)
        assert bid.client_id in _queries(desk)
        desk.guard.epoch = first.guard.epoch
        desk.subscribe()
        desk.quotes()
        desk.permit()
        assert desk.session.orders() == []
        desk.status(bid.client_id, answer, cumulative=cumulative)
        for one in desk.rooms.ledger.orders.open():
            if one.state is State.UNKNOWN:
                desk.status(one.order.id, OrderState.UNKNOWN)
        desk.look()
        assert _recovered(desk)
        assert (_state(desk, bid), _held(desk)) == (state, held)
        assert len(desk.rooms.telemetry.warnings) == (1 if cumulative else 0)
        assert all(order.client_id not in (bid.client_id,) for order in desk.session.orders())
    finally:
        desk.close()


def test_a_venue_without_memory_is_a_warning(start: Start) -> None:
    """Lost messages and a forgotten session: said, and everything open is asked about."""
    desk = start()
    orders = desk.trade()
    desk.rooms.bus.publish(SessionDown(VENUE))
    desk.look(2_000)
    assert _queries(desk) == []
    desk.log_on(forgotten=True)
    desk.log_on(missed=3)
    assert set(_queries(desk)) == {order.client_id for order in orders}
    assert any("no longer has this session" in warning for warning in desk.rooms.telemetry.warnings)
    assert any("no longer has 3 of its messages" in warning for warning in desk.rooms.telemetry.warnings)


def test_cancels_that_come_too_late_or_are_refused(start: Start) -> None:
    """Too late: asked about. Refused: still working. For an order nobody knows: nothing."""
    desk = start()
    bid, ask = desk.trade()
    for order in (bid, ask):
        tracked = desk.rooms.ledger.orders.get(order.client_id)
        assert tracked is not None
        desk.rooms.placing.cancel(tracked)
    desk.say(CancelRejected(client_id="c", orig_client_id=bid.client_id, code=Code.TOO_LATE))
    desk.say(CancelRejected(client_id="c", orig_client_id="nobody", code=Code.TOO_LATE))
    desk.say(CancelAllDone(request_id="all-1", cancelled=0, refused=(ask.client_id, "nobody"), code=Code.REFUSED))
    assert [_state(desk, order) for order in (bid, ask)] == [State.UNKNOWN, State.WORKING]
    desk.look(1_200)
    assert bid.client_id in _queries(desk)
    desk.status("nobody", OrderState.WORKING)


def test_what_does_not_fit_the_order_is_a_warning_and_no_crash(start: Start) -> None:
    """A report that cannot be, and a message the venue could not take."""
    desk = start()
    bid = desk.trade()[0]
    desk.report(bid, ExecKind.REJECTED)
    desk.say(Notice(code=Code.BAD_MESSAGE, ref_seq=4, text="what?"))
    desk.say(Notice(code=Code.BAD_MESSAGE, ref_seq=4, text="what?"))
    assert desk.rooms.telemetry.counters["errors_total"] == 3
    assert len(desk.rooms.telemetry.warnings) == 2


def test_a_price_that_moved_is_taken_back_then_placed_anew(start: Start) -> None:
    """Never two on a side: the cancel's confirmation comes first."""
    desk = start()
    desk.trade()
    desk.clock.advance_ns(300_000_000)
    desk.quote(PRICE + 99 * TICK, PRICE + 101 * TICK)
    desk.look()
    cancels = [message for message in desk.session.sent if isinstance(message, CancelOrder)]
    assert len(cancels) == 2
    before = len(desk.session.orders())
    for order in desk.session.orders():
        desk.report(order, ExecKind.CANCELLED)
    desk.look(300)
    assert len(desk.session.orders()) == before + 2


def test_bad_market_data_takes_back_what_works(start: Start) -> None:
    """R11, R19: crossed, silent, halted: the symbol's orders go, and none comes."""
    desk = start()
    desk.trade()
    desk.clock.advance_ns(300_000_000)
    desk.quote(PRICE + TICK, PRICE - TICK)
    desk.look()
    assert len([message for message in desk.session.sent if isinstance(message, CancelOrder)]) == 2
    assert desk.rooms.telemetry.counters["quotes_invalid_total"] >= 1


def test_a_halted_symbol_a_quiet_feed_and_trades(start: Start) -> None:
    """The other things a feed says: state changes, signs of life, trades."""
    desk = start()
    desk.trade()
    now_ns = desk.clock.monotonic_ns()
    desk.rooms.bus.publish(FeedSaid(VENUE, TradeBatch(sent_ns=0, rows=[]), now_ns))
    desk.rooms.bus.publish(FeedSpoke(VENUE, now_ns + 300_000_000))
    desk.clock.advance_ns(300_000_000)
    desk.rooms.bus.publish(FeedSaid(VENUE, SymbolStates(sent_ns=0, states={0: MarketState.HALTED}), desk.clock.monotonic_ns()))
    desk.look()
    assert len([message for message in desk.session.sent if isinstance(message, CancelOrder)]) == 2


def test_a_denial_is_counted_by_its_code_and_told_once(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """R21: in the vitals by code; in the log with measured value and limit, the first time."""
    desk = start(strategy__quantity="11")
    with caplog.at_level(logging.WARNING):
        desk.log_on()
        desk.subscribe()
        desk.quotes()
        desk.permit()
        (check,) = desk.session.orders()
        desk.report(check, ExecKind.CANCELLED, code=Code.IOC_REST)
        for _ in range(3):
            desk.clock.advance_ns(300_000_000)
            desk.quote()
            desk.look()
    assert len(desk.session.orders()) == 1
    assert desk.rooms.placing.denied == {Denied.ORDER_QUANTITY: desk.rooms.telemetry.counters["orders_denied_total"]}
    told = [record for record in caplog.records if record.message == "denied"]
    assert len(told) == 1
    assert (told[0].fields["measured"], told[0].fields["limit"]) == (11 * UNIT, 10 * UNIT)  # type: ignore[attr-defined]  # set by logs.event
    desk.rooms.write_vitals(desk.rooms.gate.look())
    vitals = read_vitals(desk.layout.vitals_page(SLOT))
    assert vitals is not None
    assert vitals.counters["orders_denied_order_quantity_total"] > 0


def test_an_overlay_blocks_a_symbol_at_once(start: Start) -> None:
    """Its orders are taken back, and nothing more is placed."""
    desk = start()
    desk.trade()
    desk.rooms.set_overlay(overlay(1, symbols_blocked=(SYMBOL,), flags_off={MEAN_FLAG.id: 1}))
    desk.look(300)
    assert len([message for message in desk.session.sent if isinstance(message, CancelOrder)]) == 2


def test_a_path_check_that_is_rejected_blocks_and_warns(start: Start) -> None:
    """D17: one reject on the path before trading: no trading, and a warning that smoke finds."""
    desk = start()
    desk.log_on()
    desk.subscribe()
    desk.quotes()
    desk.permit()
    (check,) = desk.session.orders()
    assert check.price <= PRICE * 98 // 100
    assert (check.side, check.tif.value) == (Side.BUY, "ioc")
    desk.report(check, ExecKind.REJECTED, code=Code.REFUSED, text="feature disabled")
    for _ in range(5):
        desk.clock.advance_ns(300_000_000)
        desk.quote()
        desk.look()
    assert len(desk.session.orders()) == 1
    assert desk.rooms.path.result == -1
    assert "path check on sim failed" in desk.rooms.telemetry.warnings[0]


def test_a_path_check_that_the_stop_kept_back_is_made_later(start: Start) -> None:
    """Withheld, or lost on the way: neither passed nor failed; it is made again."""
    desk = start()
    desk.log_on()
    desk.subscribe()
    desk.quotes()
    desk.session.held = True
    desk.permit()
    desk.guard.say(False)
    desk.session.held = False
    desk.session.release()
    desk.look()
    assert desk.session.orders() == []
    assert desk.rooms.path.result == 0
    desk.guard.say(True)
    desk.look(600)
    desk.quote()
    desk.look(600)
    (check,) = desk.session.orders()
    desk.look(1_500)
    desk.status(check.client_id, OrderState.UNKNOWN)
    desk.quote()
    desk.look(600)
    assert len(desk.session.orders()) == 2


def test_a_venue_that_is_not_permitted_gets_nothing(host: HostRoot, start: Start) -> None:
    """R18: a venue of the binding that the release does not name is never routed to."""
    url = "ws://127.0.0.1:1"
    host.venues = (Venue("dark", url, url, url, "ACC"), Venue(VENUE, url, url, url, "ACC"))
    host.write()
    desk = start()
    desk.session = desk.sessions[VENUE]
    desk.trade()
    assert desk.sessions["dark"].sent == []


def test_a_journal_that_fails_halts_and_nothing_is_sent(start: Start) -> None:
    """The intent is durable before the send, or there is no send."""
    desk = start()
    desk.open_path()
    desk.journal._db.execute("DROP TABLE entries")
    desk.quote()
    desk.clock.advance_ns(10_000_000)
    desk.guard.beat()
    desk.rooms.engine.verdict = desk.rooms.gate.look()
    desk.rooms.engine.decide()
    assert desk.session.orders() == []
    assert "journal" in desk.rooms.standing.reasons
    assert desk.rooms.ledger.orders.open_count == 0
    desk.journal._db.execute("CREATE TABLE entries (number INTEGER PRIMARY KEY, body BLOB NOT NULL)")
