"""Orders, positions and the journal as one: what happens is remembered and written down in the same call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from tradeops.base.clock import Clock
from tradeops.trader.messages import Entry, Fill, Filled, Happened, Intended, Order, OrderEvent
from tradeops.trader.orders.book import Change, OrderBook, Tracked
from tradeops.trader.orders.states import OPEN
from tradeops.trader.positions import Positions

BLANK_FIRST: Final = 10**17


class Pages(Protocol):
    """Where a ledger writes."""

    def next_sequence(self) -> int:
        """A number that no order ever had."""

    def append(self, entry: Entry) -> None:
        """Write an entry with the next commit."""

    def note(self, name: str, value: int) -> None:
        """Set a named integer with the next commit."""

    def fact(self, name: str, default: int) -> int:
        """A named integer as last committed."""

    def commit(self) -> None:
        """Make what waits durable."""


class Blank:
    """The pages of a standby: what it would write is not kept, and its numbers are none that a journal gives out."""

    def __init__(self) -> None:
        self._next = BLANK_FIRST

    def next_sequence(self) -> int:
        """Behind every number of a journal."""
        self._next += 1
        return self._next - 1

    def append(self, entry: Entry) -> None:
        """Not kept."""

    def note(self, name: str, value: int) -> None:
        """Not kept."""

    def fact(self, name: str, default: int) -> int:
        """Nothing was ever noted."""
        return default

    def commit(self) -> None:
        """There is nothing."""


class Ledger:
    """The trader's memory. Only what a restart cannot ask the venue for is journalled: intents, fills, ends."""

    def __init__(self, pages: Pages, clock: Clock) -> None:
        self.orders = OrderBook()
        self.positions = Positions()
        self.pages = pages
        self._clock = clock

    def replay(self, entries: Iterable[Entry]) -> int:
        """Take in what a journal tells; an order of which it tells no end is of unknown fate. The number of entries."""
        count = 0
        now_ns = self._clock.monotonic_ns()
        for entry in entries:
            self._redo(entry, now_ns)
            count += 1
        return count

    def restart(self) -> None:
        """What is open is of unknown fate from now on, as after a replay."""
        for tracked in self.orders.open():
            self.orders.happen(tracked, OrderEvent.RESTARTED, self._clock.monotonic_ns())

    def next_sequence(self) -> int:
        """A sequence that no order of this host ever had. Raises JournalError."""
        return self.pages.next_sequence()

    def intend(self, order: Order, sequence: int) -> Tracked:
        """An order that will be sent once this is committed."""
        tracked = self.orders.intend(order, self._clock.monotonic_ns())
        self.pages.append(Intended(sequence, self._clock.wall_ns(), order))
        return tracked

    def happen(self, tracked: Tracked, event: OrderEvent, reason: str = "") -> Change:
        """Something happened to an order; written down when it ends it."""
        change = self.orders.happen(tracked, event, self._clock.monotonic_ns())
        if change.after not in OPEN and change.before is not change.after:
            self.pages.append(Happened(self._clock.wall_ns(), tracked.order.id, event, reason))
        return change

    def fill(self, tracked: Tracked, fill: Fill) -> None:
        """An execution that was not known yet."""
        self.orders.fill(tracked, fill.quantity)
        self.positions.apply(fill)
        self.pages.append(Filled(self._clock.wall_ns(), fill))

    def heard(self, venue: str, sequence: int) -> None:
        """Everything of the venue's session up to `sequence` is in here; committed together with what it said."""
        self.pages.note(_heard(venue), sequence)

    def last_heard(self, venue: str) -> int:
        """The last message of the venue's session that is in here; -1 before the first. Raises JournalError."""
        return self.pages.fact(_heard(venue), -1)

    def commit(self) -> None:
        """Make it durable. Raises JournalError."""
        self.pages.commit()

    def _redo(self, entry: Entry, now_ns: int) -> None:
        if isinstance(entry, Intended):
            intended = self.orders.intend(entry.order, now_ns)
            self.orders.happen(intended, OrderEvent.RESTARTED, now_ns)  # until an entry tells its end, only the venue knows
            return
        if isinstance(entry, Filled):
            self.positions.apply(entry.fill)
            if (known := self.orders.get(entry.fill.order)) is not None:
                self.orders.fill(known, entry.fill.quantity)
            return
        if (tracked := self.orders.get(entry.order)) is not None:
            self.orders.happen(tracked, entry.event, now_ns)


def _heard(venue: str) -> str:
    return f"heard:{venue}"
