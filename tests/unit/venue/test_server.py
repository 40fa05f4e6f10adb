"""The whole venue through real clients: sessions, client ids, cancel on disconnect, faults, doors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
import msgspec
import pytest

from tests.support.venue import COIN, QUICK, TAGS, order, place, run, running, until
from tradeops.base.clock import SystemClock
from tradeops.wire.cancel import OutOfBand, outcomes, refused_now
from tradeops.wire.dropcopy import DropCopyClient
from tradeops.wire.entry import OrderEntry
from tradeops.wire.errors import LogonRejected, SessionLost, VenueUnreachable
from tradeops.wire.protocol import (
    CancelAll,
    CancelAllDone,
    CancelOrder,
    CancelRejected,
    ChangeOrder,
    Code,
    DropReport,
    ExecKind,
    ExecutionReport,
    Notice,
    OrderState,
    OrderStatus,
    QueryOrder,
    Role,
    Side,
    Tif,
)
from tradeops.wire.session import OrderSession, SessionConfig


async def follow(client: DropCopyClient, reports: list[DropReport]) -> None:
    """Keep a drop copy's view up to date, noting every report."""
    while True:
        message = await client.receive()
        if isinstance(message, DropReport):
            reports.append(message)


def kinds(messages: Sequence[object]) -> list[object]:
    return [message.kind if isinstance(message, ExecutionReport) else type(message).__name__ for message in messages]


def test_an_order_and_its_fill_reach_both_members_and_the_drop_copy() -> None:
    """Two accounts trade: each gets its own reports, the drop copy of one account shows that account alone."""

    async def story() -> None:
        async with running() as venue:
            one, other, copy = venue.session("s1", "acc-1"), venue.session("s2", "acc-2"), venue.drop_copy()
            await one.connect()
            await other.connect()
            await copy.connect()
            await place(one, order("c1", Side.BUY, 10))
            answers = [*await place(other, order("c1", Side.SELL, 4)), (await other.receive()).message]
            assert kinds(answers) == [ExecKind.NEW, ExecKind.FILL]
            fill = (await one.receive()).message
            assert isinstance(fill, ExecutionReport)
            assert (fill.kind, fill.last_qty, fill.last_price, fill.cumulative_qty, fill.leaves_qty, fill.tags) == (
                ExecKind.PARTIAL, 4 * COIN, 100 * COIN, 4 * COIN, 6 * COIN, TAGS,
            )  # fmt: skip
            assert isinstance(answers[1], ExecutionReport) and answers[1].trade_id == fill.trade_id
            got = [await copy.receive() for _ in range(3)]
            assert [message.account for message in got if isinstance(message, DropReport)] == ["acc-1", "acc-1"]
            working = copy.working_orders()
            assert working is not None and [one.leaves_qty for one in working.values()] == [6 * COIN]

    run(story())


def test_a_client_id_is_good_once() -> None:
    """A second use is rejected, also after the first order is done; another account may use the same id."""

    async def story() -> None:
        async with running() as venue:
            session, other = venue.session(), venue.session("s2", "acc-2")
            await session.connect()
            await other.connect()
            await place(session, order("c1"))
            session.send(CancelOrder(client_id="x1", orig_client_id="c1"))
            cancelled = (await session.receive()).message
            assert isinstance(cancelled, ExecutionReport) and (cancelled.kind, cancelled.request_id) == (ExecKind.CANCELLED, "x1")
            (again,) = await place(session, order("c1"))
            assert isinstance(again, ExecutionReport) and (again.kind, again.code) == (ExecKind.REJECTED, Code.DUPLICATE_CLIENT_ID)
            (free,) = await place(other, order("c1"))
            assert isinstance(free, ExecutionReport) and free.kind is ExecKind.NEW

    run(story())


