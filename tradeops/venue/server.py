"""The venue's composition root: one process, four ports, a feed that never stops by itself."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from aiohttp import web

from tradeops.base.clock import Clock
from tradeops.base.errors import ConfigError, UsageError
from tradeops.base.logs import event
from tradeops.venue.config import GeneratedFeed, VenueConfig
from tradeops.venue.control import Control
from tradeops.venue.doors import Desk, Door
from tradeops.venue.dropcopy import DropCopy
from tradeops.venue.engine import Exchange, Print, Symbol
from tradeops.venue.faults import Faults
from tradeops.venue.feed import Feed, Generated, Replay
from tradeops.venue.floor import Floor
from tradeops.venue.journal import Journal
from tradeops.venue.members import Members
from tradeops.venue.publisher import BACKLOG_BYTES_MAX, Publisher
from tradeops.venue.sessions import Sessions
from tradeops.wire.protocol import PATH_DROP_COPY, PATH_MARKET_DATA, PATH_ORDERS

_LOG = logging.getLogger("venue")
_UNPACED_POLL_S: Final = 0.001


class Venue:
    """All of it. `start` opens the ports, `close` ends everything; between them `run_feed` is to run."""

    def __init__(self, config: VenueConfig, clock: Clock) -> None:
        """Raises ConfigError (a secret, the journal or the recording cannot be opened)."""
        self._config = config
        self.faults = Faults()
        members = Members([account.account() for account in config.accounts], self.faults)
        symbols = [Symbol(one.symbol, one.tick, one.lot, one.price) for one in config.symbols]
        self.exchange = Exchange(symbols, faults=self.faults, self_trade=config.self_trade, orders_max=config.orders_max)
        self._prints: list[Print] = []
        self.exchange.on_print = self._prints.append
        kept = config.keep_on_logout
        sessions = Sessions(config.name, members, self.faults, history_max=config.history_max, keep_on_logout=kept)
        drop_copy = DropCopy(config.name, members, self.faults, history_max=config.history_max)
        self.floor = Floor(self.exchange, sessions, drop_copy, members, _journal(config), clock)
        self._feed = _feed(config, self.exchange, clock)
        self._publisher = Publisher(config.name, self._feed.source, self.exchange, self.faults, clock)
        self._desk = Desk(self.floor, self._publisher, clock, logon_s=config.logon_timeout)
        self.doors = {
            name: Door(name, path, handler, self.faults, clock, queue_bytes_max=config.member_queue_max)
            for name, path, handler in (
                ("orders", PATH_ORDERS, self._desk.orders),
                ("market_data", PATH_MARKET_DATA, self._desk.market_data),
                ("drop_copy", PATH_DROP_COPY, self._desk.drop_copy),
            )
        }
        control = Control(self.floor, self.faults, self.doors, listen=config.listen)
        self._control = web.AppRunner(control.app(), access_log=None, shutdown_timeout=0.1)

    async def start(self) -> dict[str, int]:
        """Open every port; name -> number. Raises ConfigError when one is taken."""
        ports = self._config.ports
        try:
            for name, door in self.doors.items():
                await door.open(self._config.listen, getattr(ports, name))
            await self._control.setup()
            await web.TCPSite(self._control, self._config.control_listen, ports.control).start()
        except OSError as error:
            await self.close()
            raise ConfigError(f"cannot listen: {error}", next="give another port, or 0 for any free one") from None
        return {**{name: door.port for name, door in self.doors.items()}, "control": self._control.addresses[0][1]}

    async def run_feed(self) -> None:
        """Prices, for ever; a recording that has ended is followed by silence with heartbeats."""
        if not isinstance(self._feed, Generated):
            await self._desk.subscribed.wait()
        while True:
            halted = self._publisher.halts()
            try:
                turn = self._feed.turn(halted)
            except UsageError as error:
                event(_LOG, logging.ERROR, "the recording is damaged: no more prices", error=str(error))
                turn = None
            if turn is not None:
                self.floor.publish(turn.routed)
                self._prints.extend(turn.trades)
                self._publisher.publish(turn.tops, self._prints)
            self._prints.clear()
            self.floor.journal.flush()
            await self._pause(ended=turn is None)

    async def close(self) -> None:
        """End everything. Safe to repeat."""
        for door in self.doors.values():
            await door.close()
        await self._control.cleanup()
        self.floor.journal.close()

    async def _pause(self, *, ended: bool) -> None:
        if self._feed.paced or ended:
            await asyncio.sleep(self._config.feed_batch)
            return
        await asyncio.sleep(0)
        while any(one.channel.waiting_bytes > BACKLOG_BYTES_MAX // 2 for one in self._publisher.subscribers):
            await asyncio.sleep(_UNPACED_POLL_S)


def _journal(config: VenueConfig) -> Journal:
    try:
        return Journal(entries_max=config.journal_entries_max, file=config.journal_file)
    except OSError as error:
        raise ConfigError(f"the journal cannot be opened: {error}", where=str(config.journal_file)) from None


def _feed(config: VenueConfig, exchange: Exchange, clock: Clock) -> Feed:
    if isinstance(config.feed, GeneratedFeed):
        return Generated(exchange, config.feed, config.seed, clock)
    try:
        return Replay(exchange, config.feed, clock)
    except OSError as error:
        raise ConfigError(f"the recording cannot be read: {error}", where=str(config.feed.file)) from None
