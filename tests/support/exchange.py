"""Whole traders on one real exchange, without sockets and on a virtual clock: what a minute of trading comes to, in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.trader import PRICE, SYMBOL, TICK, VENUE, Desk, HostRoot
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
    """Traders beside the makers of one exchange, from their path checks on."""

    def __init__(self, folder: Path, *settings: Mapping[str, Any], price: int = PRICE, seed: int = 1) -> None:
        """settings: of each trader."""
        self.clock = VirtualClock(wall_ns=1_800_000_000 * NS_PER_S, monotonic_ns=1_000 * NS_PER_S)
        self.desks = {
            f"ACC{number}": Desk(HostRoot(folder / str(number), reference_price=price, clock=self.clock).write(), self.clock, **each)
            for number, each in enumerate(settings)
        }
        self.exchange = Exchange([Symbol(SYMBOL, TICK, UNIT, price)], faults=Faults())
        self._feed = Generated(self.exchange, GeneratedFeed(), seed, self.clock)
        for desk in self.desks.values():
            desk.log_on()
            desk.subscribe()
        self._run(1_000)
        for desk in self.desks.values():
            desk.guard.say(True)
        self._run(1_000)
        self._before = self._counters()

    def run(self, seconds: float) -> list[dict[str, int]]:
        """Trade on; by how much each counter of each trader has risen since its path check."""
        self._run(int(seconds * 1000))
        pairs = zip(self._counters(), self._before, strict=True)
        return [{name: value - before.get(name, 0) for name, value in now.items()} for now, before in pairs]

    def close(self) -> None:
        """Let go of the journals."""
        for desk in self.desks.values():
            desk.close()

    def _counters(self) -> list[dict[str, int]]:
        return [dict(desk.rooms.telemetry.counters) for desk in self.desks.values()]

    def _run(self, ms: int) -> None:
        for _ in range(ms // TURN_MS):
            self._move()
            for _ in range(TURN_MS // LOOK_MS):
                self._answer()
                self.clock.advance_ns((LOOK_MS - ANSWER_MS) * NS_PER_MS)
                for desk in self.desks.values():
                    desk.look(0)

    def _move(self) -> None:
        turn = self._feed.turn(frozenset())
        self._tell(turn.routed)
        rows = [QuoteRow(0, top.bid, top.bid_qty, top.ask, top.ask_qty, top.exchange_ns) for top in turn.tops]
        batch = QuoteBatch(sent_ns=self.clock.wall_ns(), rows=rows)
        for desk in self.desks.values():
            desk.rooms.bus.publish(FeedSaid(VENUE, batch, self.clock.monotonic_ns()))
            desk.rooms.engine.decide()

    def _answer(self) -> None:
        self.clock.advance_ns(ANSWER_MS * NS_PER_MS)
        for account, desk in self.desks.items():
            sent, desk.session.sent[:] = list(desk.session.sent), []
            for message in sent:
                self._tell(self._answers(account, message))

    def _answers(self, account: str, message: NewOrder | CancelOrder | CancelAll | QueryOrder) -> list[Routed]:
        now_ns = self.clock.wall_ns()
        if isinstance(message, NewOrder):
            return self.exchange.new(account, "s", message, now_ns)
        if isinstance(message, CancelOrder):
            return self.exchange.cancel(account, "s", message, now_ns)
        if isinstance(message, CancelAll):
            return self.exchange.cancel_all(account, "s", (), message, now_ns)
        return [self.exchange.query(account, "s", message)]

    def _tell(self, routed: list[Routed]) -> None:
        for one in routed:
            if one.account in self.desks:
                self.desks[one.account].say(one.message)