def test_orders_are_judged_by_the_rules_of_entry() -> None:
    """What does not trade here, is off the tick or the lot, or would take although post-only is rejected with its own code."""

    async def story() -> None:
        async with running() as venue:
            session, other = venue.session(), venue.session("s2", "acc-2")
            await session.connect()
            await other.connect()
            await place(other, order("offer", Side.SELL, price="101.00"))
            bad = [
                (order("c1", symbol="NOPE"), Code.UNKNOWN_SYMBOL),
                (msgspec.structs.replace(order("c2"), price=100 * COIN + 1), Code.BAD_TICK),
                (msgspec.structs.replace(order("c3"), qty=COIN + 1), Code.BAD_LOT),
                (order("c4", price="101.00", post_only=True), Code.WOULD_TRADE),
            ]
            for one, code in bad:
                (answer,) = await place(session, one)
                assert isinstance(answer, ExecutionReport) and (answer.kind, answer.code) == (ExecKind.REJECTED, code)
            (answer,) = await place(session, order("c5", tif=Tif.IOC))
            rest = (await session.receive()).message
            assert kinds([answer, rest]) == [ExecKind.NEW, ExecKind.CANCELLED]

    run(story())


def test_changes_take_the_new_client_id_and_are_refused_with_a_reason() -> None:
    """A change answers under its new id; unknown, done and reused ids are refused; the order then stands as it was."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            await place(session, order("c1", qty=10))
            entry = OrderEntry(session)

            async def change(new_id: str, orig: str, qty: int, price: int = 100 * COIN) -> object:
                entry.send(ChangeOrder(client_id=new_id, orig_client_id=orig, qty=qty * COIN, price=price, tags=TAGS))
                return (await session.receive()).message

            changed = await change("c2", "c1", 5)
            assert isinstance(changed, ExecutionReport)
            assert (changed.kind, changed.client_id, changed.orig_client_id, changed.leaves_qty) == (ExecKind.CHANGED, "c2", "c1", 5 * COIN)
            for new_id, orig, qty, price, code in (
                ("c3", "nobody", 5, 100 * COIN, Code.UNKNOWN_ORDER),
                ("c1", "c2", 5, 100 * COIN, Code.DUPLICATE_CLIENT_ID),
                ("c3", "c2", 5, 100 * COIN + 1, Code.BAD_TICK),
            ):
                refused = await change(new_id, orig, qty, price)
                assert isinstance(refused, CancelRejected) and refused.code is code
            session.send(CancelOrder(client_id="x1", orig_client_id="c2"))
            await session.receive()
            late = await change("c4", "c2", 5)
            assert isinstance(late, CancelRejected) and late.code is Code.TOO_LATE

    run(story())


# K13
def test_a_lost_connection_cancels_the_sessions_orders_but_not_gtc_ones() -> None:
    """Cancel on disconnect, and its gap: the GTC order stays, the drop copy shows it, and a cancel-all out of band ends it."""

    async def story() -> None:
        async with running() as venue:
            session, copy = venue.session(cancel_on_disconnect=True), venue.drop_copy()
            reports: list[DropReport] = []
            await session.connect()
            await copy.connect()
            reader = asyncio.create_task(follow(copy, reports))
            await place(session, order("day"), order("gtc", tif=Tif.GTC))
            await until(lambda: len(reports) == 2)
            await venue.control("POST", "/v1/disconnect", {"doors": ["orders"]})
            await until(lambda: len(reports) == 3)
            assert (reports[2].report.client_id, reports[2].report.code) == ("day", Code.DISCONNECTED)
            assert await copy.snapshot(timeout_s=2) == 1
            guard = OutOfBand(SessionConfig(venue.url("orders"), "guard", "acc-1", timeouts=QUICK), SystemClock())
            await guard.connect()
            done = await guard.cancel_all(timeout_s=2)
            assert done.cancelled == 1
            assert await copy.snapshot(timeout_s=2) == 0
            reader.cancel()
            await guard.close()

    run(story())


# K13
def test_a_silent_member_is_disconnected_and_its_orders_go() -> None:
    """No heartbeat for three intervals: the venue ends the session, and cancel on disconnect does its work."""

    async def story() -> None:
        async with running() as venue, aiohttp.ClientSession() as http:
            socket = await http.ws_connect(venue.url("orders") + "/v1/orders", autoping=True)
            await socket.send_str('[0,{"t":"logon","session":"mute","account":"acc-1","cancel_on_disconnect":true,"heartbeat_ms":20}]')
            tags = '{"strategy":"q","release":"r","host":"h","desk":"d"}'
            await socket.send_str(
                f'[1,{{"t":"new","client_id":"c1","symbol":"ABC","side":"buy","qty":{COIN},"price":{COIN},"tags":{tags}}}]'
            )
            await until(lambda: len(venue.venue.exchange.working) == 1)
            await until(lambda: not venue.venue.exchange.working)
            assert venue.venue.exchange.records[next(iter(venue.venue.exchange.records))].code is Code.DISCONNECTED

    run(story())


def test_without_the_option_orders_outlive_the_connection() -> None:
    """Cancel on disconnect is asked for at logon, never assumed."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            await place(session, order("c1"))
            await session.close()
            await until(lambda: venue.venue.floor.sessions.by_name["s1"].channel is None)
            assert len(venue.venue.exchange.working) == 1

    run(story())


