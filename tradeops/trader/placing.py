"""From a signal to an order on its way: route, judge, write down, hand to the gate. In this order, for every order."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial

from tradeops.base.clock import Clock
from tradeops.base.logs import event
from tradeops.contracts.metrics import Counter, Latency
from tradeops.contracts.units import value_of
from tradeops.trader.flow import Flow
from tradeops.trader.gate.gate import Gate
from tradeops.trader.gate.verdict import Cause
from tradeops.trader.journal import JournalError
from tradeops.trader.ledger import Ledger
from tradeops.trader.market.market import Market
from tradeops.trader.messages import Order, OrderEvent, Quote, Signal
from tradeops.trader.orders.book import Tracked
from tradeops.trader.orders.ids import cancel_id, client_id
from tradeops.trader.pace import Pace
from tradeops.trader.risk.check import Facts, check
from tradeops.trader.risk.denial import Code, Denial
from tradeops.trader.risk.rate import MessageRate
from tradeops.trader.standing import Standing
from tradeops.trader.telemetry import Telemetry
from tradeops.trader.terms import Terms
from tradeops.wire.protocol import Side, Tif

_LOG = logging.getLogger("trader.orders")


class Placing:
    """Orders are judged one by one, written down together, then sent one by one."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        gate: Gate,
        markets: Mapping[str, Market],
        telemetry: Telemetry,
        standing: Standing,
        clock: Clock,
        terms: Terms,
        pace: Pace,
    ) -> None:
        self.terms = terms
        self.flow = Flow()
        self.pace = pace
        self.denied: dict[Code, int] = {}
        self._ledger = ledger
        self._gate = gate
        self._markets = markets
        self._telemetry = telemetry
        self._standing = standing
        self._clock = clock
        self._rate = MessageRate()
        self._pending: list[tuple[Tracked, int]] = []

    def offer(self, signal: Signal, venue: str, quote: Quote, now_ns: int) -> Tracked | None:
        """Place, when it is its turn, what the cap on the flow leaves to this host of a signal decided on `quote`. Raises JournalError."""
        since_ns = self.pace.turn((signal.symbol, signal.side), now_ns)
        if since_ns is None:
            return None
        terms, position = self.terms, self._ledger.positions.quantity(signal.symbol)
        taken = self.flow.take(signal, terms.tags.strategy, quote, position=position, tolerance_ppm=terms.tolerance_ppm)
        if taken.left:
            self._telemetry.count(Counter.SIGNALS_CAPPED)
        if taken.signal is None:
            return None
        reduce = taken.signal is not signal
        tracked = self.place(taken.signal, venue, quoted_ns=quote.local_ns, since_ns=since_ns, reduce=reduce, post_only=terms.post_only)
        if tracked is not None:
            self.pace.sent(now_ns)
        return tracked

    def place(
        self,
        signal: Signal,
        venue: str,
        *,
        quoted_ns: int,
        since_ns: int,
        tif: Tif = Tif.DAY,
        reduce: bool = False,
        path_check: bool = False,
        post_only: bool = False,
    ) -> Tracked | None:
        """Make an order of a signal and judge it; None: denied. since_ns: when it was first wanted. Raises JournalError."""
        self._telemetry.count(Counter.SIGNALS)
        sequence = self._ledger.next_sequence()
        order = Order(
            id=client_id(self.terms.tags.host, sequence),
            symbol=signal.symbol,
            venue=venue,
            side=signal.side,
            price=signal.price,
            quantity=signal.quantity,
            tags=self.terms.tags,
            tif=tif,
            reduce=reduce,
            path_check=path_check,
            post_only=post_only,
        )
        if denial := check(order, self.terms.limits, self.terms.bounds, self._facts(order)):
            self._deny(order, denial)
            return None
        tracked = self._ledger.intend(order, sequence)
        tracked.wanted_ns = since_ns
        self._rate.add(self._clock.monotonic_ns())
        self._pending.append((tracked, quoted_ns))
        return tracked

    def send(self) -> None:
        """Make the orders judged so far durable, then hand each to the gate. A journal that fails halts, and nothing leaves."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        try:
            self._ledger.commit()
        except JournalError as error:
            self._standing.halt("journal", str(error))
            for tracked, _ in pending:
                self._withheld(tracked, "journal")
            return
        for tracked, quoted_ns in pending:
            self._ledger.happen(tracked, OrderEvent.SENT)
            cause = self._gate.send(tracked.order, partial(self._withheld, tracked, "last_look"))
            if cause is not Cause.NONE:
                self._withheld(tracked, cause)
                continue
            self._telemetry.count(Counter.ORDERS_SENT)
            self._telemetry.count(Counter.ORDER_NOTIONAL, value_of(tracked.order.price, tracked.order.quantity))
            self._telemetry.measure(Latency.QUOTE_TO_SEND, self._clock.monotonic_ns() - quoted_ns)

    def cancel(self, tracked: Tracked) -> None:
        """Take back an order: counted, never refused (K10)."""
        order = tracked.order
        if self._gate.cancel(order.venue, order.id, cancel_id(order.id, tracked.cancels + 1)):
            self.cancelled(tracked)

    def cancelled(self, tracked: Tracked) -> None:
        """A cancel of this order is on its way."""
        self._ledger.happen(tracked, OrderEvent.CANCEL_SENT)
        self._rate.add(self._clock.monotonic_ns())
        self._telemetry.count(Counter.CANCELS_SENT)

    def _withheld(self, tracked: Tracked, cause: str) -> None:
        self._ledger.happen(tracked, OrderEvent.WITHHELD, cause)
        self._telemetry.count(Counter.ORDERS_WITHHELD)

    def _deny(self, order: Order, denial: Denial) -> None:
        self._telemetry.count(Counter.ORDERS_DENIED)
        if denial.code not in self.denied:  # the first of each kind is told whole; all are counted
            event(
                _LOG,
                logging.WARNING,
                "denied",
                code=denial.code.value,
                measured=denial.measured,
                limit=denial.limit,
                subject=denial.subject,
                order=order.id,
                symbol=order.symbol,
            )
        self.denied[denial.code] = self.denied.get(denial.code, 0) + 1

    def _facts(self, order: Order) -> Facts:
        now_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        market = self._markets[order.venue]
        instrument = self.terms.instruments.get(order.symbol)
        exposure = self._ledger.orders.exposure(order.symbol)
        buying, selling = self._ledger.orders.values()
        totals = self._ledger.positions.totals(market.marks())
        fault = market.fault(order.symbol, now_ns)
        return Facts(
            tick=instrument.tick if instrument else 0,
            lot=instrument.lot if instrument else 0,
            reference_age_ns=wall_ns - instrument.as_of_wall_ns if instrument else wall_ns,
            position=self._ledger.positions.quantity(order.symbol),
            working_buy=exposure.buy,
            working_sell=exposure.sell,
            working_count=self._ledger.orders.open_count,
            reducing=exposure.reducing(order.side) if order.reduce else 0,
            gross=totals.gross + buying + selling,
            net_high=totals.net + buying,
            net_low=totals.net - selling,
            messages_last_second=self._rate.in_last_second(now_ns),
            market_fault=fault.value if fault else "",
            reference=market.reference(order.symbol),
            anchor=market.anchor(order.symbol),
            best_own_bid=exposure.best(Side.BUY),
            best_own_ask=exposure.best(Side.SELL),
            known_id=order.id in self._ledger.orders,
        )
