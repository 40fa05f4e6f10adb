"""An order round trip that cannot trade, once per venue before anything else is placed there: D17.

A bid of one lot far below the market, immediate or cancel. It passes risk, journal and gate as every order does. Without a
permit there is none: then it is put off, and the vitals say 0 for it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from tradeops.base.logs import event
from tradeops.contracts.metrics import Counter
from tradeops.contracts.units import ppm_of
from tradeops.trader.bus import Looked
from tradeops.trader.engine import Engine
from tradeops.trader.ledger import Ledger
from tradeops.trader.market.market import Market
from tradeops.trader.messages import Signal
from tradeops.trader.orders.book import Tracked
from tradeops.trader.orders.states import OPEN, State
from tradeops.trader.placing import Placing
from tradeops.trader.standing import Standing
from tradeops.trader.telemetry import Telemetry
from tradeops.wire.protocol import Side, Tif

_LOG = logging.getLogger("trader.path")
_RETRY_NS = 500_000_000


class PathCheck:
    """Per venue: not yet, on its way, passed, failed. A failure blocks trading there until the process is replaced."""

    def __init__(
        self, *, engine: Engine, placing: Placing, ledger: Ledger, markets: Mapping[str, Market], telemetry: Telemetry, standing: Standing
    ) -> None:
        self._engine = engine
        self._placing = placing
        self._ledger = ledger
        self._markets = markets
        self._telemetry = telemetry
        self._standing = standing
        self._waiting: dict[str, str] = {}
        self._tried_ns: dict[str, int] = {}
        self._failed: set[str] = set()
        self._said_skipped = False

    @property
    def result(self) -> int:
        """1: passed everywhere it is needed.  0: not yet.  -1: failed somewhere."""
        if self._failed:
            return -1
        return 1 if self._needed() and self._needed() <= self._engine.path_open else 0

    def on_look(self, message: Looked) -> None:
        """Start the checks that are due; one that the gate kept on its way out is due again."""
        self._waiting = {venue: order_id for venue, order_id in self._waiting.items() if self._open(order_id)}
        due = self._needed() - self._engine.path_open - self._failed - self._waiting.keys()
        if not due:
            return
        if not self._standing.may_place(message.verdict):
            self._skip(message)
            return
        for venue in sorted(due & self._engine.up):
            if message.now_ns - self._tried_ns.get(venue, -_RETRY_NS) >= _RETRY_NS:
                self._tried_ns[venue] = message.now_ns
                self._try(venue, message.now_ns)

    def on_end(self, tracked: Tracked) -> None:
        """An order came to its end: was it one of these, and did it end as it should?"""
        venue, order = tracked.order.venue, tracked.order
        if self._waiting.get(venue) != order.id:
            return
        del self._waiting[venue]
        if tracked.state is State.CANCELLED and not tracked.filled:
            self._engine.path_open.add(venue)
            self._telemetry.count(Counter.PATH_CHECKS_PASSED)
            event(_LOG, logging.INFO, "path_check_passed", venue=venue, order=order.id)
        elif tracked.state in (State.REJECTED, State.FILLED, State.CANCELLED):
            self._failed.add(venue)
            self._telemetry.count(Counter.PATH_CHECKS_FAILED)
            text = f"path check on {venue} failed: the order was {tracked.state.value}, {tracked.filled} of it executed"
            self._telemetry.warn(text)
            event(_LOG, logging.ERROR, "path_check_failed", venue=venue, order=order.id, state=tracked.state.value, filled=tracked.filled)

    def _open(self, order_id: str) -> bool:
        tracked = self._ledger.orders.get(order_id)
        return tracked is not None and tracked.state in OPEN

    def _needed(self) -> set[str]:
        return set(self._placing.terms.venues) & self._placing.terms.limits.venues

    def _try(self, venue: str, now_ns: int) -> None:
        market, terms = self._markets[venue], self._placing.terms
        usable = (symbol for symbol in terms.symbols if symbol in terms.limits.instruments and not market.fault(symbol, now_ns))
        symbol = next(usable, None)
        reference = market.reference(symbol) if symbol else None
        if symbol is None or reference is None:
            return
        instrument = terms.instruments[symbol]
        price = reference - ppm_of(reference, terms.path_away_ppm)
        signal = Signal(symbol, Side.BUY, price - price % instrument.tick, instrument.lot)
        tracked = self._placing.place(signal, venue, quoted_ns=now_ns, since_ns=now_ns, tif=Tif.IOC, path_check=True)
        if tracked is not None:
            self._waiting[venue] = tracked.order.id
        self._placing.send()

    def _skip(self, message: Looked) -> None:
        if not self._said_skipped:
            self._said_skipped = True
            event(_LOG, logging.INFO, "path_check_put_off", cause=message.verdict.cause.value or "not ready")