# K08
def test_a_cancel_the_venue_loses_is_unknown_until_a_retry_ends_it() -> None:
    """500 orders, one cancel dropped: 499 cancelled and 1 unknown by drop copy; the retry clears it."""

    async def story() -> None:
        async with running() as venue:
            session, copy = venue.session(), venue.drop_copy()
            await session.connect()
            await copy.connect()
            reports: list[DropReport] = []
            reader = asyncio.create_task(follow(copy, reports))
            await place(session, *(order(f"c{n}", qty=1) for n in range(500)))
            await until(lambda: len(copy.working_orders() or ()) == 500)
            before = list((copy.working_orders() or {}).values())
            await venue.control("POST", "/v1/faults", {"kind": "drop_cancel", "one_of": 500, "times": 1})
            guard = OutOfBand(SessionConfig(venue.url("orders"), "guard", "acc-1", timeouts=QUICK), SystemClock())
            await guard.connect()
            done = await guard.cancel_all(timeout_s=5)
            assert (done.cancelled, done.refused) == (499, ())
            assert await copy.snapshot(timeout_s=2) == 1
            first = outcomes(before, copy.working_orders(), reports, done.refused)
            assert (len(first.cancelled), len(first.unknown)) == (499, 1)
            assert first.unknown == ("V" + str(min(int(one.venue_id[1:]) for one in before)),)
            await guard.cancel_all(timeout_s=5)
            assert await copy.snapshot(timeout_s=2) == 0
            assert outcomes(before, copy.working_orders(), reports).counts().cancelled == 500
            reader.cancel()
            await guard.close()

    run(story())


# K14
def test_orders_the_venue_will_not_cancel_now_are_listed_and_go_at_the_retry() -> None:
    """Refused until the open: named in the answer, counted as rejected, still working; afterwards they go."""

    async def story() -> None:
        async with running() as venue:
            session, copy = venue.session(), venue.drop_copy()
            await session.connect()
            await copy.connect()
            reports: list[DropReport] = []
            reader = asyncio.create_task(follow(copy, reports))
            await place(session, order("c1"), order("c2", symbol="XYZ", price="50.00"))
            await until(lambda: len(copy.working_orders() or ()) == 2)
            before = list((copy.working_orders() or {}).values())
            await venue.control("POST", "/v1/faults", {"kind": "refuse_cancel", "symbols": ["ABC"], "text": "not before the open"})
            session.send(CancelOrder(client_id="x1", orig_client_id="c1"))
            single = (await session.receive()).message
            assert isinstance(single, CancelRejected) and (single.code, single.text) == (Code.REFUSED, "not before the open")
            session.send(CancelAll(request_id="all-1"))
            answers = [(await session.receive()).message for _ in range(2)]
            done = answers[1]
            assert isinstance(done, CancelAllDone) and refused_now(done) and (done.cancelled, done.refused) == (1, ("c1",))
            assert await copy.snapshot(timeout_s=2) == 1
            sorted_out = outcomes(before, copy.working_orders(), reports, done.refused)
            assert (sorted_out.counts().cancelled, sorted_out.counts().rejected, sorted_out.counts().unknown) == (1, 1, 0)
            await venue.control("DELETE", "/v1/faults")
            session.send(CancelAll(request_id="all-2"))
            await until(lambda: not venue.venue.exchange.working)
            reader.cancel()

    run(story())


