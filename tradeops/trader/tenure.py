"""Whether this process writes for the host: its journal, its sessions with the venues. By the stop page's word alone (O09).

A standby follows the journal. When its slot gets the activation token, it takes the journal's lock, reads what it has not
seen yet, and connects. When the token goes elsewhere, the writer lets nothing more out, waits until nothing of it works (or,
where orders are kept for the next one, until each is known to work), leaves the venues, writes down what is left, and only then
lets the lock go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tradeops.base.clock import NS_PER_MS
from tradeops.base.logs import event
from tradeops.contracts.pages import StopPage, Token
from tradeops.trader.bus import Looked
from tradeops.trader.follower import Follower
from tradeops.trader.gate.gate import Gate
from tradeops.trader.journal import Journal, JournalError
from tradeops.trader.ledger import Blank, Ledger
from tradeops.trader.orders.states import State
from tradeops.trader.standing import Standing

_LOG = logging.getLogger("trader.tenure")
_RETRY_NS: Final = 100 * NS_PER_MS
REASON: Final = "tenure"
"""Why a standby that should write does not: a reason to be halted, by this name."""


def held(stop_page: Path, slot: str) -> int | None:
    """The number of the token that `slot` holds by the stop page; None: it does not, or the page cannot be read."""
    try:
        page = StopPage(stop_page, writable=False)
    except (OSError, ValueError):
        return None
    try:
        words = page.read()
    finally:
        page.close()
    return words.token.number if words is not None and words.token.slot == slot else None


class Tenure:
    """Standby, or writer. A page that cannot be read changes neither. keeps: it leaves what works to the next writer."""

    def __init__(self, *, slot: str, folder: Path, journal: Journal | None, ledger: Ledger, gate: Gate, standing: Standing) -> None:
        """journal: held already, None for a standby.  ledger: its pages are exchanged here and nowhere else."""
        self.journal = journal
        self.token = 0
        self.leaving = False
        self.keeps = False
        self.on_taken: Callable[[], None] = lambda: None
        self._slot = slot
        self._folder = folder
        self._ledger = ledger
        self._gate = gate
        self._standing = standing
        self._blank = Blank()
        self._follower = Follower(folder)
        self._tried_ns: int | None = None
        standing.standby = journal is None
        if journal is None:
            ledger.pages = self._blank

    @property
    def writes(self) -> bool:
        """Whether this process is the host's writer: holds the journal, and may be connected."""
        return self.journal is not None

    def on_look(self, message: Looked) -> None:
        """The stop page was looked at: take up, go on, or give back."""
        words = message.verdict.words
        if self.journal is None:
            self._follow()
            if words is not None and words.token.slot == self._slot:
                self._take(words.token, message.now_ns)
        elif words is not None and words.token.slot != self._slot:
            self.keeps = message.verdict.keeps_orders
            self.leaving = self._may_leave()
        elif words is not None and words.token.number != self.token:
            self._renumber(words.token.number)

    def left(self) -> None:
        """The venues were left: give the journal back, follow it from here. One that cannot be written is kept, and tried again."""
        self.leaving = False
        journal = self.journal
        if journal is None:
            return
        try:
            self._ledger.commit()
            self._follower.last = journal.last
        except JournalError as error:
            self._standing.halt(REASON, f"cannot stand by: {error}")
            return
        self._ledger.restart()
        self.journal, self._ledger.pages = None, self._blank
        self._standing.stand_by()
        self._standing.withdraw(REASON)
        journal.close()
        event(_LOG, logging.WARNING, "standby", slot=self._slot, token=self.token)
        self.token = 0

    def close(self) -> None:
        """At the end of the process; safe to repeat. Raises JournalError when the last commit fails."""
        self._follower.close()
        journal, self.journal = self.journal, None
        if journal is not None:
            journal.close()

    def _follow(self) -> None:
        try:
            self._ledger.replay(self._follower.new())
        except JournalError as error:
            self._standing.halt("follow", str(error))
        else:
            self._standing.withdraw("follow")

    def _take(self, token: Token, now_ns: int) -> None:
        if self._tried_ns is not None and now_ns - self._tried_ns < _RETRY_NS:
            return
        self._tried_ns = now_ns
        try:
            journal = Journal(self._folder, token=token.number)
        except JournalError as error:
            self._standing.halt(REASON, f"holds activation {token.number} and cannot write: {error}")
            return
        self._tried_ns = None
        try:
            self._ledger.replay(journal.replay(after=self._follower.last))
        except JournalError as error:
            journal.close()
            self._standing.halt(REASON, f"holds activation {token.number} and cannot go on: {error}")
            return
        self._follower.close()
        self.journal, self.token, self._ledger.pages = journal, token.number, journal
        self._standing.standby = False
        self._standing.withdraw(REASON)
        event(_LOG, logging.WARNING, "writer", slot=self._slot, token=token.number, working=self._ledger.orders.open_count)
        self.on_taken()

    def _may_leave(self) -> bool:
        """Nothing can leave any more, nothing waits to be written down, nothing works, or all that is open is kept and known to."""
        left = self._ledger.orders.open()
        on_their_way = any(tracked.state is not State.WORKING for tracked in left) if self.keeps else bool(left)
        return not (self._gate.send_queue or on_their_way or (self.journal and self.journal.waiting))

    def _renumber(self, number: int) -> None:
        """The token came back under another number before it was given away."""
        if number < self.token:
            self._standing.halt(REASON, f"the stop page names activation {number}, this process writes under {self.token}")
        elif self.journal is not None:
            self.token = number
            self._ledger.pages.note("token", number)
            self._standing.withdraw(REASON)
