"""Members, sessions, faults, journal, drop copy and publisher of the venue, each by itself."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.venue import COIN, order
from tradeops.base.clock import NS_PER_S, VirtualClock
from tradeops.venue.dropcopy import DropCopy
from tradeops.venue.engine import Exchange, Print, Symbol
from tradeops.venue.faults import Fault, FaultKind, Faults
from tradeops.venue.feed import Top
from tradeops.venue.journal import Entry, Journal
from tradeops.venue.members import Account, Members
from tradeops.venue.publisher import BACKLOG_BYTES_MAX, Publisher, Subscriber
from tradeops.venue.sessions import Session, Sessions
from tradeops.wire.auth import proof
from tradeops.wire.marketdata import FeedDown, QuoteBatch, Source, Subscribe, SymbolStates, TradeBatch, decode_frame
from tradeops.wire.protocol import Code, DropLogon, Logon, LogonRefused, Notice, Resend, Side


class Paper:
    """A channel that keeps what was put."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.waiting_bytes = 0

    def put(self, frame: bytes, *, delay_ms: int = 0) -> None:
        self.frames.append(frame)

    def cut(self) -> None:
        self.frames.append(b"cut")

    def kinds(self) -> list[tuple[int, str]]:
        """(seq, t) of every frame."""
        return [(seq, message["t"]) for seq, message in map(msgspec.json.decode, self.frames)]


def test_an_open_venue_takes_anyone() -> None:
    """No accounts configured: no proof asked, nobody overseen."""
    members = Members([], Faults())
    assert members.refusal(session="s", account="whoever", time_ns=0, proof="") is None
    assert members.oversees("whoever") == ()
    assert members.visible("whoever", ()) == frozenset({"whoever"})
    assert members.visible("whoever", ("other",)) is None


def test_a_proof_is_good_once_and_for_its_session_alone() -> None:
    """Unknown account, wrong secret, other session, replay: each refused with its code."""
    members = Members([Account("a", b"sesame"), Account("free")], Faults())

    def ask(session: str, time_ns: int, claimed: str, account: str = "a") -> Code | None:
        refusal = members.refusal(session=session, account=account, time_ns=time_ns, proof=claimed)
        return refusal[0] if refusal else None

    good = proof(b"sesame", session="s", account="a", time_ns=5)
    assert ask("s", 5, good, "b") is Code.NOT_ALLOWED
    assert ask("s", 5, proof(b"other", session="s", account="a", time_ns=5)) is Code.BAD_PROOF
    assert ask("t", 5, good) is Code.BAD_PROOF
    assert ask("s", 5, good) is None
    assert ask("s", 5, good) is Code.BAD_PROOF
    assert ask("s", 6, proof(b"sesame", session="s", account="a", time_ns=6)) is None
    assert ask("s", 0, "", "free") is None


def test_what_an_account_oversees_it_may_see() -> None:
    """Named accounts, or all with a star."""
    members = Members([Account("a", oversees=("b",)), Account("desk", oversees=("*",))], Faults())
    assert members.visible("a", ("a", "b")) == frozenset({"a", "b"})
    assert members.visible("a", ("c",)) is None
    assert members.visible("desk", ("x", "y")) == frozenset({"x", "y"})


def test_faults_hit_the_first_of_n_and_so_many_times() -> None:
    """Deterministic, counted, scoped."""
    faults = Faults()
    name = faults.add(Fault(FaultKind.DROP_CANCEL, one_of=3, times=2, accounts=("a",)))
    hits = [bool(faults.strike(FaultKind.DROP_CANCEL, account="a")) for _ in range(9)]
    assert hits == [True, False, False, True, False, False, False, False, False]
    assert faults.strike(FaultKind.DROP_CANCEL, account="b") is None
    assert (faults.listing()[name]["seen"], faults.listing()[name]["hits"]) == (9, 2)
    assert faults.remove(name) and not faults.remove(name)
    faults.add(Fault(FaultKind.FREEZE_FEED, symbols=("ABC",)))
    assert faults.symbols_under(FaultKind.FREEZE_FEED, ("ABC", "XYZ")) == {"ABC"}
    faults.clear()
    assert faults.listing() == {} and not faults.standing(FaultKind.FREEZE_FEED)