# K01
def test_a_cancel_all_touches_what_it_names_and_nothing_else() -> None:
    """By symbol, strategy and host tag; another account's orders are never in it unless overseen."""

    async def story() -> None:
        async with running(OVERSEEN) as venue:
            one, other, desk = venue.session("s1", "acc-1"), venue.session("s2", "acc-2"), venue.session("s3", "desk")
            for session in (one, other, desk):
                await session.connect()
            tags = {name: TAGS.__class__(strategy=name, release="r", host=f"host-{name}", desk="d") for name in ("a", "b")}
            await place(
                one, order("c1", tags=tags["a"]), order("c2", tags=tags["b"]), order("c3", symbol="XYZ", price="50.00", tags=tags["a"])
            )
            await place(other, order("c1", tags=tags["a"]))

            async def cancel_all(session: OrderSession, **scope: object) -> CancelAllDone:
                session.send(CancelAll(request_id="r", **scope))  # type: ignore[arg-type]  # the cases are keyword arguments
                while True:
                    message = (await session.receive()).message
                    if isinstance(message, CancelAllDone):
                        return message

            assert (await cancel_all(one, account="acc-2")).code is Code.NOT_ALLOWED
            assert (await cancel_all(one, symbols=("ABC",), strategies=("a",))).cancelled == 1
            assert (await cancel_all(one, hosts=("host-b",))).cancelled == 1
            assert {(record.account, record.client_id) for record in venue.venue.exchange.working.values()} == {
                ("acc-1", "c3"),
                ("acc-2", "c1"),
            }
            assert (await cancel_all(desk, account="acc-2")).cancelled == 1
            assert (await cancel_all(desk, account="*")).cancelled == 1

    run(story())


OVERSEEN = """
symbols: [{symbol: ABC, tick: "0.01", lot: "1", price: "100"}, {symbol: XYZ, tick: "0.01", lot: "1", price: "50"}]
feed: {kind: generated, quotes_per_s: 1, levels: 1, spread_ticks: 5000, trade_ppm: 0}
accounts: [{name: acc-1}, {name: acc-2}, {name: desk, oversees: ["*"]}]
"""


def test_a_cancel_only_session_cannot_enter_orders() -> None:
    """The guard's session: a new order gets a notice, not a place in the book."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session(role=Role.CANCEL_ONLY)
            await session.connect()
            (answer,) = await place(session, order("c1"))
            assert isinstance(answer, Notice) and (answer.code, answer.ref_seq) == (Code.NOT_ALLOWED, 1)
            assert not venue.venue.exchange.records

    run(story())


# R09
def test_a_lost_answer_is_read_back_by_query() -> None:
    """The ack never comes: the query finds the order working; an id the venue never saw is unknown."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            await venue.control("POST", "/v1/faults", {"kind": "drop_ack", "times": 1})
            OrderEntry(session).send(order("c1"))
            session.send(QueryOrder(request_id="q1", client_id="c1"))
            session.send(QueryOrder(request_id="q2", client_id="c9"))
            answers = [(await session.receive()).message for _ in range(2)]
            assert [(one.request_id, one.state) for one in answers if isinstance(one, OrderStatus)] == [
                ("q1", OrderState.WORKING),
                ("q2", OrderState.UNKNOWN),
            ]

    run(story())


