"""Market data: batches of whole top-of-book quotes, trades, symbol states. Fast to decode, easy to conflate."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from tradeops.wire.errors import BadMessage, SessionLost, VenueError
from tradeops.wire.link import Link, Timeouts
from tradeops.wire.protocol import PATH_MARKET_DATA, AmountOrZero, Heartbeat, Message, Name, Names, Notice, Side, frame

_QUEUE_BYTES_MAX: Final = 64 << 10


class Source(StrEnum):
    """Where the prices come from. Only `live` may ever drive a live daemon (R12)."""

    LIVE = "live"
    GENERATED = "generated"
    REPLAY = "replay"


class MarketState(StrEnum):
    """Whether a symbol trades. halted: no new orders, cancels allowed (R19)."""

    OPEN = "open"
    HALTED = "halted"


class QuoteRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Best bid and ask of a symbol (its index in Subscribed.symbols); a side without orders is 0 at 0."""

    symbol: int
    bid: int
    bid_qty: int
    ask: int
    ask_qty: int
    exchange_ns: int


class TradeRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One trade. side: the aggressor's."""

    symbol: int
    price: int
    qty: int
    side: Side
    exchange_ns: int


class Subscribe(Message, frozen=True, kw_only=True, tag="subscribe"):
    """First message: which symbols; empty for all."""

    symbols: Names = ()
    heartbeat_ms: Annotated[int, Meta(ge=10, le=600_000)] = 1000


class Subscribed(Message, frozen=True, kw_only=True, tag="subscribed"):
    """The venue's yes: rows name symbols by their place in `symbols`. A snapshot QuoteBatch follows."""

    venue: Name
    source: Source
    symbols: tuple[Name, ...]
    venue_ns: AmountOrZero


class QuoteBatch(Message, frozen=True, kw_only=True, tag="quotes"):
    """Quotes in the order they arose. sent_ns: when the batch left. snapshot: the state at subscription."""

    sent_ns: int
    rows: list[QuoteRow]
    snapshot: bool = False


class TradeBatch(Message, frozen=True, kw_only=True, tag="trades"):
    """Trades in the order they arose."""

    sent_ns: int
    rows: list[TradeRow]


class SymbolStates(Message, frozen=True, kw_only=True, tag="states"):
    """Symbols by index that change their state now."""

    sent_ns: int
    states: dict[int, MarketState]


FeedUp: TypeAlias = Subscribe | Heartbeat
FeedDown: TypeAlias = QuoteBatch | TradeBatch | SymbolStates | Subscribed | Heartbeat | Notice
Tick: TypeAlias = QuoteBatch | TradeBatch | SymbolStates

_DECODER: Final = msgspec.json.Decoder(tuple[AmountOrZero, FeedDown])
_ENCODE: Final = msgspec.json.Encoder().encode


def decode_frame(data: bytes) -> tuple[int, FeedDown]:
    """A frame of the feed. Raises BadMessage."""
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(f"not a message of this protocol: {error}") from None


class FeedClient:
    """A subscription. `missed` counts frames that never came: quotes are whole, so the next one heals, trades are lost."""

    def __init__(self, url: str, *, timeouts: Timeouts) -> None:
        """url: ws://host:port, without the path."""
        self.url = url
        self.missed = 0
        self.heard = 0
        """Frames received, beats included: a feed that beats is quiet, not silent."""
        self._timeouts = timeouts
        self._link: Link | None = None
        self._last_frame = 0

    @property
    def is_open(self) -> bool:
        """Subscribed, and the socket stands as far as this side knows."""
        return self._link is not None and self._link.is_open

    async def subscribe(self, symbols: tuple[str, ...] = ()) -> Subscribed:
        """Connect and subscribe. Raises VenueUnreachable, SessionLost, BadMessage (a symbol the venue does not have)."""
        await self.close()
        link = Link(
            self.url + PATH_MARKET_DATA,
            timeouts=self._timeouts,
            frame=lambda item: frame(0, item.body),
            idle=lambda: frame(0, _ENCODE(Heartbeat())),
            queue_bytes_max=_QUEUE_BYTES_MAX,
        )
        await link.open()
        try:
            request = Subscribe(symbols=symbols, heartbeat_ms=max(10, int(self._timeouts.beat_s * 1000)))
            await link.write_now(frame(0, _ENCODE(request)))
            _, answer = decode_frame(await link.receive(self._timeouts.logon_s))
            if not isinstance(answer, Subscribed):
                said = f"{answer.code.value} {answer.text}" if isinstance(answer, Notice) else type(answer).__name__
                raise BadMessage(f"not subscribed: {said}", where=self.url)
        except BaseException:
            await link.close()
            raise
        self._last_frame = 0
        link.start()
        self._link = link
        return answer

    async def receive(self) -> Tick:
        """The next batch. Raises SessionLost (ended, or silent: a quiet market still beats), BadMessage; it is then closed."""
        try:
            return await self._next()
        except VenueError:
            await self.close()
            raise

    async def _next(self) -> Tick:
        while True:
            if self._link is None:
                raise SessionLost("not subscribed", where=self.url)
            seq, message = decode_frame(await self._link.receive())
            self.heard += 1
            reached = message.last_seq if isinstance(message, Heartbeat) else seq
            self.missed += max(0, reached - self._last_frame - (0 if isinstance(message, Heartbeat) else 1))
            self._last_frame = max(self._last_frame, reached)
            if isinstance(message, QuoteBatch | TradeBatch | SymbolStates):
                return message

    async def close(self) -> None:
        """Leave. Never raises; safe to repeat."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()
