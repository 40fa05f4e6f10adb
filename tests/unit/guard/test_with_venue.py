"""A guard beside a real venue: what it cancels, what it confirms, what it refuses to believe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.guardroom import GuardRoom, guarding
from tests.support.venue import TAGS, VenueUnderTest, order, place, run, running, until
from tradeops.base.clock import NS_PER_S, SystemClock
from tradeops.contracts.directive import OrderOutcomes, Scope, Verb
from tradeops.contracts.status import MarkKind
from tradeops.guard import views
from tradeops.guard.exposition import exposition
from tradeops.safety.desk import START_WAIT_MS
from tradeops.wire.protocol import Side, Tags
from tradeops.wire.session import OrderSession


async def working(venue: VenueUnderTest, room: GuardRoom, count: int, **more: Any) -> OrderSession:
    """A session with so many working orders, which the guard has seen and the trader says."""
    session = venue.session(f"s-{count}-{len(more)}")
    await session.connect()
    await place(session, *(order(f"{session.config.session}-{n}", **more) for n in range(count)))
    expected = room.vitals.working + count
    room.tell(working=expected)
    await until(lambda: room.guard.working() == expected)
    return session


async def fault(venue: VenueUnderTest, **words: Any) -> None:
    """Switch one on."""
    await venue.control("POST", "/v1/faults", words)


def test_a_kill_cancels_out_of_band_and_tells_each_order(tmp_path: Path) -> None:
    """The trader does nothing but acknowledge; the guard cancels, and the drop copy confirms. Others' orders stand."""  # K01 K02 K08

    async def story() -> None:
        async with running() as venue, guarding(tmp_path, venue) as room:
            await room.permit()
            await working(venue, room, 5)
            other = venue.session("other")
            await other.connect()
            await place(other, order("other-1", tags=Tags(strategy="quoter", release="sha256:1", host="host-2", desk="d")))
            reply = await room.kill()
            assert reply.blocked and reply.accepted
            await until(lambda: room.guard.killings[reply.id].progress.clear_ms is not None)
            again = await room.kill(id=reply.id)
            assert again.already and again.clear and again.working == 0
            assert again.orders == OrderOutcomes(cancelled=5)
            assert again.clear_ms is not None and again.blocked_ms is not None and again.clear_ms >= again.blocked_ms
            assert [one["tags"]["host"] for one in (await venue.control("GET", "/v1/orders?state=working"))["orders"]] == ["host-2"]

    run(story())


def test_a_kill_of_a_symbol_touches_no_other(tmp_path: Path) -> None:
    """Matching orders are gone, the others work on, and the host may send."""  # K01

    async def story() -> None:
        async with running() as venue, guarding(tmp_path, venue) as room:
            await room.permit()
            await working(venue, room, 2)
            await working(venue, room, 3, symbol="XYZ", price="50.00")
            reply = await room.kill(scope=Scope(symbols=("XYZ",)))
            assert reply.accepted and reply.blocked and room.trading()
            await until(lambda: room.guard.working(Scope(symbols=("XYZ",))) == 0)
            assert room.guard.working() == 2
            again = await room.kill(id=reply.id, scope=Scope(symbols=("XYZ",)))
            assert again.clear and again.orders == OrderOutcomes(cancelled=3)

    run(story())


def test_a_lost_cancel_is_unknown_and_tried_again(tmp_path: Path) -> None:
    """The venue loses one of five cancels in silence: one unknown, not clear; the next try takes it."""  # K08

    async def story() -> None:
        async with running() as venue, guarding(tmp_path, venue) as room:
            await room.permit()
            await working(venue, room, 5)
            await fault(venue, kind="drop_cancel", one_of=5, times=2)
            reply = await room.kill()
            killing = room.guard.killings[reply.id]
            await until(lambda: killing.progress.orders() == OrderOutcomes(cancelled=4, unknown=1))
            assert killing.progress.clear_ms is None
            await until(lambda: killing.progress.orders() == OrderOutcomes(cancelled=5) and killing.progress.clear_ms is not None)

    run(story())


def test_what_the_venue_will_not_cancel_is_listed_and_retried(tmp_path: Path) -> None:
    """Cancels are refused until the open: blocked, never clear; then the retry goes through."""  # K14

    async def story() -> None:
        async with running() as venue, guarding(tmp_path, venue) as room:
            await room.permit()
            await working(venue, room, 3)
            await fault(venue, kind="refuse_cancel")
            reply = await room.kill()
            killing = room.guard.killings[reply.id]
            await until(lambda: killing.progress.orders() == OrderOutcomes(rejected=3))
            again = await room.kill(id=reply.id)
            assert again.blocked and again.clear is False and again.working == 3 and again.clear_ms is None
            assert any("refused" in problem for problem in views.status_of(room.guard).problems)
            await venue.control("DELETE", "/v1/faults")
            await until(lambda: killing.progress.clear_ms is not None)
            assert killing.progress.orders() == OrderOutcomes(cancelled=3)

    run(story())


