"""Drop copy: the venue's own account of our orders, on a session of its own. Snapshot first, then every report."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tradeops.base.clock import Clock
from tradeops.contracts.directive import Scope
from tradeops.wire.auth import proof
from tradeops.wire.errors import BadMessage, LogonRejected, SessionLost, VenueError
from tradeops.wire.link import DEFAULT_TIMEOUTS, Link, Queued, Timeouts
from tradeops.wire.protocol import (
    PATH_DROP_COPY,
    AmountOrZero,
    DropDown,
    DropLogon,
    DropReport,
    DropSnapshot,
    ExecKind,
    ExecutionReport,
    Heartbeat,
    LoggedOn,
    LogonRefused,
    Notice,
    SnapshotRequest,
    WorkingOrder,
    frame,
)

_DECODER: Final = msgspec.json.Decoder(tuple[AmountOrZero, DropDown])
_ENCODE: Final = msgspec.json.Encoder().encode
_ENDS: Final = frozenset({ExecKind.FILL, ExecKind.CANCELLED, ExecKind.REJECTED})
_QUEUE_BYTES_MAX: Final = 64 << 10


@dataclass(frozen=True)
class DropCopyConfig:
    """Where and as whom. url: ws://host:port, without the path. accounts: empty for its own alone."""

    url: str
    session: str
    account: str
    accounts: tuple[str, ...] = ()
    secret: bytes | None = field(default=None, repr=False)
    timeouts: Timeouts = DEFAULT_TIMEOUTS


class WorkingView:
    """The working orders as snapshots and reports have told. Pure."""

    def __init__(self) -> None:
        self.orders: dict[str, WorkingOrder] = {}
        self.report = 0
        self._pieces: list[WorkingOrder] = []

    def snapshot(self, piece: DropSnapshot) -> bool:
        """Take in a piece; True when it was the last and the view is now the snapshot's."""
        self._pieces.extend(piece.orders)
        if not piece.last:
            return False
        self.orders = {order.venue_id: order for order in self._pieces}
        self._pieces = []
        self.report = max(self.report, piece.report)
        return True

    def apply(self, copy: DropReport) -> None:
        """Take in a report; one that a snapshot already holds changes nothing."""
        if copy.old or copy.number <= self.report:
            return
        self.report = copy.number
        report = copy.report
        if report.kind in _ENDS or report.leaves_qty == 0:
            self.orders.pop(report.venue_id, None)
        else:
            self.orders[report.venue_id] = _working(copy, report)


def _working(copy: DropReport, report: ExecutionReport) -> WorkingOrder:
    return WorkingOrder(
        venue_id=report.venue_id,
        client_id=report.client_id,
        account=copy.account,
        session=copy.session,
        symbol=report.symbol,
        side=report.side,
        qty=report.qty,
        price=report.price,
        cumulative_qty=report.cumulative_qty,
        leaves_qty=report.leaves_qty,
        tif=report.tif,
        tags=report.tags,
    )


