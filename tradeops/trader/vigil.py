"""A standby beside a slot that trades is there for a run. One that has had none for long ends itself: it only costs memory.

Never the slot that holds the activation token, and never while no slot holds it: whether that is so is read from the stop page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.base.durable import read_bounded
from tradeops.base.errors import TradeopsError
from tradeops.contracts.pages import StopWords
from tradeops.trader.tenure import Tenure

OUTLIVES_NS: Final = 1800 * NS_PER_S
"""How long a standby waits for a run to take its host up again (ours: as long as slots are kept warm by default)."""
LOOK_S: Final = 5.0
_BYTES_MAX: Final = 32


class Vigil:
    """held_file: until when a run holds the host, see HostLayout.  slot: this process's."""

    def __init__(self, held_file: Path, slot: str, tenure: Tenure, clock: Clock) -> None:
        self._held_file = held_file
        self._slot = slot
        self._tenure = tenure
        self._clock = clock
        self._since_ns: int | None = None

    def over(self, words: StopWords | None) -> bool:
        """Whether this process has stood by for OUTLIVES_NS without a run. words: the stop page's; None: it cannot be read.

        A host of which it is not known who holds it is taken to be held.
        """
        if self._tenure.writes or words is None or words.token.slot in ("", self._slot):
            self._since_ns = None
            return False
        now_ns = self._clock.monotonic_ns()
        self._since_ns = now_ns if self._since_ns is None else self._since_ns
        until_ns = self._held_until()
        return until_ns is not None and now_ns - max(self._since_ns, until_ns) > OUTLIVES_NS

    def _held_until(self) -> int | None:
        try:
            return int(read_bounded(self._held_file, _BYTES_MAX))
        except (OSError, ValueError, TradeopsError):
            return None