def test_with_the_venue_down_the_stop_holds_and_clear_is_not_known(tmp_path: Path) -> None:
    """Incomplete is not done."""  # K02 K08

    async def story() -> None:
        async with running() as venue, guarding(tmp_path, venue) as room:
            await room.permit()
            await working(venue, room, 2)
            await venue.venue.close()
            await until(lambda: room.guard.working() is None)
            reply = await room.kill()
            assert reply.accepted and reply.blocked and reply.clear is None and reply.working is None
            assert not room.trading()
            status = views.status_of(room.guard)
            assert status.clear is None and any("sim" in problem for problem in status.problems)
            assert room.guard.facts().breaks

    run(story())


def test_many_out_for_few_in_is_killed_within_a_second(tmp_path: Path) -> None:
    """Orders leave by drop copy that no signal explains: an automatic kill names the control and both values."""  # R06 K12

    async def story() -> None:
        clock = SystemClock()
        async with running() as venue, guarding(tmp_path, venue) as room:
            await room.permit()
            room.tell(counters={"signals_total": 212})
            await until(lambda: room.guard.trader.vitals is not None and room.guard.trader.vitals.counters["signals_total"] == 212)
            session = venue.session("runaway")
            await session.connect()
            orders_out = began_ns = 0
            while not any(mark.kind is MarkKind.KILL for mark in room.marks()):
                await place(session, *(order(f"r{orders_out + n}", Side.BUY, 1) for n in range(50)))
                orders_out += 50
                if orders_out > 100 + 212 * 10 and not began_ns:
                    began_ns = clock.monotonic_ns()
                assert orders_out <= 10_000
            assert not began_ns or clock.monotonic_ns() - began_ns < NS_PER_S
            mark = next(mark for mark in room.marks() if mark.kind is MarkKind.KILL)
            assert mark.by == "out-versus-in" and "orders out" in mark.reason and "signals in" in mark.reason
            assert not room.trading()
            await until(lambda: room.guard.working() == 0, 10)

    run(story(), 40)


def test_orders_that_leave_a_halted_host_are_killed(tmp_path: Path) -> None:
    """1 August 2012, the eighth server: 27 parents in, children without end on a session that no gate knows, whatever is halted."""  # R06

    async def story() -> None:
        async with running() as venue, guarding(tmp_path, venue) as room:
            await room.permit()
            room.tell(counters={"signals_total": 27})
            assert (await room.post(room.host.people.say(Verb.HALT))).accepted
            session = venue.session("power-peg")
            await session.connect()
            sent = 0
            while not any(mark.kind is MarkKind.KILL for mark in room.marks()):
                await place(session, *(order(f"child-{sent + n}", Side.BUY, 1) for n in range(50)))
                sent += 50
                assert sent <= 5_000
            assert [mark.by for mark in room.marks() if mark.kind is MarkKind.KILL] == ["out-versus-in"]
            await until(lambda: room.guard.working() == 0, 10)

    run(story(), 40)


def test_a_hidden_fill_is_a_break_that_halts(tmp_path: Path) -> None:
    """The trader's position and the drop copy's do not meet: halted with both values, and no permit while it is open."""  # R14

    async def story() -> None:
        async with running() as venue, guarding(tmp_path, venue) as room:
            await room.permit()
            await working(venue, room, 1)
            room.tell(positions={"ABC": 7_000_000_000})
            await until(lambda: any(mark.by == "reconciliation" for mark in room.marks()), 8)
            mark = next(mark for mark in room.marks() if mark.by == "reconciliation")
            assert "position ABC: trader 7, drop copy 0" in mark.reason
            assert (await room.post(room.host.people.permit())).code == "reconciliation_break"
            assert (await room.post(room.host.people.say(Verb.RESUME, ends=(mark.id,)))).code == "reconciliation_break"
            room.tell(positions={}, working=0)
            await until(lambda: not room.guard.breaks, 8)
            assert (await room.post(room.host.people.say(Verb.RESUME, ends=(mark.id,)))).accepted

    run(story(), 40)


def test_no_permit_before_what_was_held_can_be_compared(tmp_path: Path) -> None:
    """A guard that starts beside a position knows nothing of it yet: unknown is not clean, and a permit waits for it."""  # K07, R14

    async def story() -> None:
        async with running() as venue, guarding(tmp_path, venue, held={"ABC": 7_000_000_000}) as room:
            reply = await room.post(room.host.people.permit(), wait_ms=0)
            assert reply.code == "reconciliation_break" and "position ABC: not compared yet" in reply.error
            seen = {check.name: check for check in views.health_of(room.guard).checks}["reconciliation"]
            assert (seen.verdict, seen.detail) == ("unknown", "not compared yet: ABC")
            assert (await room.post(room.host.people.permit(), wait_ms=START_WAIT_MS)).accepted
            assert not room.guard.learning and not room.guard.breaks

    run(story(), 40)


