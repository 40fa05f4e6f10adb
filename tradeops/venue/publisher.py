"""Market data to subscribers: batches encoded once for all who want the same symbols; slow readers get the latest only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from tradeops.base.clock import NS_PER_MS, Clock
from tradeops.venue.engine import Exchange, Print
from tradeops.venue.faults import FaultKind, Faults
from tradeops.venue.feed import Top, top_of
from tradeops.venue.sessions import Channel
from tradeops.wire.marketdata import (
    MarketState,
    QuoteBatch,
    QuoteRow,
    Source,
    Subscribe,
    Subscribed,
    SymbolStates,
    Tick,
    TradeBatch,
    TradeRow,
)
from tradeops.wire.protocol import Code, Heartbeat, Notice, frame

_ENCODE: Final = msgspec.json.Encoder().encode
BATCH_ROWS_MAX: Final = 500
BACKLOG_BYTES_MAX: Final = 2 << 20
"""A subscriber that is further behind is sent the latest quote per symbol once it has caught up, and no trades."""


class Reader(Channel, Protocol):
    """A channel that can say how far behind its reader is."""

    @property
    def waiting_bytes(self) -> int: ...


class Subscriber:
    """One market data connection. index: symbol -> its place in the member's own list."""

    def __init__(self, symbols: tuple[str, ...], channel: Reader) -> None:
        self.symbols = symbols
        self.index = {name: at for at, name in enumerate(symbols)}
        self.channel = channel
        self.behind: dict[str, Top] = {}
        self._seq = 0

    def send(self, body: bytes) -> None:
        """Number and queue an encoded message."""
        self._seq += 1
        self.channel.put(frame(self._seq, body))

    def skip(self) -> None:
        """Leave a number out, so that the member knows it missed something that no later message heals."""
        self._seq += 1

    def beat(self) -> bytes:
        """A heartbeat frame with the last number given."""
        return frame(0, _ENCODE(Heartbeat(last_seq=self._seq)))


class Publisher:
    """All subscribers."""

    def __init__(self, venue: str, source: Source, exchange: Exchange, faults: Faults, clock: Clock) -> None:
        self.subscribers: set[Subscriber] = set()
        self._venue = venue
        self._source = source
        self._exchange = exchange
        self._faults = faults
        self._clock = clock
        self._halted: frozenset[str] = frozenset()

    def subscribe(self, request: Subscribe, channel: Reader) -> Subscriber | Notice:
        """Begin: Subscribed, the symbols that are halted, the state of all; then all that happens."""
        symbols = request.symbols or tuple(self._exchange.symbols)
        unknown = [name for name in symbols if name not in self._exchange.symbols]
        if unknown or len(set(symbols)) < len(symbols):
            return Notice(code=Code.UNKNOWN_SYMBOL, text=f"not traded here, or named twice: {', '.join(unknown or symbols)}"[:400])
        subscriber = Subscriber(symbols, channel)
        now_ns = self._clock.wall_ns()
        answer = Subscribed(venue=self._venue, source=self._source, symbols=symbols, venue_ns=now_ns)
        channel.put(frame(0, _ENCODE(answer)))
        self._states(subscriber, self._halted, MarketState.HALTED)
        rows = self._rows((top_of(self._exchange, name, now_ns) for name in symbols), subscriber)
        subscriber.send(_ENCODE(QuoteBatch(sent_ns=now_ns, rows=rows, snapshot=True)))
        self.subscribers.add(subscriber)
        return subscriber

    def halts(self) -> frozenset[str]:
        """The symbols halted by a fault now; tells subscribers when that changes."""
        halted = self._faults.symbols_under(FaultKind.HALT_SYMBOL, self._exchange.symbols)
        if halted != self._halted:
            for subscriber in self.subscribers:
                self._states(subscriber, halted - self._halted, MarketState.HALTED)
                self._states(subscriber, self._halted - halted, MarketState.OPEN)
            self._halted = halted
        return halted

    def publish(self, tops: list[Top], trades: list[Print]) -> None:
        """Send what happened; faults of the feed strike here."""
        frozen = self._faults.symbols_under(FaultKind.FREEZE_FEED, self._exchange.symbols)
        tops = [self._disturbed(top) for top in tops if top.symbol not in frozen]
        trades = [trade for trade in trades if trade.symbol not in frozen]
        bodies: dict[tuple[str, ...], list[bytes]] = {}
        for subscriber in self.subscribers:
            if subscriber.channel.waiting_bytes > BACKLOG_BYTES_MAX:
                self._fall_behind(subscriber, tops, trades)
                continue
            if subscriber.behind:
                self._catch_up(subscriber)
            if subscriber.symbols not in bodies:
                bodies[subscriber.symbols] = self._bodies(subscriber, tops, trades)
            for body in bodies[subscriber.symbols]:
                subscriber.send(body)

    def _bodies(self, subscriber: Subscriber, tops: list[Top], trades: list[Print]) -> list[bytes]:
        sent_ns = self._clock.wall_ns()
        rows = self._rows(tops, subscriber)
        prints = [
            TradeRow(subscriber.index[trade.symbol], trade.price, trade.qty, trade.side, trade.now_ns)
            for trade in trades
            if trade.symbol in subscriber.index
        ]
        batches: list[Tick] = [
            QuoteBatch(sent_ns=sent_ns, rows=rows[at : at + BATCH_ROWS_MAX]) for at in range(0, len(rows), BATCH_ROWS_MAX)
        ]
        batches += [TradeBatch(sent_ns=sent_ns, rows=prints[at : at + BATCH_ROWS_MAX]) for at in range(0, len(prints), BATCH_ROWS_MAX)]
        return [_ENCODE(batch) for batch in batches]

    def _rows(self, tops: Iterable[Top], subscriber: Subscriber) -> list[QuoteRow]:
        index = subscriber.index
        return [
            QuoteRow(index[top.symbol], top.bid, top.bid_qty, top.ask, top.ask_qty, top.exchange_ns) for top in tops if top.symbol in index
        ]

    def _fall_behind(self, subscriber: Subscriber, tops: list[Top], trades: list[Print]) -> None:
        subscriber.behind.update({top.symbol: top for top in tops if top.symbol in subscriber.index})
        if any(trade.symbol in subscriber.index for trade in trades):
            subscriber.skip()

    def _catch_up(self, subscriber: Subscriber) -> None:
        rows = self._rows(subscriber.behind.values(), subscriber)
        subscriber.behind = {}
        subscriber.send(_ENCODE(QuoteBatch(sent_ns=self._clock.wall_ns(), rows=rows)))

    def _states(self, subscriber: Subscriber, names: frozenset[str], state: MarketState) -> None:
        states = {subscriber.index[name]: state for name in names if name in subscriber.index}
        if states:
            subscriber.send(_ENCODE(SymbolStates(sent_ns=self._clock.wall_ns(), states=states)))

    def _disturbed(self, top: Top) -> Top:
        """The quote as faults let it out: crossed, or from the past."""
        if self._faults.strike(FaultKind.CROSS_FEED, symbol=top.symbol):
            top = top._replace(bid=top.ask, bid_qty=top.ask_qty, ask=top.bid, ask_qty=top.bid_qty)
        if lag := self._faults.strike(FaultKind.LAG_FEED, symbol=top.symbol):
            top = top._replace(exchange_ns=top.exchange_ns - lag.delay_ms * NS_PER_MS)
        return top
