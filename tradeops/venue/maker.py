"""Market makers and takers of the generated feed: a seeded random walk that keeps real orders in the books."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tradeops.venue.config import GeneratedFeed
from tradeops.venue.engine import TAKERS, Exchange, Symbol
from tradeops.venue.orders import Routed
from tradeops.wire.protocol import Side

_STEPS = (-1, 0, 0, 1)
_ROOM = 2
"""Fair prices stay between a half and twice the starting price."""


@dataclass
class _Desk:
    fair_ticks: int
    orders: list[int] = field(default_factory=list)


class Maker:
    """Quotes every symbol around its fair price. The same seed moves the same way, whatever members do."""

    def __init__(self, exchange: Exchange, config: GeneratedFeed, seed: int) -> None:
        self._exchange = exchange
        self._config = config
        self._random = {name: random.Random(f"{seed}/{name}") for name in exchange.symbols}
        self._desks = {symbol.name: _Desk(symbol.price // symbol.tick) for symbol in exchange.symbols.values()}

    def move(self, name: str, now_ns: int) -> list[Routed]:
        """One step of one symbol: the fair price moves, quotes are replaced, somebody may take. What members learn of it."""
        symbol, desk, dice = self._exchange.symbols[name], self._desks[name], self._random[name]
        start_ticks = symbol.price // symbol.tick
        desk.fair_ticks = min(max(desk.fair_ticks + dice.choice(_STEPS), start_ticks // _ROOM), start_ticks * _ROOM)
        for order_id in desk.orders:
            self._exchange.house_cancel(name, order_id)
        desk.orders.clear()
        routed: list[Routed] = []
        for level in range(self._config.levels):
            for side, sign in ((Side.BUY, -1), (Side.SELL, 1)):
                ticks = desk.fair_ticks + sign * (self._config.spread_ticks + 2 * level) // 2
                order_id, told = self._exchange.house_submit(name, side, ticks * symbol.tick, self._size(symbol, dice), now_ns)
                desk.orders.append(order_id)
                routed += told
        return routed + self._take(symbol, dice, now_ns)

    def _take(self, symbol: Symbol, dice: random.Random, now_ns: int) -> list[Routed]:
        """Now and then somebody crosses the spread, and meets whoever is first in the book."""
        side, wants, qty = dice.choice((Side.BUY, Side.SELL)), dice.randrange(1_000_000), self._size(symbol, dice)
        price, _ = self._exchange.books[symbol.name].best(Side.SELL if side is Side.BUY else Side.BUY)
        if wants >= self._config.trade_ppm or not price:
            return []
        return self._exchange.house_submit(symbol.name, side, price, qty, now_ns, owner=TAKERS, ioc=True)[1]

    def _size(self, symbol: Symbol, dice: random.Random) -> int:
        return dice.randint(1, self._config.size_lots) * symbol.lot
