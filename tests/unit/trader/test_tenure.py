"""Two slots of one host: one writes, the other follows and decides beside it; the stop page alone says which (O09)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.trader import PRICE, SLOT, SYMBOL, TICK, Desk, HostRoot
from tradeops.base.clock import VirtualClock
from tradeops.contracts.pages import StopPage, Token, read_vitals
from tradeops.contracts.units import UNIT
from tradeops.trader.follower import READ_MOST, Follower
from tradeops.trader.journal import Journal, JournalError
from tradeops.trader.messages import Fill, Filled, OrderEvent
from tradeops.trader.tenure import REASON, held
from tradeops.trader.vigil import OUTLIVES_NS, Vigil
from tradeops.wire.protocol import Code, ExecKind, NewOrder, Side

Start = Callable[..., Desk]
BLUE, GREEN = "blue", "green"


@pytest.fixture
def pair(host: HostRoot, start: Start, clock: VirtualClock) -> Iterator[tuple[Desk, Desk]]:
    """Blue writes, green stands by: the same release, for what differs is who may."""
    host.fill_slot(GREEN)
    blue = start()
    green = Desk(host, clock, slot=GREEN, beside=blue)
    yield blue, green
    green.close()


def _both(pair: tuple[Desk, Desk], advance_ms: float = 10) -> None:
    pair[0].look(advance_ms)
    pair[1].stare()


def _hand_over(pair: tuple[Desk, Desk], slot: str, number: int) -> None:
    """As the guard does: nobody, then the other one; the links of a desk leave by themselves."""
    guard = pair[0].guard
    guard.token = Token(guard.token.number, "")
    guard.say(False)
    for _ in range(3):
        _both(pair)
        for desk in pair:
            if desk.rooms.tenure.leaving:
                desk.rooms.tenure.left()
    guard.token = Token(number, slot)
    guard.say(True)
    _both(pair, 200)


def _cancelled(desk: Desk, orders: list[NewOrder]) -> None:
    for order in orders:
        desk.report(order, ExecKind.CANCELLED, code=Code.MASS_CANCEL)


def _writes(desk: Desk) -> bool:
    return desk.rooms.tenure.writes


def _writers(pair: tuple[Desk, Desk]) -> list[bool]:
    return [_writes(desk) for desk in pair]


def test_a_standby_follows_and_decides_beside_the_writer(pair: tuple[Desk, Desk]) -> None:
    """Market data and signals flow, every order is withheld at the gate and counted, nothing is journalled or sent."""
    blue, green = pair
    green.subscribe()
    green.quotes()
    blue.trade()
    blue.rooms.ledger.commit()
    entries = blue.journal.last
    _both(pair)
    assert green.rooms.ledger.orders.open_count == 2
    assert green.rooms.standing.state(green.rooms.engine.verdict) == "standby"
    green.quote()
    _both(pair, 300)
    counters = green.rooms.telemetry.counters
    assert counters["decisions_compared_total"] == counters["decisions_total"] >= 2
    assert blue.rooms.telemetry.counters["decisions_total"] >= 2
    assert counters["decisions_different_total"] == 0
    assert green.session.sent == [] and blue.journal.last == entries and _writers(pair) == [True, False]
    green.rooms.write_vitals(green.rooms.engine.verdict)
    vitals = read_vitals(green.layout.vitals_page(GREEN))
    assert vitals is not None
    assert (vitals.state, vitals.writes, vitals.identity.slot, vitals.gauges["trading"]) == ("standby", False, GREEN, 0)


def test_what_a_standby_would_do_otherwise_is_withheld_and_counted(pair: tuple[Desk, Desk]) -> None:
    """The slot that trades has no bid: the standby's is kept by the gate; apart for longer than a second it counts, once a second."""
    blue, green = pair
    for desk in pair:
        desk.subscribe()
        desk.quotes()
    blue.log_on()
    blue.permit()  # it trades by the page, and its venue answers nothing: no order of it works
    for _ in range(6):
        green.quote()
        _both(pair, 300)
    counters = green.rooms.telemetry.counters
    assert counters["orders_withheld_total"] >= 6 and counters["orders_sent_total"] == 0
    assert counters["decisions_different_total"] in (1, 2)
    assert green.session.sent == []


def test_a_standby_decides_nothing_while_nobody_trades(pair: tuple[Desk, Desk]) -> None:
    """A host that is halted has nothing to be compared with."""
    _, green = pair
    green.subscribe()
    green.quotes()
    _both(pair, 300)
    assert green.rooms.telemetry.counters["signals_total"] == 0


