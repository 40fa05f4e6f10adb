"""The whole venue through real clients: orders, client ids, cancel-all, sessions, and members that break the protocol."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp
import msgspec
import pytest

from tests.support.venue import COIN, TAGS, order, place, run, running, until
from tradeops.wire.entry import OrderEntry
from tradeops.wire.errors import LogonRejected
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
from tradeops.wire.session import OrderSession


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
# K13
# K08
# K14
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