def test_no_permit_while_an_order_is_in_doubt(tmp_path: Path) -> None:
    """A venue that is slow to answer is no break, and no clean reconciliation either; who trades has orders on their way."""  # K07, R14

    async def story() -> None:
        async with running() as venue, guarding(tmp_path, venue) as room:
            room.tell(working=1, unanswered=1)
            await until(lambda: bool(room.guard.facts().breaks), 5)
            reply = await room.post(room.host.people.permit(), wait_ms=0)
            assert reply.code == "reconciliation_break" and "1 orders: the venue has not said yet" in reply.error
            room.tell(working=0, unanswered=0)
            await room.permit()
            room.tell(working=1, unanswered=1)
            await until(lambda: room.guard.trader.vitals is not None and room.guard.trader.vitals.unanswered == 1, 5)
            assert not room.guard.facts().breaks

    run(story(), 40)


def test_a_clock_that_is_off_stops_order_entry(tmp_path: Path) -> None:
    """Measured against the venue's own time."""  # O11

    async def story() -> None:
        async with running() as venue, guarding(tmp_path, venue, clock=SystemClock(10 * NS_PER_S)) as room:
            room.host.people.clock = SystemClock(10 * NS_PER_S)
            assert "+10.0" in room.guard.clock_problem()
            reply = await room.post(room.host.people.permit())
            assert reply.code == "not_proved" and "clock" in reply.error
            assert any("clock" in problem for problem in views.status_of(room.guard).problems)

    run(story())


def test_orders_that_turn_up_after_clear_are_taken_back_too(tmp_path: Path) -> None:
    """A late one, from whomever, on a host that is stopped."""  # K08

    async def story() -> None:
        async with running() as venue, guarding(tmp_path, venue) as room:
            await room.permit()
            reply = await room.kill()
            await until(lambda: room.guard.killings[reply.id].progress.clear_ms is not None)
            session = venue.session("late")
            await session.connect()
            await place(session, order("late-1", tags=TAGS))
            await until(lambda: session.sent_seq == 1 and room.guard.working() == 0 and room.guard.desks["sim"].orders_out == 1)

    run(story())


def test_health_and_metrics_beside_a_venue(tmp_path: Path) -> None:
    """All yes but the path check, which the trader has not run; counters and labels as the contract names them."""

    async def story() -> None:
        async with running() as venue, guarding(tmp_path, venue) as room:
            await room.permit()
            room.tell(counters={"signals_total": 3, "path_checks_passed_total": 1})
            await until(lambda: views.health_of(room.guard).healthy)
            text = exposition(views.status_of(room.guard))
            assert 'tradeops_trading{host="host-1",release="sha256:' in text
            assert "tradeops_signals_total{" in text and text.count("tradeops_working_orders{") == 1

    run(story())


def test_a_trader_that_halts_itself_does_not_trade(tmp_path: Path) -> None:
    """Permitted, alive, the writer, and halted in its own words: not trading, not healthy, and told with those words."""  # D05

    async def story() -> None:
        async with running() as venue, guarding(tmp_path, venue) as room:
            room.tell(state="halted")
            assert state_check(room) == "yes", "it heeds the mark"
            await room.permit()
            await until(lambda: not views.status_of(room.guard).trading)
            assert any("it does not say why" in problem for problem in views.status_of(room.guard).problems)
            room.tell(warnings=("halted: flags: flag f1 is a tombstone", "a gap"))
            await until(lambda: any("flag f1 is a tombstone" in problem for problem in views.status_of(room.guard).problems))
            assert room.trading() and state_check(room) == "no" and not views.health_of(room.guard).healthy
            room.tell(state="ready", warnings=())
            await until(lambda: views.status_of(room.guard).trading)
            assert views.status_of(room.guard).problems == () and state_check(room) == "yes"
            halt = await room.post(room.host.people.say(Verb.HALT))
            room.tell(state="halted")
            room.acks = False
            assert (await room.post(room.host.people.say(Verb.RESUME, ends=(halt.id,)))).accepted
            assert views.status_of(room.guard).trading, "it has not seen the resume yet"
            room.acks = True
            await until(lambda: not views.status_of(room.guard).trading)

    run(story())


def state_check(room: GuardRoom) -> str:
    """What health says of the trader's state."""
    return next(check.verdict for check in views.health_of(room.guard).checks if check.name == "state")
