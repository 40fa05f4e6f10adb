"""The stop page as the gate reads it: mapped read-only, its name checked at every look, a lapsed word never believed again."""

from __future__ import annotations

from pathlib import Path

from tradeops.base.clock import Clock
from tradeops.contracts.pages import StopPage
from tradeops.trader.gate.verdict import MISSING, REPLACED, Cause, Patience, Verdict, judge


class StopWatch:
    """Looks at the stop page with a fresh clock each time."""

    def __init__(self, path: Path, clock: Clock, patience: Patience, slot: str, *, keeps: bool = False) -> None:
        """slot: this process's; only the one that holds the activation token finds the page open. keeps: its sessions can leave
        their orders at work.
        """
        self._path = path
        self._slot = slot
        self._keeps = keeps
        self._clock = clock
        self._patience = patience
        self._page: StopPage | None = None
        self._damaged_since_ns: int | None = None
        self._last_epoch = 0
        self._spent_epoch = 0

    def look(self) -> Verdict:
        """What the page says now."""
        page = self._page or self._open()
        if page is None:
            return MISSING
        if not page.same_file():
            self._spend()
            page.close()
            self._page = None
            return REPLACED
        words = page.read()
        now_ns = self._clock.monotonic_ns()
        verdict = judge(
            words,
            now_ns,
            slot=self._slot,
            keeps=self._keeps,
            damaged_ns=self._damaged_ns(words is None, now_ns),
            spent_epoch=self._spent_epoch,
            patience=self._patience,
        )
        if words is not None:
            self._last_epoch = max(self._last_epoch, words.epoch)
        if verdict.cause is Cause.GUARD_SILENT:
            self._spend()
        return verdict

    def _open(self) -> StopPage | None:
        try:
            self._page = StopPage(self._path, writable=False)
        except (OSError, ValueError):
            self._spend()
        return self._page

    def _spend(self) -> None:
        """The guard's word up to here has lapsed: only a higher epoch counts again."""
        self._spent_epoch = self._last_epoch

    def _damaged_ns(self, damaged: bool, now_ns: int) -> int:
        if not damaged:
            self._damaged_since_ns = None
            return 0
        if self._damaged_since_ns is None:
            self._damaged_since_ns = now_ns
        return now_ns - self._damaged_since_ns
