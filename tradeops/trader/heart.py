"""The loop's own beat: looks at the stop page, lets everybody act on the time, writes the vitals. The hot loop itself does it."""

from __future__ import annotations

import asyncio
import logging

from tradeops.base.errors import TradeopsError
from tradeops.base.logs import event
from tradeops.trader.assembly import Rooms
from tradeops.trader.bus import Looked
from tradeops.trader.config import ns
from tradeops.trader.journal import Journal, JournalError
from tradeops.trader.terms import problems

_LOG = logging.getLogger("trader")
_OVERLAY_EVERY_NS = 100_000_000
_CHECKPOINT_EVERY_NS = 2_000_000_000
_TERMS = ("flags", "limits", "budgets", "symbols")
"""Reasons to be halted that depend on the overlay: judged anew with each."""


class Heart:
    """One beat every few milliseconds; between beats `turn` is called whenever messages came in."""

    def __init__(self, rooms: Rooms, *, look_every_s: float, vitals_every_s: float) -> None:
        self.rooms = rooms
        self._look_every_s = look_every_s
        self._vitals_every_ns = ns(vitals_every_s)
        self._vitals_ns = 0
        self._overlay_ns = 0
        self._checkpoint_ns = rooms.clock.monotonic_ns()
        self._checkpoint: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._turning = False

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(self._look_every_s)

    def beat(self) -> None:
        """One look at the page and at the time."""
        rooms = self.rooms
        verdict = rooms.gate.look()
        now_ns = rooms.clock.monotonic_ns()
        for link in rooms.feeds:
            link.look(now_ns)
        self._read_overlay(now_ns)
        rooms.bus.publish(Looked(verdict, now_ns))
        self.flush()
        self._give_back()
        if now_ns - self._vitals_ns >= self._vitals_every_ns:
            self.write_vitals()
        if now_ns - self._checkpoint_ns >= _CHECKPOINT_EVERY_NS:
            self._start_checkpoint(now_ns)

    def turn(self) -> None:
        """Messages came in: decide and write down once for all that came in this turn of the loop."""
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        self.rooms.engine.decide()
        self.flush()

    def flush(self) -> None:
        """Make the journal durable; one that fails halts, until it takes everything again."""
        standing = self.rooms.standing
        try:
            self.rooms.ledger.commit()
        except JournalError as error:
            standing.halt("journal", str(error))
        else:
            standing.withdraw("journal")

    def write_vitals(self) -> None:
        """Publish the vitals now."""
        self._vitals_ns = self.rooms.clock.monotonic_ns()
        self.rooms.write_vitals(self.rooms.engine.verdict)

    async def drain(self, most_s: float) -> None:
        """Take back what works and wait for the venue's word, but no longer than `most_s`."""
        rooms = self.rooms
        rooms.standing.stopping = True
        event(_LOG, logging.INFO, "draining", working=rooms.ledger.orders.open_count)
        deadline_ns = rooms.clock.monotonic_ns() + ns(most_s)
        while rooms.tenure.writes and rooms.ledger.orders.open_count and rooms.clock.monotonic_ns() < deadline_ns:
            self.beat()
            await asyncio.sleep(self._look_every_s)

    def last_words(self) -> None:
        """What the vitals say of a process that is gone."""
        self.rooms.standing.stopping = True
        self.flush()
        self.write_vitals()

    def _give_back(self) -> None:
        """Leave the venues, then let the journal go, once the token is elsewhere and nothing of this process is on its way."""
        if self._leaving is not None and self._leaving.done():
            self._leaving.result()
            self._leaving = None
        if self.rooms.tenure.leaving and self._leaving is None:
            self._leaving = asyncio.create_task(self._leave(), name="leave")

    async def _leave(self) -> None:
        for link in self.rooms.orders:
            await link.leave(in_order=self.rooms.tenure.keeps)
        self.rooms.tenure.left()
        self.write_vitals()

    def _read_overlay(self, now_ns: int) -> None:
        if now_ns - self._overlay_ns < _OVERLAY_EVERY_NS:
            return
        self._overlay_ns = now_ns
        rooms = self.rooms
        try:
            changed = rooms.overlays.look()
        except TradeopsError as error:
            rooms.standing.halt("overlay", str(error))
            return
        rooms.standing.withdraw("overlay")
        if changed:
            rooms.set_overlay(rooms.overlays.current)
            found = problems(rooms.mandate, rooms.config, rooms.overlays.current)
            for name in _TERMS:
                if name in found:
                    rooms.standing.halt(name, found[name])
                else:
                    rooms.standing.withdraw(name)

    def _start_checkpoint(self, now_ns: int) -> None:
        """In a thread of its own: a checkpoint waits for the disk, and the loop must not."""
        self._checkpoint_ns = now_ns
        journal = self.rooms.tenure.journal
        if journal is not None and (self._checkpoint is None or self._checkpoint.done()):
            self._checkpoint = asyncio.create_task(self._run_checkpoint(journal), name="checkpoint")

    async def _run_checkpoint(self, journal: Journal) -> None:
        try:
            await asyncio.to_thread(journal.checkpoint)
        except JournalError as error:
            event(_LOG, logging.WARNING, "checkpoint_failed", what=str(error))
