"""What survives: entries in order, sequences never handed out twice, one process at a time, damage named."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from tests.support.trader import PRICE, SYMBOL, VENUE
from tradeops.base.clock import VirtualClock
from tradeops.contracts.units import UNIT
from tradeops.trader.journal import BLOCK, Journal, JournalError
from tradeops.trader.ledger import Ledger
from tradeops.trader.messages import Entry, Fill, Filled, Happened, Intended, Order, OrderEvent
from tradeops.trader.orders.states import State
from tradeops.wire.protocol import Side, Tags

TAGS = Tags(strategy="s", release="r", host="h", desk="d")


def order(number: int, side: Side = Side.BUY) -> Order:
    return Order(f"h-{number}", SYMBOL, VENUE, side, PRICE, 2 * UNIT, TAGS)


def fill(number: int, quantity: int = UNIT, side: Side = Side.BUY) -> Fill:
    return Fill(f"t{number}", f"h-{number}", VENUE, SYMBOL, side, PRICE, quantity)


def _die(journal: Journal) -> None:
    """As the process would: nothing more is committed, the lock falls."""
    journal._db.close()
    os.close(journal._lock)


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    """Intents, executions, ends; and the named facts that were committed with them."""
    entries: list[Entry] = [Intended(1, 5, order(1)), Filled(6, fill(1)), Happened(7, "h-1", OrderEvent.CANCELLED, "requested")]
    journal = Journal(tmp_path)
    for entry in entries:
        journal.append(entry)
    journal.note("heard:sim", 9)
    journal.commit()
    journal.commit()
    journal.close()
    again = Journal(tmp_path)
    assert list(again.replay()) == entries
    assert (again.fact("heard:sim", -1), again.fact("heard:other", -1)) == (9, -1)
    again.close()


def test_what_was_not_committed_is_not_there_and_sequences_go_on(tmp_path: Path) -> None:
    """R09: a process that died without closing leaves a gap in the sequence, never a number twice."""
    journal = Journal(tmp_path)
    first = [journal.next_sequence() for _ in range(3)]
    journal.append(Intended(1, 5, order(1)))
    _die(journal)
    again = Journal(tmp_path)
    assert list(again.replay()) == []
    assert again.next_sequence() > max(first)
    for _ in range(2 * BLOCK):
        last = again.next_sequence()
    assert last == BLOCK + 1 + 2 * BLOCK
    again.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """Two copies of a trader cannot both hold the memory of the host."""
    journal = Journal(tmp_path)
    with pytest.raises(JournalError, match="another trader"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_another_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A journal that a newer release wrote is not touched."""
    Journal(tmp_path).close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        db.execute("REPLACE INTO facts VALUES ('version', 99)")
    db.close()
    with pytest.raises(JournalError, match="format 99"):
        Journal(tmp_path)
    with pytest.raises(JournalError, match="format 99"):
        Journal(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """Not a database; a folder that is not there; an entry that cannot be read."""
    (tmp_path / "journal.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path)
    with pytest.raises(JournalError, match="cannot be locked"):
        Journal(tmp_path / "nowhere")
    (tmp_path / "journal.sqlite").unlink()
    journal = Journal(tmp_path)
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        db.execute('INSERT INTO entries (body) VALUES (\'{"type":"unheard of"}\')')
    db.close()
    with pytest.raises(JournalError, match="entry 1 is not readable"):
        list(journal.replay())
    journal.close()


def test_a_disk_that_fails_keeps_what_waits(tmp_path: Path) -> None:
    """A commit that fails is an error, and everything is committed when the disk is back."""
    journal = Journal(tmp_path)
    journal.append(Intended(1, 5, order(1)))
    other = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal._db.execute("PRAGMA busy_timeout=0")
    with pytest.raises(JournalError, match="cannot be written"):
        journal.commit()
    with pytest.raises(JournalError, match="cannot be written"):
        journal.next_sequence()
    other.execute("ROLLBACK")
    other.close()
    journal.commit()
    assert len(list(journal.replay())) == 1
    journal.checkpoint()
    journal.close()


def test_a_checkpoint_that_fails_is_an_error(tmp_path: Path) -> None:
    """The log cannot be moved: said, and nothing else."""
    journal = Journal(tmp_path)
    journal._path = tmp_path / "gone" / "journal.sqlite"
    with pytest.raises(JournalError, match="checkpointed"):
        journal.checkpoint()
    journal.close()


def test_a_ledger_is_rebuilt_by_what_built_it(tmp_path: Path) -> None:
    """Positions to the unit; orders that ended have ended; those that had not are of unknown fate."""
    clock = VirtualClock()
    journal = Journal(tmp_path)
    ledger = Ledger(journal, clock)
    one, two, three = (ledger.intend(order(n, side), n) for n, side in ((1, Side.BUY), (2, Side.SELL), (3, Side.BUY)))
    for tracked in (one, two, three):
        ledger.happen(tracked, OrderEvent.SENT)
    ledger.fill(one, fill(1, 2 * UNIT))
    ledger.happen(one, OrderEvent.FILLED)
    ledger.fill(two, fill(2, side=Side.SELL))
    ledger.happen(two, OrderEvent.PART_FILLED)
    ledger.happen(three, OrderEvent.REJECTED, "bad_tick")
    ledger.heard(VENUE, 17)
    ledger.commit()
    _die(journal)
    reopened = Journal(tmp_path)
    again = Ledger(reopened, clock)
    assert again.replay(reopened.replay()) == 7
    assert again.positions.quantities() == ledger.positions.quantities() == {SYMBOL: UNIT}
    assert again.positions.totals({}) == ledger.positions.totals({})
    states = {n: found.state for n in (1, 2, 3) if (found := again.orders.get(f"h-{n}"))}
    assert states == {1: State.FILLED, 2: State.UNKNOWN, 3: State.REJECTED}
    assert again.orders.exposure(SYMBOL).sell == UNIT
    assert (again.last_heard(VENUE), again.last_heard("other")) == (17, -1)
    reopened.close()