def test_a_session_keeps_what_it_said_up_to_a_bound() -> None:
    """Old numbers fall out; a resend of them is answered with a notice and with what is still there."""
    sessions = Sessions("sim", Members([], Faults()), Faults(), history_max=3, keep_on_logout=True)
    paper = Paper()
    session = sessions.logon(Logon(session="s", account="a"), paper, 1)
    assert isinstance(session, Session)
    for _ in range(5):
        session.emit(Notice(code=Code.NONE))
    assert session.first_seq == 3
    paper.frames.clear()
    sessions.handle_resend(session, Resend(first=1, last=4))
    assert paper.kinds() == [(0, "notice"), (3, "notice"), (4, "notice")]


def test_another_account_cannot_take_over_a_session() -> None:
    """The id belongs to the account that first used it."""
    sessions = Sessions("sim", Members([], Faults()), Faults(), history_max=3, keep_on_logout=True)
    first = sessions.logon(Logon(session="s", account="a"), Paper(), 1)
    assert isinstance(first, Session)
    first.channel = None
    refused = sessions.logon(Logon(session="s", account="b"), Paper(), 2)
    assert isinstance(refused, LogonRefused) and refused.code is Code.NOT_ALLOWED


def test_the_journal_keeps_the_latest_in_memory_and_all_in_its_file(tmp_path: Path) -> None:
    """JSON lines that can be read back."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(entries_max=2, file=path)
    for number in range(3):
        journal.add(Entry(number, "in", "a", "s", number, order(f"c{number}")))
    journal.flush()
    assert [entry.seq for entry in journal.entries] == [1, 2] and journal.counts == {"in": 3, "out": 0}
    lines = [msgspec.json.decode(line, type=Entry) for line in path.read_bytes().splitlines()]
    assert [line.seq for line in lines] == [0, 1, 2] and lines[0].message == order("c0")
    journal.close()


def test_drop_copy_gives_old_reports_then_a_snapshot_in_pieces() -> None:
    """What one who comes back has missed is marked old; many working orders come in several frames."""
    floor = Exchange([Symbol("ABC", COIN // 100, COIN, 100 * COIN)], faults=Faults())
    copy = DropCopy("sim", Members([], Faults()), Faults(), history_max=10_000)
    for number in range(1001):
        for routed in floor.new("a", "s", order(f"c{number}", qty=1), number):
            copy.deliver(routed)
    paper = Paper()
    copy.logon(DropLogon(session="d", account="a", after_report=999), paper, floor.working.values(), 1)
    frames = [msgspec.json.decode(frame) for frame in paper.frames]
    assert [(seq, message["t"]) for seq, message in frames] == [
        (0, "logged_on"), (1, "drop_report"), (2, "drop_report"), (3, "drop_snapshot"), (4, "drop_snapshot"), (5, "drop_snapshot"),
    ]  # fmt: skip
    assert [message.get("old") for _, message in frames[1:3]] == [True, True]
    assert [(len(message["orders"]), message["last"]) for _, message in frames[3:]] == [(500, False), (500, False), (1, True)]


def test_drop_copy_refuses_accounts_that_are_not_overseen() -> None:
    """No look into another's orders."""
    copy = DropCopy("sim", Members([Account("a")], Faults()), Faults(), history_max=10)
    refused = copy.logon(DropLogon(session="d", account="a", accounts=("b",)), Paper(), (), 1)
    assert isinstance(refused, LogonRefused) and refused.code is Code.NOT_ALLOWED


class Board:
    """A publisher over two symbols with one subscriber of a subset, in another order."""

    def __init__(self, symbols: tuple[str, ...] = ("XYZ", "ABC")) -> None:
        self.faults, self.clock, self.paper = Faults(), VirtualClock(), Paper()
        floor = Exchange([Symbol("ABC", 1, 1, 1000), Symbol("XYZ", 1, 1, 1000)], faults=self.faults)
        self.publisher = Publisher("sim", Source.GENERATED, floor, self.faults, self.clock)
        subscriber = self.publisher.subscribe(Subscribe(symbols=symbols), self.paper)
        assert isinstance(subscriber, Subscriber)
        self.subscriber = subscriber
        self.paper.frames.clear()

    def publish(self, *tops: Top, trades: tuple[Print, ...] = ()) -> list[FeedDown]:
        """Publish and take what the subscriber was sent."""
        self.paper.frames.clear()
        self.publisher.publish(list(tops), list(trades))
        return [decode_frame(frame)[1] for frame in self.paper.frames]