class DropCopyClient:
    """A drop copy session. One task calls `receive` in a loop; others may read `working_orders` and ask for `snapshot`."""

    def __init__(self, config: DropCopyConfig, clock: Clock) -> None:
        self.config = config
        self._clock = clock
        self._link: Link | None = None
        self._view = WorkingView()
        self._whole = False
        self._last_frame = 0
        self._last_report = -1
        self._ids = itertools.count(1)
        self._asked: dict[str, asyncio.Future[int]] = {}

    @property
    def ready(self) -> bool:
        """Connected, and the view is whole: without this, `working_orders` is not known."""
        return self._whole and self._link is not None and self._link.is_open

    @property
    def last_report(self) -> int:
        """The highest report number given out; hand it to `connect` to get what came in between (-1: none yet)."""
        return self._last_report

    def working_orders(self, scope: Scope | None = None, *, venue: str = "", hosts: Iterable[str] = ()) -> dict[str, WorkingOrder] | None:
        """Working orders by venue id, narrowed by scope and host tag; None while the view is not `ready`."""
        if not self.ready:
            return None
        wanted_hosts = frozenset(hosts)
        return {
            venue_id: order
            for venue_id, order in self._view.orders.items()
            if (not wanted_hosts or order.tags.host in wanted_hosts)
            and (scope is None or scope.covers(venue=venue, symbol=order.symbol, strategy=order.tags.strategy))
        }

    async def connect(self, *, after_report: int = -1) -> LoggedOn:
        """Log on and ask for the reports after `after_report`. Raises VenueUnreachable, LogonRejected, SessionLost."""
        await self.close()
        link = Link(
            self.config.url + PATH_DROP_COPY,
            timeouts=self.config.timeouts,
            frame=lambda item: frame(0, item.body),
            idle=lambda: frame(0, _ENCODE(Heartbeat())),
            queue_bytes_max=_QUEUE_BYTES_MAX,
        )
        await link.open()
        try:
            await link.write_now(frame(0, _ENCODE(self._logon(after_report))))
            _, answer = self._decode(await link.receive(self.config.timeouts.logon_s))
            if isinstance(answer, LogonRefused):
                raise LogonRejected(
                    f"logon refused: {answer.code.value} {answer.text}".strip(), code=answer.code.value, where=self.config.session
                )
            if not isinstance(answer, LoggedOn):
                raise BadMessage(f"{type(answer).__name__} came instead of an answer to the logon", where=self.config.session)
        except BaseException:
            await link.close()
            raise
        self._view, self._whole, self._last_frame = WorkingView(), False, 0
        link.start()
        self._link = link
        return answer

    async def receive(self) -> DropReport | DropSnapshot | Notice:
        """The next message, already taken into the view. A snapshot comes as its last piece.

        Raises SessionLost (ended, silent, or a message is missing), BadMessage; the session is then closed: connect again.
        """
        try:
            return await self._next()
        except VenueError:
            await self.close()
            raise

    async def _next(self) -> DropReport | DropSnapshot | Notice:
        while True:
            if self._link is None:
                raise SessionLost("not connected", where=self.config.session, next="connect first")
            seq, message = self._decode(await self._link.receive())
            reached = message.last_seq if isinstance(message, Heartbeat) else seq
            self._in_order(reached, counted=seq > 0)
            if isinstance(message, Notice):
                return message
            if isinstance(message, DropReport):
                self._view.apply(message)
                self._last_report = max(self._last_report, message.number)
                return message
            if isinstance(message, DropSnapshot) and self._view.snapshot(message):
                self._whole = True
                self._last_report = max(self._last_report, message.report)
                self._answer(message)
                return message

    async def snapshot(self, *, timeout_s: float) -> int:
        """Have the venue say afresh what works; the number of working orders then. `receive` must be running beside this.

        Raises SessionLost when it does not come in time: not known.
        """
        if self._link is None:
            raise SessionLost("not connected", where=self.config.session)
        request_id = f"s{self._clock.wall_ns()}-{next(self._ids)}"
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked[request_id] = waiting
        try:
            self._link.send(Queued(_ENCODE(SnapshotRequest(request_id=request_id))), always=True)
            async with asyncio.timeout(timeout_s):
                return await waiting
        except TimeoutError:
            raise SessionLost(f"no snapshot within {timeout_s} s", where=self.config.session, holds="what works is not known") from None
        finally:
            self._asked.pop(request_id, None)

    async def close(self) -> None:
        """Leave. Never raises; safe to repeat."""
        link, self._link, self._whole = self._link, None, False
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_exception(SessionLost("closed while waiting", where=self.config.session))
        if link is not None:
            await link.close()

    def _answer(self, snapshot: DropSnapshot) -> None:
        waiting = self._asked.get(snapshot.request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(len(self._view.orders))

    def _in_order(self, reached: int, *, counted: bool) -> None:
        expected = self._last_frame + 1 if counted else self._last_frame
        if reached != expected:
            raise SessionLost(
                f"message {reached} came, {expected} was due",
                where=self.config.session,
                holds="what works is not known",
                next="connect again",
            )
        self._last_frame = reached

    def _logon(self, after_report: int) -> DropLogon:
        config, now_ns = self.config, self._clock.wall_ns()
        claimed = "" if config.secret is None else proof(config.secret, session=config.session, account=config.account, time_ns=now_ns)
        return DropLogon(
            session=config.session,
            account=config.account,
            accounts=config.accounts,
            after_report=after_report,
            heartbeat_ms=max(10, int(config.timeouts.beat_s * 1000)),
            time_ns=now_ns,
            proof=claimed,
        )

    def _decode(self, data: bytes) -> tuple[int, DropDown]:
        try:
            return _DECODER.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadMessage(f"not a message of this protocol: {error}", where=self.config.session) from None
