"""Stopping, and what the lab can break: cancel on disconnect, lost and refused cancels, faults, doors, the control page."""

from __future__ import annotations

import asyncio

import aiohttp
import msgspec
import pytest

from tests.support.venue import COIN, QUICK, QUIET, VenueUnderTest, order, place, run, running, until
from tradeops.base.clock import SystemClock
from tradeops.wire.cancel import OutOfBand, outcomes
from tradeops.wire.dropcopy import DropCopyClient
from tradeops.wire.errors import LogonRejected, SessionLost, VenueUnreachable
from tradeops.wire.protocol import (
    CancelAll,
    CancelAllDone,
    CancelOrder,
    CancelRejected,
    Code,
    DropReport,
    ExecKind,
    ExecutionReport,
    OrderState,
    OrderStatus,
    QueryOrder,
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


async def _working(venue: VenueUnderTest, *, keep: bool) -> OrderSession:
    """A session with two orders at work, one of them partly filled, logged on again."""
    session, other = venue.session(cancel_on_disconnect=True, keep_on_logout=keep), venue.session("s2", "acc-2")
    await session.connect()
    await other.connect()
    await place(session, order("c1"), order("c2", price="99.00"))
    await place(other, order("c3", Side.SELL, 4))
    return session


def test_an_orderly_logout_keeps_what_works_and_a_lost_connection_does_not() -> None:
    """Armed for both: kept with its place and its fills over the logout, found again by the next connection, gone when that is lost."""

    async def story() -> None:
        async with running() as venue:
            session = await _working(venue, keep=True)
            working = venue.venue.exchange.working
            before = dict(working)
            assert await session.logout() == 2 and not session.is_open
            await until(lambda: venue.venue.floor.sessions.by_name["s1"].channel is None)
            assert working == before
            assert [(one.client_id, one.leaves_qty) for one in working.values()] == [("c1", 6 * COIN), ("c2", 10 * COIN)]
            opened = await session.connect(last_seq=2)
            report = (await session.receive()).message
            assert isinstance(report, ExecutionReport) and (report.client_id, report.kind) == ("c1", ExecKind.PARTIAL)
            assert (opened.missed, opened.forgotten) == (0, False)
            session.send(QueryOrder(request_id="q", client_id="c1"))
            status = (await session.receive()).message
            assert isinstance(status, OrderStatus) and (status.state, status.leaves_qty) == (OrderState.WORKING, 6 * COIN)
            await session.close()
            await until(lambda: not working)

    run(story())


def test_a_logout_that_is_not_to_keep_orders_cancels_them() -> None:
    """What is kept is asked for at logon, never assumed."""

    async def story() -> None:
        async with running() as venue:
            session = await _working(venue, keep=False)
            assert await session.logout() == 0
            await until(lambda: not venue.venue.exchange.working)
            plain = venue.session("s3")
            await plain.connect()
            await place(plain, order("c4"))
            assert await plain.logout() == 1, "nothing was armed: nothing goes"

    run(story())


def test_a_venue_that_keeps_no_orders_says_so_at_logon() -> None:
    """Before anything works, not when it is lost."""

    async def story() -> None:
        async with running(QUIET + "keep_on_logout: false\n") as venue:
            with pytest.raises(LogonRejected, match="no order is kept over a logout"):
                await venue.session(keep_on_logout=True).connect()
            await venue.session().connect()

    run(story())


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
            assert isinstance(done, CancelAllDone) and (done.cancelled, done.refused) == (1, ("c1",))
            assert await copy.snapshot(timeout_s=2) == 1
            sorted_out = outcomes(before, copy.working_orders(), reports, done.refused)
            assert (sorted_out.counts().cancelled, sorted_out.counts().rejected, sorted_out.counts().unknown) == (1, 1, 0)
            await venue.control("DELETE", "/v1/faults")
            session.send(CancelAll(request_id="all-2"))
            await until(lambda: not venue.venue.exchange.working)
            reader.cancel()

    run(story())


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