def quote(name: str, bid: int = 100, at_ns: int = 7) -> Top:
    return Top(name, bid, 1, bid + 2, 1, at_ns)


def test_subscribers_get_their_own_indexes_and_only_their_symbols() -> None:
    """Rows count from the subscriber's own list."""
    board = Board(("XYZ",))
    (batch,) = board.publish(quote("ABC"), quote("XYZ", 50))
    assert isinstance(batch, QuoteBatch) and [(row.symbol, row.bid) for row in batch.rows] == [(0, 50)]
    (tape,) = board.publish(trades=(Print("XYZ", 51, 3, Side.SELL, 9), Print("ABC", 1, 1, Side.BUY, 9)))
    assert isinstance(tape, TradeBatch) and [(row.price, row.side) for row in tape.rows] == [(51, Side.SELL)]
    assert board.publish(quote("ABC")) == []


def test_an_unknown_symbol_or_one_named_twice_is_refused() -> None:
    """The answer is a notice, and nothing is subscribed."""
    board = Board()
    for symbols in (("NOPE",), ("ABC", "ABC")):
        assert isinstance(board.publisher.subscribe(Subscribe(symbols=symbols), Paper()), Notice)


def test_a_slow_subscriber_gets_the_latest_quotes_and_is_told_of_lost_trades() -> None:
    """Behind: nothing is queued; caught up: one quote per symbol, and a hole in the numbers for the trades."""
    board = Board()
    board.paper.waiting_bytes = BACKLOG_BYTES_MAX + 1
    for bid in (100, 101, 102):
        assert board.publish(quote("ABC", bid), trades=(Print("ABC", 1, 1, Side.BUY, 9),)) == []
    board.paper.waiting_bytes = 0
    batch = board.publish()[0]
    assert isinstance(batch, QuoteBatch) and [row.bid for row in batch.rows] == [102]
    assert decode_frame(board.paper.frames[0])[0] == 5


def test_faults_of_the_feed() -> None:
    """Frozen, crossed, from the past, halted: as a subscriber sees them (R11, R19)."""
    board = Board()
    frozen = board.faults.add(Fault(FaultKind.FREEZE_FEED, symbols=("ABC",)))
    (batch,) = board.publish(quote("ABC"), quote("XYZ"))
    assert isinstance(batch, QuoteBatch) and [row.symbol for row in batch.rows] == [0]
    board.faults.remove(frozen)
    board.faults.add(Fault(FaultKind.CROSS_FEED, times=1))
    board.faults.add(Fault(FaultKind.LAG_FEED, delay_ms=2000, times=1))
    (batch,) = board.publish(quote("ABC", at_ns=10 * NS_PER_S))
    assert isinstance(batch, QuoteBatch)
    assert (batch.rows[0].bid, batch.rows[0].ask, batch.rows[0].exchange_ns) == (102, 100, 8 * NS_PER_S)
    halted = board.faults.add(Fault(FaultKind.HALT_SYMBOL, symbols=("ABC",)))
    board.paper.frames.clear()
    assert board.publisher.halts() == {"ABC"}
    board.faults.remove(halted)
    assert board.publisher.halts() == frozenset()
    states = [decode_frame(frame)[1] for frame in board.paper.frames]
    assert [one.states for one in states if isinstance(one, SymbolStates)] == [{1: "halted"}, {1: "open"}]


@pytest.mark.parametrize("bad", [{"kind": "delay", "one_of": 0}, {"kind": "nope"}, {"kind": "delay", "more": 1}, {}])
def test_a_fault_with_a_mistake_in_it_is_refused(bad: dict[str, object]) -> None:
    """Unknown kinds, unknown fields and impossible numbers."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, Fault)
