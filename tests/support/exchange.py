"""A whole trader on a real exchange, without sockets and on a virtual clock: what a minute of trading comes to, in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.support.trader import PRICE, TICK, VENUE, Desk, HostRoot
from tradeops.base.clock import NS_PER_MS, NS_PER_S, VirtualClock
from tradeops.contracts.units import UNIT
from tradeops.trader.bus import FeedSaid
from tradeops.venue.config import GeneratedFeed
from tradeops.venue.engine import Exchange, Symbol
from tradeops.venue.faults import Faults
from tradeops.venue.feed import Generated
from tradeops.venue.orders import Routed
from tradeops.wire.marketdata import QuoteBatch, QuoteRow
from tradeops.wire.protocol import CancelAll, CancelOrder, NewOrder, QueryOrder

ACCOUNT = "ACC"
TURN_MS = 50
LOOK_MS = 25
ANSWER_MS = 2
"""How often the venue moves, how often the trader looks at the time, and how long a message is on its way to the venue."""


def settings_of(config: Path) -> dict[str, Any]:
    """A trader.yml as the changes that `Desk` takes."""
    document = yaml.safe_load(config.read_text())
    sections = {f"{name}__{key}": value for name, part in document.items() if isinstance(part, dict) for key, value in part.items()}
    return sections | {name: value for name, value in document.items() if not isinstance(value, dict)}


class Trading:
    """One trader beside the makers of one exchange, from its path check on."""

    def __init__(self, folder: Path, *, price: int = PRICE, seed: int = 1, **settings: Any) -> None:
        self.clock = VirtualClock(wall_ns=1_800_000_000 * NS_PER_S, monotonic_ns=1_000 * NS_PER_S)
        self.desk = Desk(HostRoot(folder, reference_price=price, clock=self.clock).write(), self.clock, **settings)
        symbol = Symbol(self.desk.host.symbol, TICK, UNIT, price)
        self.exchange = Exchange([symbol], faults=Faults())
        self._feed = Generated(self.exchange, GeneratedFeed(), seed, self.clock)
        self.desk.log_on()
        self.desk.subscribe()
        self._run(1_000)
        self.desk.guard.say(True)
        self._run(1_000)
        self._before = dict(self.desk.rooms.telemetry.counters)

    def run(self, seconds: float) -> dict[str, int]:
        """Trade on; by how much each counter has risen since the path check."""
        self._run(int(seconds * 1000))
        counters = self.desk.rooms.telemetry.counters
        return {name: value - self._before.get(name, 0) for name, value in counters.items()}

    def close(self) -> None:
        """Let go of the journal."""
        self.desk.close()

    def _run(self, ms: int) -> None:
        for _ in range(ms // TURN_MS):
            self._move()
            for _ in range(TURN_MS // LOOK_MS):
                self._answer()
                self.desk.look(LOOK_MS - ANSWER_MS)

    def _move(self) -> None:
        turn = self._feed.turn(frozenset())
        self._tell(turn.routed)
        rows = [QuoteRow(0, top.bid, top.bid_qty, top.ask, top.ask_qty, top.exchange_ns) for top in turn.tops]
        batch = QuoteBatch(sent_ns=self.clock.wall_ns(), rows=rows)
        self.desk.rooms.bus.publish(FeedSaid(VENUE, batch, self.clock.monotonic_ns()))
        self.desk.rooms.engine.decide()

    def _answer(self) -> None:
        self.clock.advance_ns(ANSWER_MS * NS_PER_MS)
        sent, self.desk.session.sent[:] = list(self.desk.session.sent), []
        for message in sent:
            self._tell(self._answers(message))

    def _answers(self, message: NewOrder | CancelOrder | CancelAll | QueryOrder) -> list[Routed]:
        now_ns = self.clock.wall_ns()
        if isinstance(message, NewOrder):
            return self.exchange.new(ACCOUNT, "s", message, now_ns)
        if isinstance(message, CancelOrder):
            return self.exchange.cancel(ACCOUNT, "s", message, now_ns)
        if isinstance(message, CancelAll):
            return self.exchange.cancel_all(ACCOUNT, "s", (), message, now_ns)
        return [self.exchange.query(ACCOUNT, "s", message)]

    def _tell(self, routed: list[Routed]) -> None:
        for one in routed:
            if one.account == ACCOUNT:
                self.desk.say(one.message)