def test_a_message_lost_under_way_is_asked_for_and_comes_in_order() -> None:
    """A hole in the numbers: the client asks, the venue sends again, the caller sees every message once and in order."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            await venue.control("POST", "/v1/faults", {"kind": "gap_ack", "one_of": 3})
            entry = OrderEntry(session)
            for number in range(10):
                entry.send(order(f"c{number}"))
            got = [await session.receive() for _ in range(10)]
            assert [one.seq for one in got] == list(range(1, 11))
            assert [one.message.client_id for one in got if isinstance(one.message, ExecutionReport)] == [f"c{n}" for n in range(10)]

    run(story())


def test_messages_missed_while_away_come_at_the_next_logon() -> None:
    """Filled while disconnected: the report waits under its number."""

    async def story() -> None:
        async with running() as venue:
            session, other = venue.session(), venue.session("s2", "acc-2")
            await session.connect()
            await other.connect()
            await place(session, order("c1", tif=Tif.GTC))
            await session.close()
            await until(lambda: venue.venue.floor.sessions.by_name["s1"].channel is None)
            await place(other, order("c1", Side.SELL))
            opened = await session.connect(last_seq=session.last_seq)
            assert (opened.missed, opened.forgotten, opened.logged_on.expected_seq) == (0, False, 2)
            fill = await session.receive()
            assert fill.seq == 2 and isinstance(fill.message, ExecutionReport) and fill.message.kind is ExecKind.FILL

    run(story())


def test_one_connection_per_session() -> None:
    """A second logon is refused while the first stands, and taken when it is gone (O09)."""

    async def story() -> None:
        async with running() as venue:
            first, second = venue.session(), venue.session()
            await first.connect()
            with pytest.raises(LogonRejected) as refused:
                await second.connect()
            assert refused.value.code == Code.SESSION_IN_USE
            await first.close()
            await until(lambda: venue.venue.floor.sessions.by_name["s1"].channel is None)
            await second.connect()

    run(story())


# R14
def test_a_hidden_fill_is_missing_in_the_drop_copy_and_a_phantom_is_there() -> None:
    """The lab can make drop copy lie, both ways; the next snapshot tells the truth."""

    async def story() -> None:
        async with running() as venue:
            one, other, copy = venue.session("s1", "acc-1"), venue.session("s2", "acc-2"), venue.drop_copy()
            for session in (one, other):
                await session.connect()
            await copy.connect()
            reports: list[DropReport] = []
            reader = asyncio.create_task(follow(copy, reports))
            await venue.control("POST", "/v1/faults", {"kind": "hide_fill", "accounts": ["acc-1"]})
            (ack,) = await place(one, order("c1"))
            await place(other, order("c1", Side.SELL))
            await one.receive()
            assert await copy.snapshot(timeout_s=2) == 0
            assert [one.report.kind for one in reports] == [ExecKind.NEW]
            assert isinstance(ack, ExecutionReport)
            ghost = msgspec.to_builtins(msgspec.structs.replace(ack, client_id="ghost", venue_id="V999"))
            body = {"account": "acc-1", "session": "s1", "report": ghost}
            assert await venue.control("POST", "/v1/phantom", body) == {"shown": True}
            await until(lambda: "V999" in (copy.working_orders() or {}))
            reader.cancel()

    run(story())


def test_faults_of_a_session_are_felt_by_its_client() -> None:
    """Rejected by scope, refused at logon, delayed, muted: each as the member would see it."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            fault = await venue.control("POST", "/v1/faults", {"kind": "reject_new", "hosts": ["host-1"], "text": "feature disabled"})
            (answer,) = await place(session, order("c1"))
            assert isinstance(answer, ExecutionReport) and (answer.kind, answer.text) == (ExecKind.REJECTED, "feature disabled")
            assert await venue.control("DELETE", f"/v1/faults/{fault['id']}") == {"faults": {}}
            await venue.control("POST", "/v1/faults", {"kind": "halt_symbol", "symbols": ["ABC"], "text": "halted"})
            (answer,) = await place(session, order("c2"))
            assert isinstance(answer, ExecutionReport) and answer.code is Code.HALTED
            await venue.control("DELETE", "/v1/faults")
            await venue.control("POST", "/v1/faults", {"kind": "delay", "delay_ms": 60, "times": 1})
            clock = SystemClock()
            began_ns = clock.monotonic_ns()
            await place(session, order("c3"))
            assert clock.monotonic_ns() - began_ns >= 60_000_000
            await venue.control("POST", "/v1/faults", {"kind": "refuse_logon"})
            with pytest.raises(LogonRejected):
                await venue.session("s9").connect()
            await venue.control("POST", "/v1/faults", {"kind": "mute", "accounts": ["acc-1"]})
            with pytest.raises(SessionLost, match="silent"):
                await session.receive()
            assert not session.is_open

    run(story())


