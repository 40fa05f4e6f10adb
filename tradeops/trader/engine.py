"""The hot path: quotes in, the strategy asked, orders placed and taken back."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from tradeops.base.clock import Clock
from tradeops.base.logs import event
from tradeops.contracts.metrics import Counter
from tradeops.trader.bus import FeedSaid, FeedSpoke, FeedUp, Looked, SessionDown, SessionUp
from tradeops.trader.gate.verdict import MISSING, Verdict
from tradeops.trader.journal import JournalError
from tradeops.trader.ledger import Ledger
from tradeops.trader.market.market import Market
from tradeops.trader.messages import Signal
from tradeops.trader.orders.book import Tracked
from tradeops.trader.orders.plan import plan
from tradeops.trader.placing import Placing
from tradeops.trader.routing import VenueState, route
from tradeops.trader.shadow import Shadow
from tradeops.trader.standing import Standing
from tradeops.trader.strategy.quoter import quote
from tradeops.trader.telemetry import Telemetry
from tradeops.wire.marketdata import QuoteBatch, Source, SymbolStates
from tradeops.wire.protocol import Side

_LOG = logging.getLogger("trader")


class Engine:
    """Conflates: many batches, one decision per symbol. Decides at most once per `requote` and symbol."""

    def __init__(
        self,
        *,
        placing: Placing,
        ledger: Ledger,
        markets: Mapping[str, Market],
        telemetry: Telemetry,
        standing: Standing,
        clock: Clock,
        live_only: bool,
    ) -> None:
        self._placing = placing
        self._ledger = ledger
        self._markets = markets
        self._telemetry = telemetry
        self._standing = standing
        self._clock = clock
        self._live_only = live_only
        self._dirty: dict[str, set[str]] = {venue: set() for venue in markets}
        self._decided_ns: dict[str, int] = {}
        self._shadow = Shadow(telemetry)
        self._inherited = False
        self.verdict: Verdict = MISSING
        self.up: set[str] = set()
        self.path_open: set[str] = set()
        """Venues whose path check has passed: nothing else is placed there before (D17)."""

    def on_feed_up(self, message: FeedUp) -> None:
        """A subscription: learn its symbols, and whether its prices may drive this daemon at all (R12)."""
        source = message.subscribed.source
        if self._live_only and source is not Source.LIVE:
            self._standing.halt("feed_source", f"the feed of {message.venue} is {source.value}, and this is production")
        self._markets[message.venue].bind(message.subscribed.symbols)

    def on_feed(self, message: FeedSaid) -> None:
        """A batch: judge it, remember what changed. The decision comes once per turn of the loop, in `decide`."""
        market = self._markets[message.venue]
        if isinstance(message.tick, QuoteBatch):
            before = market.accepted
            self._dirty[message.venue] |= market.apply(message.tick.rows, message.local_ns, snapshot=message.tick.snapshot)
            accepted = market.accepted - before
            self._telemetry.count(Counter.QUOTES, accepted)
            self._telemetry.count(Counter.QUOTES_INVALID, len(message.tick.rows) - accepted)
        elif isinstance(message.tick, SymbolStates):
            self._dirty[message.venue] |= market.states(message.tick.states, message.local_ns)
        else:
            market.alive(message.local_ns)

    def on_feed_spoke(self, message: FeedSpoke) -> None:
        """A sign of life."""
        self._markets[message.venue].alive(message.local_ns)

    def on_session_up(self, message: SessionUp) -> None:
        """Orders can go there."""
        self.up.add(message.venue)

    def on_session_down(self, message: SessionDown) -> None:
        """Orders cannot go there."""
        self.up.discard(message.venue)

    def on_end(self, tracked: Tracked) -> None:
        """A side has become free: decide about its symbol anew, whether or not the market moves."""
        self._dirty[tracked.order.venue].add(tracked.order.symbol)

    def on_look(self, message: Looked) -> None:
        """The stop page, and the time: decide what a pause between two decisions held back, and what went stale unseen.

        The tighter of the overlay's cap on the flow and the run's holds.
        """
        self.verdict = message.verdict
        self._placing.flow.set_cap(min(self._placing.terms.flow_cap_ppm, message.verdict.flow_cap_ppm))
        for venue, market in self._markets.items():
            self._dirty[venue] |= {symbol for symbol in self._placing.terms.symbols if market.fault(symbol, message.now_ns)}
        if self._inherited and self._standing.recovered:
            self._inherited = False
            self._take_back_strays()
        self.decide()

    def _take_back_strays(self) -> None:
        """Orders that came with the journal, of symbols that are not traded here: nobody would look after them."""
        for tracked in self._ledger.orders.open():
            if tracked.order.symbol not in self._placing.terms.symbols:
                self._placing.cancel(tracked)

    def decide(self) -> None:
        """Ask the strategy about each symbol that changed, place and take back, send."""
        if not (self._standing.may_place(self.verdict) or self._standing.shadows(self.verdict)):
            self._placing.pace.clear()
            return
        now_ns = self._clock.monotonic_ns()
        venue = self._venue()
        if venue is None:
            return
        dirty = self._dirty[venue]
        try:
            for symbol in [symbol for symbol in self._placing.terms.symbols if symbol in dirty]:
                if now_ns - self._decided_ns.get(symbol, 0) >= self._placing.terms.requote_ns:
                    self._decided_ns[symbol] = now_ns
                    dirty.discard(symbol)
                    self._decide(symbol, venue, now_ns)
        except JournalError as error:
            self._standing.halt("journal", str(error))
        self._placing.send()

    def _venue(self) -> str | None:
        """Where orders go now; a standby takes the writer's sessions and path for granted."""
        standby, terms = self._standing.standby, self._placing.terms
        venue = route((VenueState(name, standby or name in self.up) for name in terms.venues), terms.limits.venues)
        return venue if standby or venue in self.path_open else None

    def on_taken(self) -> None:
        """Writer from now on: every venue's path is checked anew, everything is decided anew, what works included."""
        self._inherited = True
        self.up.clear()
        self.path_open.clear()
        self.on_terms()

    def _decide(self, symbol: str, venue: str, now_ns: int) -> None:
        market = self._markets[venue]
        open_orders = tuple(self._ledger.orders.exposure(symbol).orders.values())
        barred = market.fault(symbol, now_ns) or symbol in self._placing.terms.limits.symbols_blocked
        view = None if barred else market.view(symbol)
        if view is None:  # blocked, or prices that cannot be believed: nothing is wanted, and what works is taken back (R11)
            signals: tuple[Signal, ...] = (Signal(symbol, Side.BUY, 0, 0), Signal(symbol, Side.SELL, 0, 0))
        else:
            terms = self._placing.terms
            signals = quote(view, self._ledger.positions.quantity(symbol), terms.instruments[symbol].tick, terms.settings)
            for path in terms.hits:
                self._telemetry.count(path)
        self._telemetry.count(Counter.DECISIONS, len(signals))
        planned = plan(signals, open_orders, self._placing.terms.tolerance_ppm)
        for tracked in planned.cancels:
            self._placing.cancel(tracked)
        placed = [signal for signal in planned.places if view is not None and self._placing.offer(signal, venue, view.quote, now_ns)]
        if self._placing.pace.waits(symbol, planned.places):
            self._dirty[venue].add(symbol)
        if self._standing.standby:
            self._shadow.compare(signals, open_orders, placed, self._placing.terms.tolerance_ppm, now_ns)

    def on_terms(self) -> None:
        """New terms: ask the strategy anew about everything."""
        event(_LOG, logging.INFO, "terms", overlay=self._placing.terms.overlay_number, flags=sorted(self._placing.terms.flags))
        for dirty in self._dirty.values():
            dirty |= set(self._placing.terms.symbols)
