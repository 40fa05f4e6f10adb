"""The guard's own sessions with one venue: the drop copy, which alone says what works, and a session that can only cancel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from tradeops.base.clock import Clock
from tradeops.base.errors import TradeopsError
from tradeops.base.logs import event
from tradeops.contracts.binding import Venue
from tradeops.contracts.directive import Scope
from tradeops.wire.cancel import OutOfBand
from tradeops.wire.dropcopy import DropCopyClient, DropCopyConfig
from tradeops.wire.errors import VenueError
from tradeops.wire.link import Timeouts
from tradeops.wire.protocol import CancelAllDone, DropReport, DropSnapshot, ExecKind, Side, WorkingOrder
from tradeops.wire.session import SessionConfig

_LOG = logging.getLogger("guard.venue")
_BACKOFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
_TIMEOUTS: Final = Timeouts(connect_s=2.0, logon_s=2.0, beat_s=0.5, silence_s=2.0)
REPORTS_KEPT_MAX: Final = 200_000
ENDED_KEPT_MAX: Final = 10_000


class VenueDesk:
    """One venue of this host. `run` keeps both sessions up; everything else reads what they brought.

    ended: client ids of the last orders whose end it told.  memory: rises when the venue has forgotten reports that we have: sums
    of ours and its own no longer compare.
    """

    def __init__(self, venue: Venue, *, host: str, secret: bytes | None, clock: Clock) -> None:
        self.venue = venue
        self._host = host
        drop = DropCopyConfig(venue.drop_copy, f"{host}-drop-copy", venue.account, (), secret, _TIMEOUTS)
        self._clock = clock
        self._venue_clock: tuple[int, int] | None = None
        self._drop = DropCopyClient(drop, clock)
        self._cancel = OutOfBand(SessionConfig(venue.order_entry, f"{host}-guard", venue.account, secret, timeouts=_TIMEOUTS), clock)
        self._connecting = asyncio.Lock()
        self.orders_out = 0
        self.filled: dict[str, int] = {}
        self.ended: dict[str, None] = {}
        self.problems: dict[str, str] = {"drop copy": "not connected yet", "cancel session": "not connected yet"}
        self.memory = 0
        self._recordings: dict[int, list[DropReport]] = {}
        self._recording_ids = 0
        self.changed = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether the drop copy is whole: without it nothing is known about what works."""
        return self._drop.ready

    def clock_offset_ns(self) -> int | None:
        """How far this host's clock is ahead of the venue's as it was at the last logon; None: never told."""
        if self._venue_clock is None:
            return None
        venue_ns, then_ns = self._venue_clock
        return self._clock.wall_ns() - (venue_ns + self._clock.monotonic_ns() - then_ns)

    def working(self, scope: Scope | None = None) -> dict[str, WorkingOrder] | None:
        """This host's working orders by venue id; None: not known."""
        return self._drop.working_orders(scope, venue=self.venue.name, hosts=(self._host,))

    def record(self) -> int:
        """From now on keep every report of this host; the number to ask for them with."""
        self._recording_ids += 1
        self._recordings[self._recording_ids] = []
        return self._recording_ids

    def recorded(self, recording: int) -> list[DropReport]:
        """What came since `record`."""
        return self._recordings.get(recording, [])

    def forget(self, recording: int) -> None:
        """Keep no more of it."""
        self._recordings.pop(recording, None)

    async def cancel(self, scope: Scope, *, timeout_s: float) -> CancelAllDone:
        """Cancel out of band what `scope` names of this host. Raises VenueError: not done, or not known; safe to repeat."""
        await self._connect_cancel()
        return await self._cancel.cancel_all(symbols=scope.symbols, strategies=scope.strategies, hosts=(self._host,), timeout_s=timeout_s)

    async def fresh_snapshot(self, *, timeout_s: float) -> None:
        """Have the venue say afresh what works. Raises VenueError."""
        await self._drop.snapshot(timeout_s=timeout_s)

    async def run(self) -> None:
        """Both sessions, for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._again_and_again("drop copy", self._follow))
                tasks.create_task(self._again_and_again("cancel session", self._stand_by))
        finally:
            await self._drop.close()
            await self._cancel.close()

    async def _again_and_again(self, name: str, session: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        tries = 0

        def up() -> None:
            nonlocal tries
            tries = 0

        while True:
            try:
                await session(up)
            except TradeopsError as error:
                if str(error) != self.problems.get(name):
                    event(_LOG, logging.WARNING, "venue session", venue=self.venue.name, session=name, problem=str(error))
                self.problems[name] = str(error)
            self.changed.set()
            await asyncio.sleep(_BACKOFF_S[min(tries, len(_BACKOFF_S) - 1)])
            tries += 1

    async def _follow(self, up: Callable[[], None]) -> None:
        before = self._drop.last_report
        logged_on = await self._drop.connect(after_report=before)
        self._venue_clock = (logged_on.venue_ns, self._clock.monotonic_ns())
        up()
        while True:
            message = await self._drop.receive()
            if isinstance(message, DropReport):
                self._take(message)
            elif isinstance(message, DropSnapshot) and message.report < before:
                self.memory += 1
                before = message.report
            if self._drop.ready:
                self.problems.pop("drop copy", None)
            self.changed.set()

    async def _stand_by(self, up: Callable[[], None]) -> None:
        await self._connect_cancel()
        up()
        self.problems.pop("cancel session", None)
        while self._cancel.is_open:
            await asyncio.sleep(0.2)
        raise VenueError("the cancel session ended", where=self.venue.name)

    async def _connect_cancel(self) -> None:
        """One at a time: a stop and the keeper of the session may both want it up."""
        async with self._connecting:
            if not self._cancel.is_open:
                await self._cancel.connect()

    def _take(self, message: DropReport) -> None:
        report = message.report
        if report.tags.host != self._host:
            return
        if report.kind in (ExecKind.NEW, ExecKind.CHANGED):
            self.orders_out += 1
        if report.last_qty:
            signed = report.last_qty if report.side is Side.BUY else -report.last_qty
            self.filled[report.symbol] = self.filled.get(report.symbol, 0) + signed
        if not report.leaves_qty:
            self.ended[report.client_id] = None
            if len(self.ended) > ENDED_KEPT_MAX:
                del self.ended[next(iter(self.ended))]
        for kept in self._recordings.values():
            if len(kept) < REPORTS_KEPT_MAX:
                kept.append(message)
