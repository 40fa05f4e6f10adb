"""State in force and stop page, kept in step. Stopping is done first and recorded afterwards; permitting the other way round."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from tradeops.base.clock import NS_PER_MS, Clock
from tradeops.base.logs import event
from tradeops.contracts.layout import SLOTS
from tradeops.contracts.pages import NARROWING_BYTES_MAX, UNNARROWED, Narrowing
from tradeops.guard import marks
from tradeops.guard.admit import Refusal
from tradeops.guard.marks import Decision, Now
from tradeops.guard.state import State, Store
from tradeops.guard.stop import StopKeeper, Words

_LOG = logging.getLogger("guard.memory")
_RETRY_S: Final = 0.5
SILENT_NS: Final = 1_500 * NS_PER_MS
"""A guard that was frozen for so long may have been taken for dead: gates believe it again under a new epoch only."""


class Memory:
    """`state` is in force; it is on the disk as well once `durable` says so."""

    def __init__(self, store: Store, stop: StopKeeper, clock: Clock, *, silent_ns: int = SILENT_NS) -> None:
        self.store = store
        self.stop = stop
        self.state = State()
        self.problems: dict[str, str] = {}
        self._clock = clock
        self._silent_ns = silent_ns
        self._saving = asyncio.Lock()
        self._dirty = asyncio.Event()
        self._durable = asyncio.Event()

    def now(self) -> Now:
        """Both clocks."""
        return Now(self._clock.wall_ns(), self._clock.monotonic_ns())

    def boot(self) -> None:
        """Take up what an earlier guard left. Whatever is lost or does not fit together: no permit (K06)."""
        now = self.now()
        loaded = self.store.load()
        state = loaded.state or marks.disarm(State(), loaded.problem, "guard", now)
        found, problem = self.stop.open()
        if found is not None and found.token.number > state.token:
            active = found.token.slot if found.token.slot in SLOTS else state.active
            state = replace(state, token=found.token.number, active=active)
            problem = loaded.problem or "the stop page knows a newer activation than the state"
        elif problem:
            self._mend_page(state)
        elif found is not None and not found.may_send and found.epoch >= state.epoch and marks.trading(state, now):
            problem = f"the stop page was stopped at epoch {found.epoch}, and the state does not say why"
        if problem and state.permit is not None:
            state = marks.disarm(state, problem, "guard", now)
        state = marks.take_back_kept(marks.pass_time(state, now), "the guard was started anew")
        self.state = replace(state, epoch=max(self.stop.epoch, state.epoch) + 1)
        self._dirty.set()
        self._try_to_write(lambda: self.stop.begin(words_of(self.state, now), epoch=self.state.epoch, beat_ns=now.monotonic_ns))

    def reduce(self, state: State) -> None:
        """What can only stop: in force at once, on the disk as soon as the disk lets it."""
        if state is self.state:
            return
        self._install(state)
        self._durable.clear()
        self._dirty.set()

    async def add(self, decide: Callable[[State], Decision]) -> Decision:
        """What may let trade: on the disk first, and only if nothing came in between. Raises Refusal."""
        while True:
            base = self.state
            decision = decide(base)
            candidate = self._numbered(decision.state)
            async with self._saving:
                if self.state is not base:
                    continue
                try:
                    await asyncio.to_thread(self.store.save, candidate)
                except OSError as error:
                    self._dirty.set()
                    raise Refusal(
                        "not_durable", f"it cannot be written down: {error}", "make room on the host's disk", status=503
                    ) from None
                if self.state is base:
                    self._install(candidate)
                    if self.state != candidate:
                        self._dirty.set()
                    return decision
                self._dirty.set()

    def beat(self) -> str:
        """Say that the guard lives; what was damaged since the last beat, mended and without a permit now, or empty."""
        now_ns = self._clock.monotonic_ns()
        was_silent = self.stop.silent_ns(now_ns) > self._silent_ns
        problem = self.stop.beat(now_ns)
        if was_silent and not problem:
            self._say_anew(now_ns)
        if problem:
            self._mend_page(self.state)
            self._lose(problem)
        if not problem and not self._saving.locked() and not self._dirty.is_set():
            problem = self.store.damage()
            if problem:
                self._lose(problem)
        return problem

    def _say_anew(self, now_ns: int) -> None:
        """The same words under a new epoch, as after a restart: what holds was just looked at, nothing is armed by it."""
        self.state = replace(self.state, epoch=self.stop.epoch + 1)
        self._try_to_write(lambda: self.stop.publish(self.stop.words, epoch=self.state.epoch, beat_ns=now_ns))
        self._dirty.set()
        event(_LOG, logging.WARNING, "was silent", epoch=self.state.epoch)

    async def keep(self) -> None:
        """Bring every change to the disk, for ever."""
        while True:
            await self._dirty.wait()
            async with self._saving:
                self._dirty.clear()
                state = self.state
                try:
                    await asyncio.to_thread(self._save, state)
                    self.problems.pop("state", None)
                except OSError as error:
                    self.problems["state"] = f"the state cannot be written: {error}"
                    event(_LOG, logging.ERROR, "state not written", problem=str(error))
                    self._dirty.set()
            if self._dirty.is_set():
                await asyncio.sleep(_RETRY_S if "state" in self.problems else 0)
            elif self.state is state:
                self._durable.set()

    async def durable(self, timeout_s: float) -> bool:
        """Whether what is in force is on the disk within that time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._durable.wait()
        except TimeoutError:
            return False
        return True

    def _save(self, state: State) -> None:
        try:
            self.store.save(state)
        finally:
            self.stop.sync()  # on a full disk the page alone makes a stop durable

    def _numbered(self, state: State) -> State:
        changed = words_of(state, self.now()) != self.stop.words
        return replace(state, epoch=self.stop.epoch + 1 if changed else self.stop.epoch)

    def _install(self, state: State) -> None:
        state = self._numbered(state)
        if state.epoch != self.stop.epoch:
            now = self.now()
            self._try_to_write(lambda: self.stop.publish(words_of(state, now), epoch=state.epoch, beat_ns=now.monotonic_ns))
        self.state = state

    def _try_to_write(self, write: Callable[[], None]) -> None:
        """A page that cannot be written is found by the next beat, and taken for lost."""
        try:
            write()
        except (OSError, ValueError) as error:
            self.problems["stop page"] = f"the stop page cannot be written: {error}"

    def _mend_page(self, state: State) -> None:
        left = self.stop.mend(epoch=max(self.stop.epoch, state.epoch) + 1, token=marks.token(state))
        if left:
            self.problems["stop page"] = left
        else:
            self.problems.pop("stop page", None)

    def _lose(self, problem: str) -> None:
        """The permit is lost with what was damaged."""
        event(_LOG, logging.ERROR, "damaged", problem=problem)
        self.reduce(marks.disarm(self.state, problem, "guard", self.now()) if self.state.permit else replace(self.state))


def words_of(state: State, now: Now) -> Words:
    """What the page is to mean. Subsets that do not fit on it stop everything."""
    narrowing = Narrowing(marks.blocked_scopes(state), state.flow_cap_ppm, marks.keeps_orders(state, now))
    if len(narrowing.pack()) > NARROWING_BYTES_MAX:
        return Words(False, UNNARROWED, state.latch_cleared, marks.token(state))
    return Words(marks.trading(state, now), narrowing, state.latch_cleared, marks.token(state))
