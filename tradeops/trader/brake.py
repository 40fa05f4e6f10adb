"""What a stop does to working orders: taken back over the live session, again until none is left. The session stays up.

The order of a kill is fixed: stop page, this, the guard's own cancel, the drop copy's word, and only then a disconnect.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from tradeops.base.logs import event
from tradeops.contracts.directive import Scope
from tradeops.trader.bus import Looked, SessionUp
from tradeops.trader.gate.gate import Gate, covered
from tradeops.trader.gate.verdict import Level, Verdict
from tradeops.trader.ledger import Ledger
from tradeops.trader.orders.book import Tracked
from tradeops.trader.orders.states import State
from tradeops.trader.placing import Placing
from tradeops.trader.standing import Standing

_LOG = logging.getLogger("trader.stop")
_EVERYTHING = Scope()


class Brake:
    """Acts on what the stop page says, then acknowledges it."""

    def __init__(
        self,
        *,
        gate: Gate,
        ledger: Ledger,
        placing: Placing,
        standing: Standing,
        host: str,
        retry_ns: int,
        acknowledged: Callable[[Verdict], None],
    ) -> None:
        """acknowledged: called when the gate has acknowledged new words: the vitals must say so at once."""
        self._gate = gate
        self._ledger = ledger
        self._placing = placing
        self._standing = standing
        self._host = host
        self._retry_ns = retry_ns
        self._acknowledged = acknowledged
        self._stopped = False
        self._scopes: tuple[Scope, ...] = ()
        self._said = ""

    def on_look(self, message: Looked) -> None:
        """The stop page was looked at."""
        verdict = message.verdict
        self._tell(verdict)
        if self._standing.standby:
            self._stopped = False  # what works is the other slot's to take back
        elif self._standing.level(verdict) is Level.HALTED:
            self._stop(message.now_ns)
        else:
            self._stopped = False
            self._narrow(verdict.scopes, message.now_ns)
        if self._gate.acknowledge(verdict):
            self._acknowledged(verdict)

    def on_session_up(self, message: SessionUp) -> None:
        """A session is back: a stop that holds has to be told there anew."""
        self._stopped = False
        self._scopes = ()

    def _stop(self, now_ns: int) -> None:
        """At once all that works; then, one by one, what is still there after a while."""
        if not self._stopped:
            self._stopped = True
            self._scopes = ()
            self._cancel_all(_EVERYTHING, self._ledger.orders.open(), self._placing.terms.venues)
        else:
            self._again(self._ledger.orders.open(), now_ns)

    def _narrow(self, scopes: tuple[Scope, ...], now_ns: int) -> None:
        """The same for the subsets that are blocked; nothing else is touched (K01)."""
        for scope in scopes:
            inside = [tracked for tracked in self._ledger.orders.open() if covered(tracked.order, (scope,))]
            if scope not in self._scopes:
                self._cancel_all(scope, inside, scope.venues or self._placing.terms.venues)
            else:
                self._again(inside, now_ns)
        self._scopes = scopes

    def _cancel_all(self, scope: Scope, orders: Iterable[Tracked], venues: Iterable[str]) -> None:
        told = {venue for venue in venues if self._gate.cancel_all(venue, self._host, scope)}
        for tracked in orders:
            if tracked.order.venue in told:
                self._placing.cancelled(tracked)

    def _again(self, orders: Iterable[Tracked], now_ns: int) -> None:
        for tracked in orders:
            if tracked.state is State.WORKING and (tracked.cancels == 0 or now_ns - tracked.since_ns > self._retry_ns):
                self._placing.cancel(tracked)

    def _tell(self, verdict: Verdict) -> None:
        said = f"{verdict.level.name} {verdict.cause.value}".strip()
        if said != self._said:
            self._said = said
            event(
                _LOG,
                logging.INFO,
                "gate",
                page=verdict.level.name.lower(),
                cause=verdict.cause.value,
                working=self._ledger.orders.open_count,
            )
