"""What the stop page says, as a function of its words and the time. Zero, absent, odd: halted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from tradeops.contracts.directive import Scope
from tradeops.contracts.pages import StopWords
from tradeops.contracts.units import PPM


class Level(IntEnum):
    """open: orders may leave.  paused: none leave, working ones stay (a guard restarts).  halted: working ones go too."""

    OPEN = 0
    PAUSED = 1
    HALTED = 2


class Cause(StrEnum):
    """Why no order may leave."""

    NONE = ""
    PAGE_MISSING = "page_missing"
    PAGE_REPLACED = "page_replaced"
    PAGE_DAMAGED = "page_damaged"
    NO_PERMIT = "no_permit"
    LATCHED = "latched"
    STANDBY = "standby"
    GUARD_LATE = "guard_late"
    GUARD_SILENT = "guard_silent"
    EPOCH_SPENT = "epoch_spent"
    SCOPE = "scope"
    UNTAGGED = "untagged"
    NOT_CONNECTED = "not_connected"
    QUEUE_FULL = "queue_full"


@dataclass(frozen=True)
class Patience:
    """How old the guard's beat, and how long a page that does not add up, may be: to pause, and to halt."""

    pause_ns: int
    halt_ns: int


@dataclass(frozen=True)
class Verdict:
    """What holds now. words: as read, None when they do not add up.  scopes: subsets that may not trade."""

    level: Level
    cause: Cause
    words: StopWords | None = None

    @property
    def keeps_orders(self) -> bool:
        """The host stands down, and what works is left to the slot that is given the token."""
        return self.level is Level.PAUSED and self.cause is Cause.STANDBY

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Subsets that the page blocks."""
        return self.words.narrowing.scopes if self.words else ()

    @property
    def flow_cap_ppm(self) -> int:
        """The share of signals that a run leaves to this host."""
        return PPM if self.words is None or self.words.narrowing.flow_cap_ppm is None else self.words.narrowing.flow_cap_ppm


MISSING: Final = Verdict(Level.HALTED, Cause.PAGE_MISSING)
REPLACED: Final = Verdict(Level.HALTED, Cause.PAGE_REPLACED)


def judge(
    words: StopWords | None, now_ns: int, *, slot: str, keeps: bool, damaged_ns: int, spent_epoch: int, patience: Patience
) -> Verdict:
    """The verdict on a page that is in place, for the process of `slot`.

    keeps: its sessions can leave their orders at work.  damaged_ns: how long its words have not added up.  spent_epoch: up to this
    epoch the guard's word has lapsed: a guard that was silent, or whose page was lost, must speak anew with a higher epoch.
    """
    if words is None:
        return Verdict(Level.HALTED if damaged_ns > patience.pause_ns else Level.PAUSED, Cause.PAGE_DAMAGED)
    if words.latched:
        return Verdict(Level.HALTED, Cause.LATCHED, words)
    late_ns = now_ns - words.beat_ns
    if not words.may_send:
        heard = words.epoch > spent_epoch and -patience.pause_ns <= late_ns <= patience.halt_ns
        stays = words.narrowing.keep_orders and keeps and heard
        return Verdict(Level.PAUSED if stays else Level.HALTED, Cause.NO_PERMIT if words.token.slot else Cause.STANDBY, words)
    if words.epoch <= spent_epoch:
        return Verdict(Level.HALTED, Cause.EPOCH_SPENT, words)
    if late_ns > patience.halt_ns or late_ns < -patience.pause_ns:
        return Verdict(Level.HALTED, Cause.GUARD_SILENT, words)
    if late_ns > patience.pause_ns:
        return Verdict(Level.PAUSED, Cause.GUARD_LATE, words)
    if words.token.slot != slot:
        return Verdict(Level.HALTED, Cause.STANDBY, words)
    return Verdict(Level.OPEN, Cause.NONE, words)
