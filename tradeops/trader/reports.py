"""What a venue says, turned into events of orders and executions. Said twice, counted once: by cumulative quantity."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from tradeops.base.clock import Clock
from tradeops.base.logs import event
from tradeops.contracts.metrics import Counter, Latency
from tradeops.trader.bus import VenueSaid
from tradeops.trader.ledger import Ledger
from tradeops.trader.messages import Fill, OrderEvent
from tradeops.trader.orders.book import Tracked
from tradeops.trader.orders.ids import sequence_of
from tradeops.trader.orders.states import State
from tradeops.trader.standing import Standing
from tradeops.trader.telemetry import Telemetry
from tradeops.wire.protocol import CancelAllDone, CancelRejected, Code, ExecKind, ExecutionReport, Notice, OrderState, OrderStatus

_LOG = logging.getLogger("trader.venue")
_TOO_LATE: Final = frozenset({Code.TOO_LATE, Code.UNKNOWN_ORDER})
_ENDS: Final = {
    OrderState.WORKING: OrderEvent.ACCEPTED,
    OrderState.CANCELLED: OrderEvent.CANCELLED,
    OrderState.REJECTED: OrderEvent.REJECTED,
    OrderState.UNKNOWN: OrderEvent.NOT_FOUND,
}


class Reports:
    """Applies the venue's messages to the ledger. `on_end` is told of every order that has come to its end."""

    def __init__(
        self, *, ledger: Ledger, telemetry: Telemetry, standing: Standing, clock: Clock, host: str, on_end: Callable[[Tracked], None]
    ) -> None:
        self._ledger = ledger
        self._telemetry = telemetry
        self._standing = standing
        self._clock = clock
        self._host = host
        self._on_end = on_end

    def on_said(self, message: VenueSaid) -> None:
        """One message of a venue's session."""
        seq, said = message.received
        if isinstance(said, ExecutionReport):
            self._report(message.venue, said)
        elif isinstance(said, OrderStatus):
            self._status(said)
        elif isinstance(said, CancelRejected):
            self._cancel_rejected(said)
        elif isinstance(said, CancelAllDone):
            self._cancel_all_done(said)
        elif isinstance(said, Notice):
            self._notice(message.venue, said)
        if seq:
            self._ledger.heard(message.venue, seq)

    def _report(self, venue: str, report: ExecutionReport) -> None:
        tracked = self._ledger.orders.get(report.client_id)
        if tracked is None:
            self._stranger(venue, report)
            return
        if report.kind is not ExecKind.REJECTED:
            self._placed(tracked)
        if report.kind in (ExecKind.PARTIAL, ExecKind.FILL):
            self._executed(tracked, report.cumulative_qty, report.last_price, report.trade_id)
        elif report.kind is ExecKind.REJECTED:
            self._telemetry.count(Counter.ORDERS_REJECTED)
            event(_LOG, logging.WARNING, "rejected", order=report.client_id, code=report.code.value, text=report.text)
            self._happen(tracked, OrderEvent.REJECTED, report.code.value)
        elif report.kind is ExecKind.CANCELLED:
            self._happen(tracked, OrderEvent.CANCELLED, report.code.value)
        else:
            self._happen(tracked, OrderEvent.ACCEPTED)

    def _placed(self, tracked: Tracked) -> None:
        """The venue has the order: how long it took to say so, however late that was and whatever came in between."""
        if tracked.wanted_ns:
            self._telemetry.measure(Latency.ORDER_PLACEMENT, self._clock.monotonic_ns() - tracked.wanted_ns)
            tracked.wanted_ns = 0

    def _executed(self, tracked: Tracked, cumulative: int, price: int, execution: str) -> None:
        """Count what is new of `cumulative`. More than was ordered is a break: it halts."""
        order = tracked.order
        quantity = cumulative - tracked.filled
        if quantity <= 0:
            return
        self._ledger.fill(tracked, Fill(execution, order.id, order.venue, order.symbol, order.side, price, quantity))
        self._telemetry.count(Counter.FILLS)
        if cumulative > order.quantity:
            self._break(f"order {order.id} was executed for {cumulative} of {order.quantity}")
        self._happen(tracked, OrderEvent.FILLED if cumulative >= order.quantity else OrderEvent.PART_FILLED)

    def _status(self, status: OrderStatus) -> None:
        """The answer to a query: executions first, whose reports were lost; then where the order stands."""
        tracked = self._ledger.orders.get(status.client_id)
        if tracked is None:
            return
        if status.state not in (OrderState.UNKNOWN, OrderState.REJECTED):
            self._placed(tracked)
        if status.cumulative_qty > tracked.filled:
            self._warn(f"executions of {status.client_id} are known by query alone, at its limit price")
            self._executed(tracked, status.cumulative_qty, status.price or tracked.order.price, "")
        if status.state in _ENDS and tracked.state is State.UNKNOWN:
            self._happen(tracked, _ENDS[status.state], "query")

    def _cancel_rejected(self, said: CancelRejected) -> None:
        tracked = self._ledger.orders.get(said.orig_client_id)
        if tracked is None:
            return
        too_late = said.code in _TOO_LATE
        if not too_late:
            event(_LOG, logging.WARNING, "cancel_refused", order=said.orig_client_id, code=said.code.value, text=said.text)
        self._happen(tracked, OrderEvent.CANCEL_TOO_LATE if too_late else OrderEvent.CANCEL_REFUSED, said.code.value)

    def _cancel_all_done(self, said: CancelAllDone) -> None:
        """Refused ones stand and are tried again (K14); lost ones time out and are asked about."""
        for order_id in said.refused:
            if (tracked := self._ledger.orders.get(order_id)) is not None:
                self._happen(tracked, OrderEvent.CANCEL_REFUSED, said.code.value)

    def _notice(self, venue: str, said: Notice) -> None:
        self._telemetry.count(Counter.ERRORS)
        self._warn(f"{venue} could not take message {said.ref_seq}: {said.code.value} {said.text}".rstrip())

    def _stranger(self, venue: str, report: ExecutionReport) -> None:
        """A report for an order that is not in the ledger: an execution, or one of our own ids, is a break (R14)."""
        executed = report.kind in (ExecKind.PARTIAL, ExecKind.FILL)
        if executed:
            self._break(f"{venue} reports an execution of {report.client_id}, which this journal does not hold")
        elif report.kind is ExecKind.NEW and sequence_of(report.client_id, self._host) is not None:
            self._break(f"{venue} holds {report.client_id}, which this journal does not")

    def _happen(self, tracked: Tracked, what: OrderEvent, reason: str = "") -> None:
        change = self._ledger.happen(tracked, what, reason)
        if change.surprise:
            self._telemetry.count(Counter.ERRORS)
            self._warn(f"order {tracked.order.id} is {change.before.value} and was said to be {what.value}")
        elif change.before is not change.after and not tracked.open_quantity:
            self._on_end(tracked)

    def _break(self, text: str) -> None:
        self._telemetry.count(Counter.ERRORS)
        self._warn(text)
        self._standing.halt("break", text)

    def _warn(self, text: str) -> None:
        if self._telemetry.warn(text):
            event(_LOG, logging.WARNING, "warning", text=text)