def test_the_token_moves_journal_and_sessions(pair: tuple[Desk, Desk]) -> None:
    """O09: blue stands down when nothing of it works, green goes on with its positions and numbers, and back."""
    blue, green = pair
    for desk in pair:
        desk.subscribe()
        desk.quotes()
    orders = blue.trade()
    blue.report(orders[0], ExecKind.FILL, cumulative=orders[0].qty, last=orders[0].qty)
    blue.look()
    held_by_blue = blue.rooms.ledger.positions.quantity(SYMBOL)
    guard = blue.guard
    guard.token = Token(0, "")
    guard.say(False)
    _both(pair)
    assert not blue.rooms.tenure.leaving, "an order works: it stays until the venue has said what became of it"
    _cancelled(blue, orders[1:])
    _hand_over(pair, GREEN, 1)
    assert _writers(pair) == [False, True] and green.rooms.tenure.token == 1
    assert green.rooms.ledger.positions.quantity(SYMBOL) == held_by_blue != 0
    assert green.rooms.standing.state(green.rooms.engine.verdict) == "starting"
    green.log_on()
    green.quote()
    green.look(300)
    (check,) = green.session.orders()
    assert int(check.client_id.rpartition("-")[2]) > int(orders[1].client_id.rpartition("-")[2])
    green.report(check, ExecKind.CANCELLED, code=Code.IOC_REST)
    green.look()
    _cancelled(green, green.session.orders()[1:])
    _hand_over(pair, BLUE, 2)
    assert _writers(pair) == [True, False] and blue.rooms.tenure.token == 2
    assert blue.rooms.ledger.positions.quantity(SYMBOL) == held_by_blue


def test_a_writer_that_lost_the_token_sends_nothing_and_keeps_its_lock_until_it_has_left(pair: tuple[Desk, Desk]) -> None:
    """O09: the page names green while blue still writes, as no guard does: green waits, and never are there two."""
    blue, green = pair
    blue.trade()
    blue.session.sent.clear()
    blue.guard.token = Token(1, GREEN)
    blue.guard.say(True)
    for _ in range(20):
        blue.quote(bid=PRICE, ask=PRICE + 2 * TICK)
        _both(pair, 100)
    assert blue.session.orders() == [] and _writers(pair) == [True, False]
    assert "held by another trader" in green.rooms.standing.reasons[REASON]
    blue.close()
    blue.clock.advance_ns(200_000_000)
    green.stare()
    assert _writers(pair) == [False, True] and REASON not in green.rooms.standing.reasons
    assert green.rooms.ledger.orders.open_count == 2, "what blue left is asked about"


def test_an_older_activation_does_not_write(host: HostRoot, start: Start, clock: VirtualClock) -> None:
    """O09: the journal remembers under which number it was written: a page from before does not bring its slot back."""
    host.fill_slot(GREEN)
    blue = start()
    blue.guard.token = Token(5, BLUE)
    blue.guard.say(True)
    blue.look()
    assert blue.rooms.tenure.token == 5
    blue.guard.token = Token(4, BLUE)
    blue.guard.say(True)
    blue.look()
    assert "names activation 4" in blue.rooms.standing.reasons[REASON]
    blue.close()
    green = Desk(host, clock, slot=GREEN, beside=blue)
    blue.guard.token = Token(4, GREEN)
    blue.guard.say(True)
    green.stare()
    assert not _writes(green) and "written under 5" in green.rooms.standing.reasons[REASON]
    blue.guard.token = Token(6, GREEN)
    blue.guard.say(True)
    clock.advance_ns(200_000_000)
    blue.guard.beat()
    green.stare()
    assert _writes(green) and green.rooms.standing.reasons == {}
    green.close()


def test_a_page_that_cannot_be_read_moves_nobody(pair: tuple[Desk, Desk]) -> None:
    """K06: the writer goes on holding what it holds, halted; the standby stays one."""
    blue, green = pair
    blue.trade()
    with blue.layout.stop_page.open("r+b") as page:
        page.write(os.urandom(4096))
    for _ in range(20):
        blue.clock.advance_ns(100_000_000)
        blue.stare()
        green.stare()
    assert _writers(pair) == [True, False] and not blue.rooms.tenure.leaving


def test_a_journal_that_cannot_be_written_is_not_given_away(pair: tuple[Desk, Desk]) -> None:
    """What waits would be lost with it: it is kept, said, and given when the disk takes it."""
    blue, _ = pair
    orders = blue.trade()
    blue.journal._db.execute("ALTER TABLE entries RENAME TO gone")
    blue.guard.token = Token(0, "")
    blue.guard.say(False)
    for _ in orders:
        blue.rooms.ledger.happen(blue.rooms.ledger.orders.open()[0], OrderEvent.CANCELLED)
    blue.rooms.tenure.left()
    assert _writes(blue) and "cannot stand by" in blue.rooms.standing.reasons[REASON]
    blue.journal._db.execute("ALTER TABLE gone RENAME TO entries")
    blue.look()
    blue.look()
    assert blue.rooms.tenure.leaving
    blue.rooms.tenure.left()
    assert not _writes(blue) and REASON not in blue.rooms.standing.reasons


