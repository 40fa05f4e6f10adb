"""Orders of unknown fate: asked about, never sent again (promise 7, R09). After a start, after a lost session, after silence."""

from __future__ import annotations

import logging

from tradeops.base.logs import event
from tradeops.contracts.metrics import Counter
from tradeops.trader.bus import Looked, SessionDown, SessionUp
from tradeops.trader.gate.gate import Gate
from tradeops.trader.ledger import Ledger
from tradeops.trader.messages import OrderEvent
from tradeops.trader.orders.book import Tracked
from tradeops.trader.orders.states import State
from tradeops.trader.standing import Standing
from tradeops.trader.telemetry import Telemetry

_LOG = logging.getLogger("trader.recovery")


class Recovery:
    """Asks the venues until every open order has a known fate."""

    def __init__(self, *, ledger: Ledger, gate: Gate, telemetry: Telemetry, standing: Standing, answer_ns: int) -> None:
        """answer_ns: how long a venue may take to answer before it is asked (again)."""
        self._ledger = ledger
        self._gate = gate
        self._telemetry = telemetry
        self._standing = standing
        self._answer_ns = answer_ns
        self._up: set[str] = set()
        self._asked: set[str] = set()
        self.begin()

    def begin(self) -> None:
        """What is open now has to be asked about before anything is placed: after a start, and when the journal is taken over."""
        self._asked = {tracked.order.id for tracked in self._ledger.orders.open()}

    def on_session_up(self, message: SessionUp) -> None:
        """A session stands (again): whatever is open there may have moved meanwhile."""
        venue, opened = message
        event(
            _LOG,
            logging.INFO,
            "session_up",
            venue=venue,
            expected_seq=opened.logged_on.expected_seq,
            missed=opened.missed,
            forgotten=opened.forgotten,
        )
        if opened.forgotten or opened.missed:
            self._telemetry.count(Counter.ERRORS)
            lost = "this session" if opened.forgotten else f"{opened.missed} of its messages"
            self._warn(f"{venue} no longer has {lost}; orders are asked about")
        self._up.add(venue)
        self._standing.started = True
        for tracked in self._ledger.orders.open():
            if tracked.order.venue == venue:
                self._ask(tracked)
        self._settle()

    def on_session_down(self, message: SessionDown) -> None:
        """Nothing can be asked there for now."""
        self._up.discard(message.venue)

    def on_look(self, message: Looked) -> None:
        """Ask about orders that have waited too long for an answer."""
        for tracked in self._ledger.orders.open():
            waits = tracked.state in (State.SENT, State.CANCELLING, State.UNKNOWN)
            if waits and tracked.order.venue in self._up and message.now_ns - tracked.since_ns > self._answer_ns:
                self._ask(tracked)
        self._settle()

    def _ask(self, tracked: Tracked) -> None:
        if tracked.state is not State.UNKNOWN:
            self._telemetry.count(Counter.ORDERS_UNKNOWN)
        self._ledger.happen(tracked, OrderEvent.TIMED_OUT)
        self._asked.add(tracked.order.id)
        self._gate.query(tracked.order.venue, tracked.order.id)

    def _settle(self) -> None:
        """Recovered: a session has stood, and every order asked about has an answer."""
        if self._asked:
            unknown = {tracked.order.id for tracked in self._ledger.orders.open() if tracked.state is State.UNKNOWN}
            self._asked &= unknown
        if self._standing.started and not self._asked and not self._standing.recovered:
            self._standing.recovered = True
            event(_LOG, logging.INFO, "recovered", working=self._ledger.orders.open_count, positions=self._ledger.positions.quantities())
        elif self._asked and self._standing.recovered:
            self._standing.recovered = False

    def _warn(self, text: str) -> None:
        if self._telemetry.warn(text):
            event(_LOG, logging.WARNING, "warning", text=text)
