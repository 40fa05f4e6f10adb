"""A guard inside the test's own event loop, with a trader that is only its vitals, beside a real venue."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tests.support.guardhost import RELEASE, GuardHost
from tests.support.venue import VenueUnderTest, until
from tradeops.base.clock import Clock, SystemClock
from tradeops.base.digest import digest_bytes
from tradeops.contracts.binding import Venue
from tradeops.contracts.codec import encode
from tradeops.contracts.directive import DirectiveReply, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.identity import Identity
from tradeops.contracts.pages import StopPage, VitalsWriter
from tradeops.contracts.status import Mark, Vitals
from tradeops.guard.core import Guard
from tradeops.guard.directing import direct
from tradeops.guard.process import start_ticks
from tradeops.guard.site import read_host


@dataclass
class GuardRoom:
    """`vitals` is what the trader says; it acknowledges by itself unless `acks` is False."""

    host: GuardHost
    guard: Guard
    vitals: Vitals
    acks: bool = True
    _writer: VitalsWriter = field(init=False)

    def __post_init__(self) -> None:
        self._writer = VitalsWriter(self.host.layout.vitals_page("blue"))

    def tell(self, **words: Any) -> None:
        """Change what the trader says."""
        self.vitals = msgspec.structs.replace(self.vitals, **words)

    async def beat(self) -> None:
        """The trader's loop."""
        clock = SystemClock()
        page = StopPage(self.host.layout.stop_page, writable=False)
        while True:
            words = page.read()
            if words is not None and self.acks:
                self.tell(ack_epoch=words.epoch, ack_latch=words.latch)
            self._writer.write(msgspec.structs.replace(self.vitals, beat_ns=clock.monotonic_ns()))
            await asyncio.sleep(0.005)

    async def post(self, envelope: Envelope, *, wait_ms: int = 2000) -> DirectiveReply:
        """As the API would."""
        now_ns = self.guard.clock.monotonic_ns()
        _, reply = await direct(self.guard, envelope, certified=True, received_ns=now_ns, wait_ms=wait_ms)
        return reply

    async def permit(self) -> None:
        """Arm it."""
        ends = tuple(mark.id for mark in self.marks())
        reply = await self.post(self.host.people.permit(*ends))
        assert reply.accepted, reply

    async def kill(self, **changes: Any) -> DirectiveReply:
        """By the operator."""
        return await self.post(self.host.people.say(Verb.KILL, **changes))

    def marks(self) -> tuple[Mark, ...]:
        """Those that stand."""
        return self.guard.memory.state.marks

    def trading(self) -> bool:
        """What the page says."""
        return self.guard.memory.stop.words.may_send


@contextlib.asynccontextmanager
async def guarding(
    folder: Path, venue: VenueUnderTest | None, *, clock: Clock | None = None, held: Mapping[str, int] | None = None
) -> AsyncIterator[GuardRoom]:
    """A guard of host-1, armed, connected to `venue` as account acc-1. held: what the trader has when the guard starts."""
    venues: tuple[Venue, ...] = ()
    if venue is not None:
        venues = (Venue("sim", venue.url("orders"), venue.url("market_data"), venue.url("drop_copy"), "acc-1"),)
    host = GuardHost(folder, venues=venues)
    guard = Guard(host.layout, read_host(host.layout), clock or SystemClock())
    pid = os.getpid()
    identity = Identity("trader", RELEASE, digest_bytes(encode(host.binding())), 0, "blue", pid, start_ticks(pid) or 0, 1, {})
    vitals = Vitals(identity, 0, "ready", 0, 0, 0, 0, {"sim": "up"}, {"sim": 1}, {}, {"signals_total": 0}, {}, {}, {"order_value": 1})
    room = GuardRoom(host, guard, msgspec.structs.replace(vitals, positions=dict(held or {})))
    tasks = [asyncio.create_task(guard.run()), asyncio.create_task(room.beat())]
    try:
        await until(lambda: all(desk.ready and not desk.problems for desk in guard.desks.values()) and bool(guard.desks) == bool(venues))
        await until(lambda: guard.trader.fresh() is True)
        yield room
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result