def test_a_journal_of_another_format_is_neither_followed_nor_taken(pair: tuple[Desk, Desk]) -> None:
    """A standby says so while it stands by; with the token it stays halted and says so."""
    blue, green = pair
    blue.journal._db.execute("REPLACE INTO facts VALUES ('version', 99)")
    _both(pair)
    assert "format 99" in green.rooms.standing.reasons["follow"]
    _hand_over(pair, GREEN, 1)
    assert _writers(pair) == [False, False] and "format 99" in green.rooms.standing.reasons[REASON]


def test_the_token_is_read_before_anything_is_opened(host: HostRoot, clock: VirtualClock) -> None:
    """By its slot: its number; anything else, and a page that is not there: not held."""
    page = host.layout.stop_page
    assert held(page, SLOT) is None
    writer = StopPage(page, writable=True)
    desk = Desk(host, clock)
    desk.guard.token = Token(7, BLUE)
    desk.guard.say(True)
    assert (held(page, BLUE), held(page, GREEN)) == (7, None)
    page.write_bytes(b"x" * 4096)
    assert held(page, BLUE) is None
    page.unlink()
    assert held(page, BLUE) is None
    desk.close()
    writer.close()


def test_a_follower_reads_in_bounded_parts_and_survives_what_is_not_there_yet(tmp_path: Path) -> None:
    """No file, a long journal, an entry that cannot be read."""
    follower = Follower(tmp_path)
    assert list(follower.new()) == []
    journal = Journal(tmp_path)
    for number in range(READ_MOST + 5):
        journal.append(Filled(number, Fill(f"t{number}", "h-1", "sim", SYMBOL, Side.BUY, PRICE, UNIT)))
    journal.commit()
    assert (len(list(follower.new())), len(list(follower.new())), len(list(follower.new()))) == (READ_MOST, 5, 0)
    journal._db.execute("INSERT INTO entries (body) VALUES ('{}')")
    with pytest.raises(JournalError, match="not readable"):
        list(follower.new())
    journal._db.execute("DROP TABLE entries")
    with pytest.raises(JournalError, match="cannot be followed"):
        list(follower.new())
    follower.close()
    journal.close()


def test_a_standby_that_no_run_holds_any_more_ends_itself(pair: tuple[Desk, Desk], clock: VirtualClock) -> None:
    """O09: half an hour after the run's lease, and never before it has stood by for so long itself; who writes never does."""
    green = pair[1]
    _both(pair)
    held_file = green.layout.held_file
    vigils = [Vigil(held_file, desk.rooms.mandate.slot, desk.rooms.tenure, clock) for desk in pair]

    def over() -> list[bool]:
        return [vigil.over(desk.rooms.engine.verdict.words) for vigil, desk in zip(vigils, pair, strict=True)]

    def later(ns: int) -> list[bool]:
        clock.advance_ns(ns)
        return over()

    assert over() == later(2 * OUTLIVES_NS) == [False, False], "nobody knows who holds the host"
    held_file.write_text(str(clock.monotonic_ns() + OUTLIVES_NS))
    assert later(2 * OUTLIVES_NS - 1) == [False, False]
    assert later(2) == [False, True]
    held_file.write_text(str(clock.monotonic_ns()))
    assert over() == [False, False], "a run has taken it up"
    held_file.write_text("soon")
    assert later(2 * OUTLIVES_NS) == [False, False]


def test_nobody_ends_itself_on_a_host_where_no_slot_has_the_token(pair: tuple[Desk, Desk], clock: VirtualClock) -> None:
    """O09: it was stood down, and one of the two is to take over; a page that cannot be read says nothing either."""
    blue, green = pair
    green.layout.held_file.write_text("0")
    vigil = Vigil(green.layout.held_file, GREEN, green.rooms.tenure, clock)
    blue.guard.token = Token(blue.guard.token.number, "")
    blue.guard.say(False)
    _both(pair)
    words = green.rooms.engine.verdict.words
    assert words is not None and not words.token.slot
    for seen in (words, None):
        assert not vigil.over(seen)
        clock.advance_ns(2 * OUTLIVES_NS)
        assert not vigil.over(seen)
    _hand_over(pair, GREEN, 2)
    assert not vigil.over(green.rooms.engine.verdict.words), "it writes"
    clock.advance_ns(2 * OUTLIVES_NS)
    assert not vigil.over(green.rooms.engine.verdict.words)
