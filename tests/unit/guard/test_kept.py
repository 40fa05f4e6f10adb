"""A guard whose host runs a service that is not ours: permitted while nothing runs, never tripped by that, told by its keeper's page."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.support.guardhost import RELEASE, GuardHost
from tests.support.venue import run, until
from tradeops.base.clock import SystemClock
from tradeops.base.digest import digest_bytes
from tradeops.contracts.codec import encode
from tradeops.contracts.directive import DirectiveReply, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.identity import Identity
from tradeops.contracts.pages import VitalsWriter
from tradeops.contracts.status import Vitals
from tradeops.guard.core import Guard
from tradeops.guard.directing import direct
from tradeops.guard.process import start_ticks
from tradeops.guard.site import read_host
from tradeops.guard.views import health_of, status_of

CLOCK = SystemClock()


class Kept:
    """The guard of such a host; processes: what a scan finds of the service."""

    def __init__(self, folder: Path) -> None:
        self.host = GuardHost(folder)
        self.host.write_host(identity="url")
        self.processes: tuple[int, ...] = ()
        self.guard = Guard(self.host.layout, read_host(self.host.layout), CLOCK, scan=lambda _: self.processes, beat_s=0.01)

    async def post(self, envelope: Envelope) -> DirectiveReply:
        """As the API would."""
        _, reply = await direct(self.guard, envelope, certified=True, received_ns=CLOCK.monotonic_ns(), wait_ms=200)
        return reply

    async def permit(self) -> DirectiveReply:
        """By both people."""
        return await self.post(self.host.people.permit(*(mark.id for mark in self.guard.memory.state.marks)))

    def keep(self, writer: VitalsWriter, pid: int) -> None:
        """What its keeper passes on."""
        binding = digest_bytes(encode(self.host.binding()))
        identity = Identity("web", RELEASE, binding, 0, "blue", pid, start_ticks(pid) or 0, 1)
        writer.write(Vitals(identity, CLOCK.monotonic_ns(), "ready", 0, 0, 0, 0, {}, {}, {}, {}, {}, {}, {}))


def test_it_may_run_or_not_while_it_is_permitted(tmp_path: Path) -> None:
    """K06, K07: nothing runs, then something, then nothing again: the permit stands, and a kill ends it as ever."""

    async def story() -> None:
        kept = Kept(tmp_path)
        guard = kept.guard
        task = asyncio.create_task(guard.run())
        try:
            await until(lambda: bool(guard.memory.stop.epoch))
            kept.processes = (1,)
            assert (await kept.permit()).code == "not_proved"
            kept.processes = ()
            await asyncio.sleep(0.06)
            assert (await kept.permit()).accepted
            assert guard.memory.stop.words.may_send and not status_of(guard).trading and not health_of(guard).healthy
            writer = VitalsWriter(kept.host.layout.vitals_page("blue"))
            kept.processes = (os.getpid(),)
            kept.keep(writer, os.getpid())
            assert status_of(guard).trading and health_of(guard).healthy
            kept.keep(writer, 4_194_303)
            kept.processes = ()
            beat = guard.memory.stop.silent_ns
            await until(lambda: beat(CLOCK.monotonic_ns()) < 10**8)
            assert guard.memory.state.marks == () and guard.memory.stop.words.may_send
            killed = await kept.post(kept.host.people.say(Verb.KILL))
            assert killed.accepted and killed.blocked and not guard.memory.stop.words.may_send
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(story())
