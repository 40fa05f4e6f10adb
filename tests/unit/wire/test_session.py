"""The order session against a real venue and against peers that refuse, hang, lie and break off."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from tests.support.venue import QUICK, order, place, run, running, until
from tradeops.base.clock import SystemClock
from tradeops.wire.cancel import OutOfBand
from tradeops.wire.entry import OrderEntry
from tradeops.wire.errors import BadMessage, LogonRejected, SendQueueFull, SessionLost, VenueUnreachable
from tradeops.wire.link import Timeouts
from tradeops.wire.protocol import CancelOrder, ExecutionReport, OrderState, OrderStatus, QueryOrder, Tif
from tradeops.wire.session import OrderSession, SessionConfig

Script = Callable[[web.WebSocketResponse], Awaitable[None]]
HELLO = '[0,{"t":"logged_on","session":"s1","venue":"liar","expected_seq":%d,"last_seq":%d,"first_seq":%d,"venue_ns":1}]'
STATUS = '[%d,{"t":"status","request_id":"q%d","client_id":"c","state":"unknown"}]'


@asynccontextmanager
async def peer(script: Script) -> AsyncIterator[str]:
    """A server that does to every WebSocket what `script` says."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        peer_end = web.WebSocketResponse(timeout=0.1)
        await peer_end.prepare(request)
        await script(peer_end)
        return peer_end

    app = web.Application()
    app.router.add_get("/{anything:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def session_to(url: str, timeouts: Timeouts = QUICK) -> OrderSession:
    return OrderSession(SessionConfig(url, "s1", "acc-1", timeouts=timeouts), SystemClock())


def says(*texts: str) -> Script:
    """A peer that reads the logon, says these frames, and falls silent."""

    async def script(peer_end: web.WebSocketResponse) -> None:
        await peer_end.receive_str()
        for text in texts:
            await peer_end.send_str(text)
        async for _ in peer_end:
            pass

    return script


def story_with(script: Script, story: Callable[[OrderSession], Awaitable[None]], timeouts: Timeouts = QUICK) -> None:
    """Run `story` with a session to a scripted peer."""

    async def both() -> None:
        async with peer(script) as url:
            session = session_to(url, timeouts)
            try:
                await story(session)
            finally:
                await session.close()

    run(both())


def test_nobody_there() -> None:
    """Refused: unreachable, and nothing was sent."""

    async def story() -> None:
        with pytest.raises(VenueUnreachable, match=r"127\.0\.0\.1"):
            await session_to("ws://127.0.0.1:9").connect()

    run(story())


def test_a_server_that_accepts_and_hangs_is_unreachable_within_its_deadline() -> None:
    """TCP answers, HTTP never does."""

    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            session = session_to(f"ws://127.0.0.1:{listening.getsockname()[1]}", replace(QUICK, connect_s=0.2))
            with pytest.raises(VenueUnreachable):
                await session.connect()

    run(story())


def test_no_answer_to_the_logon() -> None:
    """Connected and silent: lost after logon_s, and the session is not open."""

    async def story(session: OrderSession) -> None:
        with pytest.raises(SessionLost, match="silent"):
            await session.connect()
        assert not session.is_open

    story_with(says(), story, replace(QUICK, logon_s=0.2))


def test_no_answer_to_the_logout() -> None:
    """What the venue kept is not known: said so, and the session is closed."""

    async def story(session: OrderSession) -> None:
        await session.connect()
        with pytest.raises(SessionLost, match=r"no answer to the logout within 0\.2 s") as lost:
            await session.logout()
        assert "is not known" in (lost.value.holds or "") and not session.is_open
        with pytest.raises(SessionLost, match="not connected"):
            await session.logout()

    story_with(says(HELLO % (1, 0, 1)), story, replace(QUICK, logon_s=0.2, silence_s=5))


@pytest.mark.parametrize("text", ["hello", "[0,{}]", '[0,{"t":"heartbeat"}]', '[-1,{"t":"heartbeat"}]', '{"t":"logged_on"}'])
def test_nonsense_for_an_answer(text: str) -> None:
    """What is not the protocol is not trusted."""

    async def story(session: OrderSession) -> None:
        with pytest.raises(BadMessage):
            await session.connect()

    story_with(says(text), story)


def test_a_refused_logon_gives_its_code() -> None:
    """The venue's own word."""

    async def story(session: OrderSession) -> None:
        with pytest.raises(LogonRejected) as refused:
            await session.connect()
        assert refused.value.code == "bad_proof"

    story_with(says('[0,{"t":"logon_refused","code":"bad_proof","text":"no"}]'), story)


def test_silence_in_mid_session_is_loss_and_closes_it() -> None:
    """Nothing may be sent into a session that is dead."""

    async def story(session: OrderSession) -> None:
        await session.connect()
        with pytest.raises(SessionLost, match="silent") as lost:
            await session.receive()
        assert "query" in (lost.value.next or "")
        with pytest.raises(SessionLost):
            session.send(CancelOrder(client_id="x", orig_client_id="c"))

    story_with(says(HELLO % (1, 0, 1)), story)


@pytest.mark.parametrize("text", ["[1,2]", HELLO % (1, 0, 1), '[1,{"t":"report"}]'])
def test_nonsense_in_mid_session_ends_it(text: str) -> None:
    """A venue that sends what it should not is not believed any further."""

    async def story(session: OrderSession) -> None:
        await session.connect()
        with pytest.raises(BadMessage):
            await session.receive()
        assert not session.is_open

    story_with(says(HELLO % (1, 0, 1), text), story)


def test_a_gap_that_is_never_filled_is_loss() -> None:
    """Heartbeats go on, the missing message does not come: the session is given up after the silence limit."""

    async def script(peer_end: web.WebSocketResponse) -> None:
        await peer_end.receive_str()
        await peer_end.send_str(HELLO % (1, 0, 1))
        while not peer_end.closed:
            await peer_end.send_str('[0,{"t":"heartbeat","last_seq":1}]')
            with suppress(TimeoutError):
                await peer_end.receive(timeout=0.02)

    async def story(session: OrderSession) -> None:
        await session.connect()
        with pytest.raises(SessionLost, match="from 1 on are missing"):
            await session.receive()

    story_with(script, story)


def test_what_the_venue_no_longer_keeps_is_said() -> None:
    """Asked from 3, kept from 6: three messages are missed; the venue's number goes on."""

    async def story(session: OrderSession) -> None:
        opened = await session.connect(last_seq=2)
        assert (opened.missed, opened.forgotten) == (3, False)
        assert (await session.receive()).seq == 6
        assert session.last_seq == 6

    story_with(says(HELLO % (9, 6, 6), STATUS % (6, 6)), story)


def test_a_venue_that_lost_its_memory_is_noticed() -> None:
    """We have seen 50 messages, it says it sent none."""

    async def story(session: OrderSession) -> None:
        opened = await session.connect(last_seq=50)
        assert opened.forgotten and session.last_seq == 0

    story_with(says(HELLO % (1, 0, 1)), story)


def test_what_was_not_handed_out_before_the_loss_comes_again() -> None:
    """last_seq counts what the caller has had, not what the socket has had."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            await venue.control("POST", "/v1/faults", {"kind": "gap_ack", "times": 1})
            for number in range(3):
                OrderEntry(session).send(order(f"c{number}"))
            assert (await session.receive()).seq == 1
            assert session.last_seq == 1
            await session.close()
            await until(lambda: venue.venue.floor.sessions.by_name["s1"].channel is None)
            await session.connect(last_seq=session.last_seq)
            assert [(await session.receive()).seq for _ in range(2)] == [2, 3]

    run(story())


# R17
def test_a_session_itself_sends_nothing_that_adds_risk() -> None:
    """New and changed orders pass through wire/entry alone."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            with pytest.raises(TypeError, match="only the gate"):
                session.send(order("c1"))  # type: ignore[arg-type]  # the mistake under test

    run(story())


# K09
def test_an_order_without_a_tag_does_not_leave() -> None:
    """Checked by the protocol's own rules before it is queued."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            entry = OrderEntry(session)
            good = order("c1")
            for bad in (
                msgspec.structs.replace(good, tags=msgspec.structs.replace(good.tags, desk="")),
                msgspec.structs.replace(good, qty=0),
                msgspec.structs.replace(good, price=-1),
                msgspec.structs.replace(good, client_id="a b"),
                msgspec.structs.replace(good, qty=1.5),
                CancelOrder(client_id="x", orig_client_id="c1"),
            ):
                with pytest.raises(BadMessage):
                    entry.send(bad)  # type: ignore[arg-type]  # the mistake under test
            assert session.send_queue == 0
            assert (await venue.control("GET", "/v1/messages"))["messages"] == []

    run(story())


def test_a_queued_order_is_withheld_when_it_is_no_longer_allowed() -> None:
    """The last look comes right before the bytes are written; the withheld order leaves no hole in the numbers."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            entry, withheld, allowed = OrderEntry(session), [], True
            entry.send(order("c1"), still_allowed=lambda: allowed)
            entry.send(order("c2"), still_allowed=lambda: False, withheld=lambda: withheld.append("c2"))
            entry.send(order("c3"), still_allowed=lambda: allowed)
            assert session.send_queue > 0
            got = [(await session.receive()).message for _ in range(2)]
            assert [one.client_id for one in got if isinstance(one, ExecutionReport)] == ["c1", "c3"]
            assert withheld == ["c2"] and session.send_queue == 0 and session.sent_seq == 2
            entry.send(order("c4"), withheld=lambda: withheld.append("c4"))
            await session.close()
            assert withheld == ["c2", "c4"]
            assert len((await venue.control("GET", "/v1/orders"))["orders"]) == 2

    run(story())


def test_a_venue_that_does_not_read_fills_the_queue_visibly_and_cancels_still_go_in() -> None:
    """Orders are refused past the bound; the bytes are counted wherever they wait; a cancel is never refused."""

    released = asyncio.Event()

    async def deaf(peer_end: web.WebSocketResponse) -> None:
        await peer_end.receive_str()
        await peer_end.send_str(HELLO % (1, 0, 1))
        transport = peer_end._req.transport if peer_end._req is not None else None  # the server side's own read switch
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        await released.wait()
        transport.abort()

    async def story(session: OrderSession) -> None:
        await session.connect()
        entry, sent = OrderEntry(session), 0
        with pytest.raises(SendQueueFull):
            while True:
                entry.send(order(f"c{sent}-" + "x" * 80))
                sent += 1
                if sent % 100 == 0:
                    await asyncio.sleep(0)
        assert session.send_queue > 200_000
        before = session.send_queue
        session.send(CancelOrder(client_id="x", orig_client_id="c0"))
        assert session.send_queue > before
        released.set()

    story_with(deaf, story)


def test_secrets_are_proved_and_never_shown(tmp_path: Path) -> None:
    """Right secret: in. Wrong: refused. The configuration's text does not hold it."""

    async def story(secret_file: str) -> None:
        async with running(f'symbols: [{{symbol: ABC}}]\naccounts: [{{name: acc-1, secret_file: "{secret_file}"}}]\n') as venue:
            good, bad = venue.session(secret=b"sesame"), venue.session("s2", secret=b"wrong")
            assert "sesame" not in repr(good.config)
            await good.connect()
            with pytest.raises(LogonRejected):
                await bad.connect()
            copy = venue.drop_copy(secret=b"sesame")
            await copy.connect()
            with pytest.raises(LogonRejected):
                await venue.drop_copy("d2").connect()

    secret_file = tmp_path / "secret"
    secret_file.write_text("sesame\n")
    run(story(str(secret_file)))


def test_out_of_band_cancels_and_asks() -> None:
    """A session of its own beside the trader's: query, cancel all, and an error rather than a guess when nothing answers."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            await place(session, order("c1", tif=Tif.GTC))
            guard = OutOfBand(SessionConfig(venue.url("orders"), "guard", "acc-1", timeouts=QUICK), SystemClock())
            with pytest.raises(SessionLost, match="not connected"):
                await guard.cancel_all(timeout_s=1)
            await guard.connect()
            assert (await guard.query("c1", timeout_s=2)).state is OrderState.WORKING
            await venue.control("POST", "/v1/faults", {"kind": "delay", "delay_ms": 400})
            with pytest.raises(SessionLost, match="no answer"):
                await guard.query("c1", timeout_s=0.05)
            await venue.control("DELETE", "/v1/faults")
            assert (await guard.cancel_all(symbols=("ABC",), timeout_s=2)).cancelled == 1
            await venue.control("POST", "/v1/disconnect", {"doors": ["orders"]})
            await until(lambda: not guard.is_open)
            with pytest.raises(SessionLost):
                await guard.cancel_all(timeout_s=1)
            await guard.connect()
            assert (await guard.query("never", timeout_s=2)).state is OrderState.UNKNOWN
            await guard.close()

    run(story())


def test_a_query_over_the_traders_own_session() -> None:
    """The answer comes among the other messages."""

    async def story() -> None:
        async with running() as venue:
            session = venue.session()
            await session.connect()
            session.send(QueryOrder(request_id="q1", client_id="c1"))
            answer = (await session.receive()).message
            assert isinstance(answer, OrderStatus) and (answer.request_id, answer.state) == ("q1", OrderState.UNKNOWN)

    run(story())