def test_a_venue_that_goes_down_cuts_everyone_and_refuses_and_comes_back() -> None:
    """Down: connections break, new ones are refused; up again on the same ports, orders still there."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            await place(session, order("c1"))
            down = await venue.control("POST", "/v1/down", {})
            assert down == {"open": {"orders": False, "market_data": False, "drop_copy": False}}
            with pytest.raises(SessionLost):
                await session.receive()
            with pytest.raises(VenueUnreachable):
                await session.connect()
            await venue.control("POST", "/v1/up")
            await session.connect()
            session.send(QueryOrder(request_id="q", client_id="c1"))
            status = (await session.receive()).message
            assert isinstance(status, OrderStatus) and status.state is OrderState.WORKING

    run(story())


def test_the_control_page_tells_the_truth_and_refuses_nonsense() -> None:
    """Orders and messages as they reached the venue; a wrong fault, door or id is an error with its reason."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            await place(session, order("c1"), order("c2", symbol="XYZ", price="50.00"))
            orders = (await venue.control("GET", "/v1/orders?symbol=XYZ&state=working"))["orders"]
            assert [one["client_id"] for one in orders] == ["c2"]
            messages = (await venue.control("GET", "/v1/messages?direction=in&client_id=c1"))["messages"]
            assert [(one["seq"], one["message"]["t"]) for one in messages] == [(1, "new")]
            health = await venue.control("GET", "/v1/health")
            assert health["sessions"]["s1"] == {"account": "acc-1", "connected": True, "role": "trade"}
            assert "error" in await venue.control("POST", "/v1/faults", {"kind": "no-such"})
            assert "error" in await venue.control("POST", "/v1/faults", {"kind": "delay", "typo": 1})
            assert "error" in await venue.control("POST", "/v1/disconnect", {"doors": ["nowhere"]})
            assert "error" in await venue.control("DELETE", "/v1/faults/f99")
            assert (await venue.control("GET", "/v1/faults")) == {"faults": {}}

    run(story())


@pytest.mark.parametrize(
    "frames",
    [
        ["not json"],
        ['[0,{"t":"heartbeat"}]'],
        ['[0,{"t":"logon","session":"s s","account":"a"}]'],
        ['[0,{"t":"logon","session":"s","account":"a"}]', '[0,{"t":"logon","session":"s","account":"a"}]'],
        ['[0,{"t":"logon","session":"s","account":"a"}]', '[7,{"t":"cancel","client_id":"x","orig_client_id":"y"}]'],
        ['[0,{"t":"logon","session":"s","account":"a"}]', "[[["],
    ],
)
def test_a_member_that_breaks_the_protocol_is_told_and_put_out(frames: list[str]) -> None:
    """Malformed, out of order, twice logged on: a notice or a refusal, then the end; the venue goes on."""

    async def story() -> None:
        async with running() as venue, aiohttp.ClientSession() as http:
            socket = await http.ws_connect(venue.url("orders") + "/v1/orders")
            for one in frames:
                await socket.send_str(one)
            said = [message.data async for message in socket]
            assert '"t":"notice"' in said[-1]
            assert socket.closed
            assert (await venue.control("GET", "/v1/health"))["orders"] == 0

    run(story())


def test_a_message_that_is_not_understood_is_named_and_the_session_goes_on() -> None:
    """K09: an order without tags gets a notice with its number and never reaches the book; the next order is taken."""

    async def story() -> None:
        async with running() as venue, aiohttp.ClientSession() as http:
            socket = await http.ws_connect(venue.url("orders") + "/v1/orders")
            await socket.send_str('[0,{"t":"logon","session":"s","account":"a"}]')
            await socket.send_str(f'[1,{{"t":"new","client_id":"c1","symbol":"ABC","side":"buy","qty":{COIN},"price":{COIN}}}]')
            tags = '{"strategy":"q","release":"r","host":"h","desk":"d"}'
            good = f'{{"t":"new","client_id":"c2","symbol":"ABC","side":"buy","qty":{COIN},"price":{COIN},"tags":{tags}}}'
            await socket.send_str(f"[2,{good}]")
            await socket.send_str(f"[2,{good}]")
            said = [await socket.receive_str() for _ in range(3)]
            assert '"code":"bad_message"' in said[1] and '"ref_seq":1' in said[1] and "tags" in said[1]
            assert '"kind":"new"' in said[2] and '"client_id":"c2"' in said[2]
            assert len(venue.venue.exchange.records) == 1
            await socket.close()

    run(story())
