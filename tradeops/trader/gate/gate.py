"""The gate: the only importer of wire.entry. It looks at the stop page before each send, and once more as the bytes are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from tradeops.contracts.directive import Scope
from tradeops.trader.gate.page import StopWatch
from tradeops.trader.gate.verdict import Cause, Level, Verdict
from tradeops.trader.messages import Order
from tradeops.wire.entry import OrderEntry
from tradeops.wire.errors import SendQueueFull, SessionLost
from tradeops.wire.protocol import CancelAll, CancelOrder, NewOrder, QueryOrder
from tradeops.wire.session import OrderSession


class Acknowledged(NamedTuple):
    """The stop page's words that were last acted on with an empty send queue."""

    epoch: int
    latch: int


class Gate:
    """Holds the sessions' sending ends. No strategy, risk or order code can reach a venue but through `send`."""

    def __init__(self, watch: StopWatch) -> None:
        self._watch = watch
        self._sessions: dict[str, OrderSession] = {}
        self._entries: dict[str, OrderEntry] = {}
        self._requests = 0
        self.acknowledged = Acknowledged(0, 0)

    def attach(self, venue: str, session: OrderSession) -> None:
        """Orders for `venue` leave over `session`."""
        self._sessions[venue] = session
        self._entries[venue] = OrderEntry(session)

    def look(self) -> Verdict:
        """What the stop page says now."""
        return self._watch.look()

    @property
    def send_queue(self) -> int:
        """Bytes handed over that have not left this process, over all sessions."""
        return sum(session.send_queue for session in self._sessions.values())

    def acknowledge(self, verdict: Verdict) -> bool:
        """Note that `verdict` was acted on, if nothing can still leave under an older one. Whether this says anything new."""
        if verdict.words is None or self.send_queue:
            return False
        before, self.acknowledged = self.acknowledged, Acknowledged(verdict.words.epoch, verdict.words.latch)
        return self.acknowledged != before

    def refusal(self, order: Order) -> Cause:
        """Why `order` may not leave now; Cause.NONE: it may."""
        tags = order.tags
        if not (tags.strategy and tags.release and tags.host and tags.desk):
            return Cause.UNTAGGED
        verdict = self._watch.look()
        if verdict.level is not Level.OPEN:
            return verdict.cause
        return Cause.SCOPE if covered(order, verdict.scopes) else Cause.NONE

    def send(self, order: Order, withheld: Callable[[], None]) -> Cause:
        """Hand an order to its venue's session; Cause.NONE: handed over. Never blocks.

        withheld: called when the last look, right before the bytes are written, keeps it; it then never left.
        """
        if cause := self.refusal(order):
            return cause
        entry = self._entries.get(order.venue)
        if entry is None:
            return Cause.NOT_CONNECTED
        try:
            entry.send(_new(order), still_allowed=partial(self._may_leave, order), withheld=withheld)
        except SessionLost:
            return Cause.NOT_CONNECTED
        except SendQueueFull:
            return Cause.QUEUE_FULL
        return Cause.NONE

    def cancel(self, venue: str, order_id: str, cancel_id: str) -> bool:
        """Take back one order. No page, limit or state is asked (K10). False: the session is down."""
        return self._reduce(venue, CancelOrder(client_id=cancel_id, orig_client_id=order_id))

    def cancel_all(self, venue: str, host: str, scope: Scope) -> bool:
        """Take back all orders of `host` at `venue` that are in `scope`. False: the session is down."""
        request = CancelAll(request_id=self._request("all"), hosts=(host,), symbols=scope.symbols, strategies=scope.strategies)
        return self._reduce(venue, request)

    def query(self, venue: str, order_id: str) -> bool:
        """Ask what became of an order. False: the session is down."""
        return self._reduce(venue, QueryOrder(request_id=self._request("query"), client_id=order_id))

    def _may_leave(self, order: Order) -> bool:
        return not self.refusal(order)

    def _reduce(self, venue: str, message: CancelOrder | CancelAll | QueryOrder) -> bool:
        session = self._sessions.get(venue)
        if session is None:
            return False
        try:
            session.send(message)
        except SessionLost:
            return False
        return True

    def _request(self, kind: str) -> str:
        self._requests += 1
        return f"{kind}-{self._requests}"


def covered(order: Order, scopes: Iterable[Scope]) -> bool:
    """Whether one of the blocked subsets has this order in it."""
    return any(scope.covers(venue=order.venue, symbol=order.symbol, strategy=order.tags.strategy) for scope in scopes)


def _new(order: Order) -> NewOrder:
    return NewOrder(
        client_id=order.id,
        symbol=order.symbol,
        side=order.side,
        qty=order.quantity,
        price=order.price,
        tags=order.tags,
        tif=order.tif,
        post_only=order.post_only,
    )
