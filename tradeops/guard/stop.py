"""Owner of the stop page: writes its words, beats, and notices when somebody damages it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from tradeops.contracts.pages import NOBODY, UNNARROWED, Narrowing, StopPage, StopWords, Token


@dataclass(frozen=True)
class Words:
    """What the page is to mean. A change of these is a change of meaning and takes a new epoch."""

    may_send: bool = False
    narrowing: Narrowing = UNNARROWED
    latch_cleared: int = 0
    token: Token = NOBODY


class StopKeeper:
    """The page as this guard holds it open. Not trading is always safe: on any doubt it says so and reports the damage."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._page: StopPage | None = None
        self._beat_ns = 0
        self._generation = 0
        self.words = Words()
        self.epoch = 0
        self.latch = 0
        self.stopped_at: int | None = 0
        self.nobody_at: int | None = 0
        """Since which epoch the page says stop, and names no slot as the writer; None: it does not."""
        self.opened_at: int | None = None
        """Since which epoch it lets orders leave; None: it does not."""

    def open(self) -> tuple[StopWords | None, str]:
        """Take up the page that is there. The words it had, and what is wrong with it (then call `mend`)."""
        try:
            self._page = StopPage(self._path, writable=True)
        except FileNotFoundError:
            return None, "the stop page is missing"
        except (OSError, ValueError) as error:
            return None, f"the stop page cannot be used: {error}"
        found = self._page.read()
        if found is None:
            return None, "the stop page does not add up"
        self.epoch, self.latch, self._generation = found.epoch, found.latch, found.scope_generation
        return found, ""

    def publish(self, words: Words, *, epoch: int, beat_ns: int) -> None:
        """Make the page mean `words`, at once; `sync` makes it durable. Raises OSError, ValueError: the page is lost."""
        if words.narrowing != self.words.narrowing:
            self._generation += 1
        if words.may_send:
            self.opened_at = epoch if self.opened_at is None else self.opened_at
            self.stopped_at = None
        elif self.words.may_send or self.stopped_at is None:
            self.opened_at, self.stopped_at = None, epoch
        if words.token.slot:
            self.nobody_at = None
        elif self.words.token.slot or self.nobody_at is None:
            self.nobody_at = epoch
        self.words, self.epoch = words, epoch
        self._write(beat_ns)

    def begin(self, words: Words, *, epoch: int, beat_ns: int) -> None:
        """The first words of this process: nothing that was acknowledged to an earlier one counts."""
        self.opened_at, self.stopped_at = (epoch, None) if words.may_send else (None, epoch)
        self.nobody_at = None if words.token.slot else epoch
        self.words, self.epoch = words, epoch
        self._generation += 1
        self._write(beat_ns)

    def _write(self, beat_ns: int) -> None:
        if self._page is None:
            raise FileNotFoundError(f"{self._path}: not open")
        self._page.write(
            epoch=self.epoch,
            may_send=self.words.may_send,
            beat_ns=beat_ns,
            latch_cleared=self.words.latch_cleared,
            scope_generation=self._generation,
            narrowing=self.words.narrowing,
            token=self.words.token,
            durable=False,
        )
        self._beat_ns = beat_ns

    def silent_ns(self, now_ns: int) -> int:
        """How long this guard has not said that it lives."""
        return now_ns - self._beat_ns

    def beat(self, now_ns: int) -> str:
        """Say that the guard lives, if the page is still what this guard wrote; otherwise what is wrong with it."""
        if problem := self._problem():
            return problem
        try:
            self._write(now_ns)
        except OSError as error:
            return f"the stop page cannot be written: {error}"
        return ""

    def _problem(self) -> str:
        if self._page is None:
            return "the stop page is not open"
        if not self._page.same_file():
            return "the stop page was deleted, replaced or truncated"
        found = self._page.read()
        if found is None:
            return "the stop page does not add up"
        self.latch = found.latch
        words = self.words
        mine = (self.epoch, words.may_send, self._beat_ns, words.latch_cleared, self._generation, words.narrowing, words.token)
        there = (found.epoch, found.may_send, found.beat_ns, found.latch_cleared, found.scope_generation, found.narrowing, found.token)
        if there != mine:
            return "the stop page was written by somebody else"
        return ""

    def mend(self, *, epoch: int, token: Token) -> str:
        """Halt through whatever is mapped, then have a whole, halted page under the right name. What still is wrong, or empty.

        A trader that mapped a page which is no longer there sees it halted for ever.  token: who stays the writer.
        """
        with contextlib.suppress(OSError, ValueError):
            if self._page is not None:
                self._page.mend(epoch=epoch, latch=self.latch, token=token)
        self.words, self.epoch, self.stopped_at = Words(latch_cleared=self.latch, token=token), epoch, epoch
        self.opened_at, self.nobody_at = None, None if token.slot else epoch
        try:
            if self._page is None or not self._page.same_file():
                self._renew(epoch, token)
        except (OSError, ValueError) as error:
            return f"the stop page cannot be made anew: {error}"
        self._beat_ns, self._generation = 0, 0
        return ""

    def _renew(self, epoch: int, token: Token) -> None:
        if os.path.lexists(self._path):
            self._path.rename(self._path.with_name(f"{self._path.name}.damaged-{epoch}"))
        StopPage.create(self._path)
        page = StopPage(self._path, writable=True)
        page.mend(epoch=epoch, latch=self.latch, token=token)
        if self._page is not None:
            self._page.close()
        self._page = page

    def sync(self) -> None:
        """Wait until the words are on the disk. Raises OSError."""
        if self._page is not None:
            self._page.sync()

    def close(self) -> None:
        """Let go of the page; its last words stay, its beat ages."""
        if self._page is not None:
            self._page.close()
            self._page = None
