"""An order entry session: logon, numbered messages both ways, gaps asked for again, silence as loss. The caller reconnects."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

import msgspec

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.wire.auth import proof
from tradeops.wire.errors import BadMessage, LogonRejected, SessionLost, VenueError
from tradeops.wire.link import DEFAULT_TIMEOUTS, Link, Queued, Timeouts
from tradeops.wire.protocol import (
    PATH_ORDERS,
    AmountOrZero,
    CancelAll,
    CancelAllDone,
    CancelOrder,
    CancelRejected,
    ExecutionReport,
    Heartbeat,
    LoggedOn,
    LoggedOut,
    Logon,
    LogonRefused,
    Logout,
    Notice,
    OrdersDown,
    OrderStatus,
    QueryOrder,
    Resend,
    Role,
    frame,
)
from tradeops.wire.sequence import Inbound

_DECODER: Final = msgspec.json.Decoder(tuple[AmountOrZero, OrdersDown])
_ENCODE: Final = msgspec.json.Encoder().encode

Reducing: TypeAlias = CancelOrder | CancelAll | QueryOrder
"""What `OrderSession.send` takes: nothing that adds risk (that is wire/entry's)."""
Answer: TypeAlias = ExecutionReport | CancelRejected | CancelAllDone | OrderStatus | Notice


class Received(NamedTuple):
    """A message of the venue and its number (0 for a Notice outside the sequence)."""

    seq: int
    message: Answer


@dataclass(frozen=True)
class SessionConfig:
    """Where and as whom. url: ws://host:port, without the path. secret: the account's, None where the venue has none."""

    url: str
    session: str
    account: str
    secret: bytes | None = field(default=None, repr=False)
    role: Role = Role.TRADE
    cancel_on_disconnect: bool = False
    keep_on_logout: bool = False
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    queue_bytes_max: int = 256 << 10


class Opened(NamedTuple):
    """How a logon went. missed: venue messages since `last_seq` that can no longer be had: reconcile with the drop copy.

    forgotten: the venue has fewer messages than we have seen, so it lost its memory of this session.
    """

    logged_on: LoggedOn
    missed: int
    forgotten: bool


class OrderSession:
    """One session; may be connected again and again. Not for several tasks: one calls `receive`, any may `send`."""

    def __init__(self, config: SessionConfig, clock: Clock) -> None:
        self.config = config
        self._clock = clock
        self._link: Link | None = None
        self._next_seq = 1
        self._inbound: Inbound[Answer] = Inbound(0)
        self._ready: deque[Received] = deque()
        self._delivered = 0
        self._gap_since_ns: int | None = None

    @property
    def is_open(self) -> bool:
        """Logged on, and the socket stands as far as this side knows."""
        return self._link is not None and self._link.is_open

    @property
    def send_queue(self) -> int:
        """Bytes handed over that have not left this process: 0 = nothing can still come out of it."""
        return self._link.send_queue if self._link is not None else 0

    @property
    def last_seq(self) -> int:
        """The last venue message that `receive` has given out: what to hand to `connect`, also after a restart."""
        return self._delivered

    @property
    def sent_seq(self) -> int:
        """The number of the last message written to the venue."""
        return self._next_seq - 1

    async def connect(self, *, last_seq: int = -1) -> Opened:
        """Log on; messages after `last_seq` come again through `receive` (-1: none).

        Raises VenueUnreachable, LogonRejected, SessionLost, BadMessage.
        """
        await self.close()
        config, timeouts = self.config, self.config.timeouts
        link = Link(
            config.url + PATH_ORDERS, timeouts=timeouts, frame=self._numbered, idle=self._beat, queue_bytes_max=config.queue_bytes_max
        )
        await link.open()
        try:
            await link.write_now(frame(0, _ENCODE(self._logon(last_seq))))
            _, answer = self._decode(await link.receive(timeouts.logon_s))
            opened = self._opened(answer, last_seq)
        except BaseException:
            await link.close()
            raise
        link.start()
        self._link = link
        return opened

    def send(self, message: Reducing) -> None:
        """Queue a cancel or a query; never refused for a full queue. Raises SessionLost, TypeError."""
        if not isinstance(message, CancelOrder | CancelAll | QueryOrder):
            raise TypeError(f"{type(message).__name__} does not reduce risk: only the gate sends it, through wire/entry")
        self.transmit(Queued(_ENCODE(message)), always=True)

    def transmit(self, item: Queued, *, always: bool = False) -> None:
        """For wire's own modules: queue an encoded message. Raises SessionLost, SendQueueFull."""
        self._open_link().send(item, always=always)

    async def receive(self) -> Received:
        """The next message in order, each once.

        Raises SessionLost (ended, silent, gap not filled), BadMessage; the session is then closed: nothing is sent into a dead one.
        """
        try:
            while not self._ready:
                seq, message = self._decode(await self._open_link().receive())
                self._take(seq, message)
                self._fill_gaps(seq, message)
        except VenueError:
            await self.close()
            raise
        received = self._ready.popleft()
        self._delivered = received.seq or self._delivered
        return received

    async def logout(self) -> int:
        """Leave in order, behind what is queued; how many orders the venue keeps at work. To be called when nobody receives.

        What it says meanwhile is not given out: it comes again after the next logon. Raises SessionLost, BadMessage: what the venue
        did is not known. The session is closed either way.
        """
        try:
            self.transmit(Queued(_ENCODE(Logout()), numbered=False), always=True)
            async with asyncio.timeout(self.config.timeouts.logon_s):
                while True:
                    _, message = self._decode(await self._open_link().receive())
                    if isinstance(message, LoggedOut):
                        return message.kept
        except TimeoutError:
            raise SessionLost(
                f"no answer to the logout within {self.config.timeouts.logon_s} s",
                where=self.config.session,
                holds="what the venue keeps at work is not known",
                next="ask the drop copy",
            ) from None
        finally:
            await self.close()

    async def close(self) -> None:
        """Leave without a word: for the venue a lost connection. What is queued is withheld. Never raises; safe to repeat."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    def _logon(self, last_seq: int) -> Logon:
        config = self.config
        now_ns = self._clock.wall_ns()
        words = {"session": config.session, "account": config.account}
        return Logon(
            **words,
            cancel_on_disconnect=config.cancel_on_disconnect,
            keep_on_logout=config.keep_on_logout,
            role=config.role,
            last_seq=last_seq,
            heartbeat_ms=max(10, int(config.timeouts.beat_s * 1000)),
            time_ns=now_ns,
            proof=proof(config.secret, **words, time_ns=now_ns) if config.secret is not None else "",
        )

    def _opened(self, answer: OrdersDown, last_seq: int) -> Opened:
        if isinstance(answer, LogonRefused):
            raise LogonRejected(
                f"logon refused: {answer.code.value} {answer.text}".strip(), code=answer.code.value, where=self.config.session
            )
        if not isinstance(answer, LoggedOn):
            raise BadMessage(f"{type(answer).__name__} came instead of an answer to the logon", where=self.config.session)
        forgotten = last_seq > answer.last_seq
        start = answer.last_seq if last_seq < 0 or forgotten else max(last_seq, answer.first_seq - 1)
        self._inbound = Inbound(start)
        self._delivered = start
        self._ready.clear()
        self._gap_since_ns = None
        self._next_seq = answer.expected_seq
        return Opened(answer, 0 if last_seq < 0 or forgotten else start - last_seq, forgotten)

    def _take(self, seq: int, message: OrdersDown) -> None:
        if isinstance(message, LoggedOn | LogonRefused | LoggedOut):
            raise BadMessage(f"{type(message).__name__} in mid-session", where=self.config.session)
        if isinstance(message, Heartbeat):
            return
        if seq == 0:
            self._ready.append(Received(0, message))
            return
        before = self._inbound.last
        try:
            ready = self._inbound.accept(seq, message)
        except OverflowError as error:
            raise SessionLost(str(error), where=self.config.session) from None
        self._ready.extend(Received(before + n, one) for n, one in enumerate(ready, start=1))

    def _fill_gaps(self, seq: int, message: OrdersDown) -> None:
        """Ask for what is missing; give up on a venue that does not fill it within the silence limit."""
        reached = message.last_seq if isinstance(message, Heartbeat) else seq
        if asked := self._inbound.missing(reached):
            self.transmit(Queued(_ENCODE(Resend(first=asked[0], last=asked[1])), numbered=False), always=True)
        whole = self._inbound.last >= self._inbound.asked
        if whole:
            self._gap_since_ns = None
            return
        now_ns = self._clock.monotonic_ns()
        self._gap_since_ns = self._gap_since_ns or now_ns
        if now_ns - self._gap_since_ns > self.config.timeouts.silence_s * NS_PER_S:
            raise SessionLost(
                f"messages from {self._inbound.last + 1} on are missing and the venue does not send them again",
                where=self.config.session,
                holds="orders sent and not answered are unknown",
                next="connect again and query them; do not send them again",
            )

    def _decode(self, data: bytes) -> tuple[int, OrdersDown]:
        try:
            return _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadMessage(f"not a message of this protocol: {error}", where=self.config.session) from None

    def _numbered(self, item: Queued) -> bytes:
        if not item.numbered:
            return frame(0, item.body)
        self._next_seq += 1
        return frame(self._next_seq - 1, item.body)

    def _beat(self) -> bytes:
        return frame(0, _ENCODE(Heartbeat(last_seq=self.sent_seq)))

    def _open_link(self) -> Link:
        if self._link is None:
            raise SessionLost("not connected", where=self.config.session, next="connect first")
        return self._link
