"""What follows a stop, in fixed order (K02): the page says so already; then acknowledged, cancelled, confirmed. Tried until clear."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from tradeops.base.clock import NS_PER_MS, Clock
from tradeops.base.logs import event
from tradeops.contracts.directive import OrderOutcomes, Scope
from tradeops.guard.venue import VenueDesk
from tradeops.wire.cancel import CancelOutcome, outcomes
from tradeops.wire.errors import VenueError
from tradeops.wire.protocol import WorkingOrder

_LOG = logging.getLogger("guard.killing")
_POLL_S: Final = 0.002
_ACK_WAIT_MS: Final = 100.0
"""How long the trader may take to cancel in its own session before the guard cancels beside it."""
_CANCEL_TIMEOUT_S: Final = 2.0
_RETRY_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
END_AFTER_MS: Final = 300.0
"""How long a trader may fail to acknowledge a kill before it is ended."""


@dataclass
class Progress:
    """How far one stop has come. Times in ms from receipt; None: not yet."""

    id: str
    scope: Scope
    received_ns: int
    blocked_ms: float | None = None
    clear_ms: float | None = None
    working: int | None = None
    outcome: CancelOutcome = field(default_factory=lambda: CancelOutcome((), (), (), ()))
    problems: dict[str, str] = field(default_factory=dict)

    def orders(self) -> OrderOutcomes:
        """The numbers alone."""
        return self.outcome.counts()


@dataclass(frozen=True)
class Means:
    """What a stop acts with. blocked: is it proved that no order can leave. end_trader: the last resort, None where it
    is not to be used; gives what went wrong. stands: whether the stop is still in force. venues_known: whether every venue is listened to.
    """

    clock: Clock
    blocked: Callable[[], bool]
    desks: Callable[[], Iterable[VenueDesk]]
    venues_known: Callable[[], bool]
    stands: Callable[[], bool]
    end_trader: Callable[[], Awaitable[str]] | None


class Killing:
    """One stop on its way to clear."""

    def __init__(self, progress: Progress, means: Means) -> None:
        self.progress = progress
        self._means = means
        self._before: dict[tuple[str, str], WorkingOrder] = {}
        self._refused: dict[str, frozenset[str]] = {}
        self._recordings: dict[VenueDesk, int] = {}
        self._blocked = asyncio.Event()
        self._ended = False
        self._note_working()

    async def run(self) -> None:
        """Until blocked and clear, or until the stop no longer stands."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._until_blocked())
                tasks.create_task(self._until_clear())
        finally:
            self._ended = True
            for desk, recording in self._recordings.items():
                desk.forget(recording)

    async def wait_blocked(self, timeout_s: float) -> bool:
        """Whether it is blocked within that time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._blocked.wait()
        except TimeoutError:
            return False
        return True

    def _elapsed_ms(self) -> float:
        return (self._means.clock.monotonic_ns() - self.progress.received_ns) / NS_PER_MS

    def check_blocked(self) -> bool:
        """Look once, and note the first time that it is."""
        if self.progress.blocked_ms is None and self._means.blocked():
            self.progress.blocked_ms = self._elapsed_ms()
            self._blocked.set()
        return self.progress.blocked_ms is not None

    async def _until_blocked(self) -> None:
        ended = self._means.end_trader is None
        while not self.check_blocked() and self._means.stands():
            late = self._elapsed_ms() > END_AFTER_MS
            if late and not ended and self._means.end_trader is not None:
                ended = True
                self._note("ending the trader", await self._means.end_trader())
            await asyncio.sleep(_POLL_S if self._elapsed_ms() < 2_000 else 0.1)

    async def _until_clear(self) -> None:
        while self.progress.blocked_ms is None and self._elapsed_ms() < _ACK_WAIT_MS:
            await asyncio.sleep(_POLL_S)
        tries = 0
        while self._means.stands():
            self._note_working()
            if self.confirm_clear():
                return
            await asyncio.gather(*(self._cancel(desk) for desk in self._means.desks()))
            if self.confirm_clear():
                return
            await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
            tries += 1

    async def _cancel(self, desk: VenueDesk) -> None:
        """Once, out of band; what the venue says is not believed, the drop copy is asked."""
        scope, name = self.progress.scope, desk.venue.name
        if scope.venues and name not in scope.venues:
            return
        try:
            done = await desk.cancel(scope, timeout_s=_CANCEL_TIMEOUT_S)
            self._refused[name] = frozenset(done.refused)
            self._note(f"{name}: refused", ", ".join(done.refused[:20]) or done.text if done.refused or done.code else "")
            await desk.fresh_snapshot(timeout_s=_CANCEL_TIMEOUT_S)
            self._note(name, "")
        except VenueError as error:
            self._note(name, str(error))

    def _note(self, what: str, problem: str) -> None:
        if problem and self.progress.problems.get(what) != problem:
            event(_LOG, logging.WARNING, "stop not done yet", id=self.progress.id, what=what, problem=problem)
        if problem:
            self.progress.problems[what] = problem
        else:
            self.progress.problems.pop(what, None)

    def _note_working(self) -> None:
        """Every order seen working since the stop came is one whose end is to be told (K08)."""
        for desk in self._means.desks():
            if desk not in self._recordings:
                self._recordings[desk] = desk.record()
            for venue_id, order in (desk.working(self.progress.scope) or {}).items():
                self._before[desk.venue.name, venue_id] = order

    def confirm_clear(self) -> bool:
        """Whether every drop copy shows nothing of this scope at work, and nothing more can leave; notes the counts."""
        progress, desks = self.progress, list(self._means.desks())
        if self._ended or progress.clear_ms is not None:
            return progress.clear_ms is not None
        counts = [self._count(desk) for desk in desks]
        known = self._means.venues_known() and None not in counts
        progress.working = sum(count or 0 for count in counts) if known else None
        progress.outcome = self._outcome(desks)
        if progress.working == 0 and progress.blocked_ms is not None and progress.clear_ms is None:
            progress.clear_ms = self._elapsed_ms()
        return progress.clear_ms is not None

    def _count(self, desk: VenueDesk) -> int | None:
        working = desk.working(self.progress.scope)
        return None if working is None else len(working)

    def _outcome(self, desks: list[VenueDesk]) -> CancelOutcome:
        parts = []
        for desk in desks:
            name = desk.venue.name
            before = [order for (venue, _), order in self._before.items() if venue == name]
            reports = desk.recorded(self._recordings[desk]) if desk in self._recordings else []
            parts.append(outcomes(before, desk.working(self.progress.scope), reports, self._refused.get(name, frozenset())))
        return CancelOutcome(
            tuple(order for part in parts for order in part.cancelled),
            tuple(order for part in parts for order in part.filled),
            tuple(order for part in parts for order in part.rejected),
            tuple(order for part in parts for order in part.unknown),
        )
