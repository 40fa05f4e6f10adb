"""The connections: order entry and market data of each venue, kept up with growing pauses. What comes in goes to the bus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tradeops.base.clock import Clock
from tradeops.base.logs import event
from tradeops.trader.bus import Bus, FeedSaid, FeedSpoke, FeedUp, SessionDown, SessionUp, VenueSaid
from tradeops.wire.errors import VenueError
from tradeops.wire.marketdata import FeedClient
from tradeops.wire.session import OrderSession

_LOG = logging.getLogger("trader.session")
STANDS_BY = "down: stands by"
_BATCHES_PER_TURN = 32
"""Messages taken in one go before the rest of the process has its turn: cancels never wait behind quotes."""


class Pauses:
    """How long to wait before the next try: twice as long each time, up to a bound, short again after a success."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._next_s = first_s

    def next_s(self) -> float:
        """The pause now due."""
        pause, self._next_s = self._next_s, min(self._most_s, 2 * self._next_s)
        return pause

    def reset(self) -> None:
        """It worked."""
        self._next_s = self._first_s


class OrderLink:
    """One venue's order entry session, up while it is wanted. `status` is what the vitals say of it."""

    def __init__(
        self, venue: str, session: OrderSession, bus: Bus, pauses: Pauses, *, last_heard: Callable[[], int], turn: Callable[[], None]
    ) -> None:
        """last_heard: the venue's last message that is in the journal.  turn: called when messages were taken in."""
        self.venue = venue
        self.session = session
        self.status = STANDS_BY
        self._bus = bus
        self._pauses = pauses
        self._last_heard = last_heard
        self._turn = turn
        self._wanted = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._away = asyncio.Event()
        self._away.set()
        self._in_order = False

    def enter(self) -> None:
        """This process writes for the host: connect."""
        self._pauses.reset()
        self._unwanted.clear()
        self._away.clear()
        self._wanted.set()

    async def leave(self, *, in_order: bool) -> None:
        """It no longer does: be gone from the venue when this returns. What was not taken in is told again to who comes next.

        in_order: by a logout, which leaves at work what works; else as a connection that is lost.
        """
        self._in_order = in_order
        self._wanted.clear()
        self._unwanted.set()
        await self._away.wait()

    async def run(self) -> None:
        """Keep it up while it is wanted, until cancelled."""
        while True:
            self._away.set()
            await self._wanted.wait()
            serving = asyncio.create_task(self._keep_up(), name=self.venue)
            unwanted = asyncio.create_task(self._unwanted.wait())
            try:
                await asyncio.wait({serving, unwanted}, return_when=asyncio.FIRST_COMPLETED)
                if serving.done():
                    serving.result()
            finally:
                for one in (serving, unwanted):
                    one.cancel()
                await asyncio.gather(serving, unwanted, return_exceptions=True)
            if self._in_order:
                await self._log_out()
            await self.session.close()
            if self.status == "up":
                self._bus.publish(SessionDown(self.venue))
            self.status = STANDS_BY

    async def _log_out(self) -> None:
        """A logout without an answer leaves it to the drop copy what works, and to the next session to ask."""
        try:
            event(_LOG, logging.INFO, "logged_out", venue=self.venue, kept=await self.session.logout())
        except VenueError as error:
            event(_LOG, logging.WARNING, "logout_unanswered", venue=self.venue, what=error.what, where=error.where)

    async def _keep_up(self) -> None:
        while True:
            try:
                await self._serve()
            except VenueError as error:
                self._lost(error)
            await asyncio.sleep(self._pauses.next_s())

    async def _serve(self) -> None:
        opened = await self.session.connect(last_seq=self._last_heard())
        self.status = "up"
        self._pauses.reset()
        self._bus.publish(SessionUp(self.venue, opened))
        taken = 0
        while True:
            self._bus.publish(VenueSaid(self.venue, await self.session.receive()))
            self._turn()
            taken += 1
            if taken % _BATCHES_PER_TURN == 0:
                await asyncio.sleep(0)

    async def close(self) -> None:
        """Leave. Never raises."""
        await self.session.close()

    def _lost(self, error: VenueError) -> None:
        if self.status == "up":
            self._bus.publish(SessionDown(self.venue))
        status = f"down: {error.what}"
        if status != self.status:
            event(_LOG, logging.WARNING, "session_down", venue=self.venue, what=error.what, where=error.where)
        self.status = status


class FeedLink:
    """One venue's market data. Silence is not loss: the feed's age tells."""

    def __init__(
        self, venue: str, client: FeedClient, symbols: tuple[str, ...], bus: Bus, pauses: Pauses, clock: Clock, *, turn: Callable[[], None]
    ) -> None:
        self.venue = venue
        self.status = "down: not subscribed yet"
        self._client = client
        self._symbols = symbols
        self._bus = bus
        self._pauses = pauses
        self._clock = clock
        self._turn = turn
        self._heard = 0

    async def run(self) -> None:
        """Keep it up until cancelled."""
        while True:
            try:
                await self._serve()
            except VenueError as error:
                status = f"down: {error.what}"
                if status != self.status:
                    event(_LOG, logging.WARNING, "feed_down", venue=self.venue, what=error.what, where=error.where)
                self.status = status
            await asyncio.sleep(self._pauses.next_s())

    def look(self, now_ns: int) -> None:
        """Tell of frames without data (a quiet market beats) since the last look."""
        if self._client.heard != self._heard:
            self._heard = self._client.heard
            self._bus.publish(FeedSpoke(self.venue, now_ns))

    async def close(self) -> None:
        """Leave. Never raises."""
        await self._client.close()

    async def _serve(self) -> None:
        subscribed = await self._client.subscribe(self._symbols)
        self.status = "up"
        self._pauses.reset()
        self._bus.publish(FeedUp(self.venue, subscribed))
        taken = 0
        while True:
            tick = await self._client.receive()
            self._bus.publish(FeedSaid(self.venue, tick, self._clock.monotonic_ns()))
            self._turn()
            taken += 1
            if taken % _BATCHES_PER_TURN == 0:
                await asyncio.sleep(0)
