"""All symbols of one feed. Quotes come in batches; of each symbol only the newest valid one is kept (conflation)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tradeops.contracts.units import PPM
from tradeops.trader.market.book import NEVER, SymbolBook
from tradeops.trader.market.offset import FeedOffset
from tradeops.trader.market.rules import Fault, QuoteRules
from tradeops.trader.messages import MarketView
from tradeops.wire.marketdata import MarketState, QuoteRow


class Market:
    """Judges quotes against their symbol's history and the feed's estimated clock offset."""

    def __init__(self, references: Mapping[str, int], rules: QuoteRules, offset: FeedOffset) -> None:
        """references: symbol -> price of the reference data, which the first quote must be near."""
        self._books = {symbol: SymbolBook(symbol, price, rules) for symbol, price in references.items()}
        self._rows: tuple[SymbolBook | None, ...] = ()
        self._rules = rules
        self._offset = offset
        self._heard_ns = NEVER
        self._late_ns = 0
        self.accepted = 0
        self.faults: dict[Fault, int] = {}

    @property
    def offset_ns(self) -> int:
        """The estimated offset: our monotonic clock minus the feed's wall clock."""
        return self._offset.offset_ns

    def bind(self, symbols: Sequence[str]) -> None:
        """The feed's order of symbols, which its rows count by. Symbols that are not ours are unknown."""
        self._rows = tuple(self._books.get(symbol) for symbol in symbols)

    def apply(self, rows: Sequence[QuoteRow], local_ns: int, *, snapshot: bool = False) -> set[str]:
        """Judge a batch received at `local_ns`; the symbols whose newest quote changed or became unusable.

        snapshot: the state at subscription: as new as the subscription whatever its times say.
        """
        if not rows:
            self.alive(local_ns)
            return set()
        fault = None if snapshot else self._clock_fault(max(row.exchange_ns for row in rows), local_ns)
        floor_ns = NEVER if snapshot else local_ns - self._offset.offset_ns - self._rules.age_max_ns
        changed: set[str] = set()
        accepted = 0
        books, size, spread_ppm = self._rows, len(self._rows), self._rules.spread_max_ppm
        for row in rows:
            book = books[row.symbol] if 0 <= row.symbol < size else None
            if book is None:
                self._count(Fault.UNKNOWN_SYMBOL)
                continue
            bid, ask, exchange_ns = row.bid, row.ask, row.exchange_ns
            changed.add(book.symbol)
            if (  # the usual case in one breath; `judge` finds out what is wrong with the others
                fault is None
                and 0 < bid < ask
                and floor_ns <= exchange_ns >= book.exchange_ns
                and book.low_sum <= bid + ask <= book.high_sum
                and (ask - bid) * PPM <= bid * spread_ppm
                and row.bid_qty > 0 < row.ask_qty
            ):
                book.take(row, local_ns)
                accepted += 1
            else:
                accepted += self._judge(book, row, local_ns, fault or (Fault.STALE if exchange_ns < floor_ns else None))
        self.accepted += accepted
        return changed

    def alive(self, local_ns: int) -> None:
        """The feed spoke without a quote: it lives."""
        self._heard_ns = max(self._heard_ns, local_ns)

    def states(self, states: Mapping[int, MarketState], local_ns: int) -> set[str]:
        """Symbols that the venue halts or opens (R19); those that are ours."""
        self.alive(local_ns)
        changed = set()
        for index, state in states.items():
            book = self._rows[index] if 0 <= index < len(self._rows) else None
            if book is not None:
                book.halted = state is not MarketState.OPEN
                changed.add(book.symbol)
        return changed

    def fault(self, symbol: str, now_ns: int) -> Fault | None:
        """Why `symbol` cannot be traded on now; None: its newest quote is valid and fresh."""
        book = self._books.get(symbol)
        if book is None:
            return Fault.UNKNOWN_SYMBOL
        if book.halted:
            return Fault.HALTED
        if book.fault is not None:
            return book.fault
        if not self._offset.known():
            return Fault.CLOCK_UNKNOWN
        late = self.age_ns(now_ns) > self._rules.age_max_ns or now_ns - book.local_ns > self._rules.quiet_max_ns
        return Fault.STALE if late else None

    def view(self, symbol: str) -> MarketView | None:
        """The newest valid quote with the mean; None before the first."""
        book = self._books[symbol]
        quote = book.quote()
        return MarketView(quote, book.mean_sum // 2) if quote else None

    def reference(self, symbol: str) -> int | None:
        """The newest valid mid."""
        book = self._books.get(symbol)
        return book.mid() if book else None

    def anchor(self, symbol: str) -> int | None:
        """The mid one to two windows ago."""
        book = self._books.get(symbol)
        return book.anchor if book else None

    def marks(self) -> dict[str, int]:
        """Symbol -> newest valid mid, where there is one."""
        return {symbol: mid for symbol, book in self._books.items() if (mid := book.mid()) is not None}

    def age_ns(self, now_ns: int) -> int:
        """How long ago the feed spoke, and how late its last quote was; -1 before the first word."""
        return NEVER if self._heard_ns == NEVER else now_ns - self._heard_ns + self._late_ns

    def _clock_fault(self, newest_ns: int, local_ns: int) -> Fault | None:
        """Take the batch's newest time into the offset; what this says about the whole batch."""
        if not self._offset.add(local_ns, newest_ns):
            return Fault.FUTURE
        self.alive(local_ns)
        self._late_ns = max(0, self._offset.age_ns(local_ns, newest_ns))
        return None if self._offset.known() else Fault.CLOCK_UNKNOWN

    def _judge(self, book: SymbolBook, row: QuoteRow, local_ns: int, fault: Fault | None) -> int:
        fault = fault or book.judge(row)
        if fault is None:
            book.take(row, local_ns)
            return 1
        self._count(fault)
        if fault is not Fault.OUT_OF_ORDER:
            book.fault = fault
        return 0

    def _count(self, fault: Fault) -> None:
        self.faults[fault] = self.faults.get(fault, 0) + 1
