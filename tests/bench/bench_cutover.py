"""Blue to green and back on one host under load: a real guard, venue and two traders; nothing lost, nothing twice, wall time.

In turn with working orders cancelled, and with them adopted.
"""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.rounds import in_turn, tell, timed
from tests.support.twoslots import Slots, two_slots
from tests.support.wait import until
from tradeops.contracts.directive import ADOPT, CANCEL
from tradeops.contracts.pages import read_vitals

ROUNDS = 10
FEED = {"kind": "generated", "quotes_per_s": 5_000, "trade_ppm": 100_000}


class Cutovers:
    """Over and back, as often as asked. notes: what became of the orders that were to be adopted."""

    def __init__(self, slots: Slots) -> None:
        self.number = 0
        self.notes: list[str] = []
        self._slots = slots

    def over_and_back(self, orders: str) -> float:
        """Seconds of both."""
        both = 0.0
        for slot in ("green", "blue"):
            self.number += 1
            self._slots.busy()
            both += timed(partial(self._over, slot, orders))
        return both

    def _over(self, slot: str, orders: str) -> None:
        """Until the slot has an order working."""
        page = self._slots.host.layout.vitals_page(slot)

        def trades() -> bool:
            vitals = read_vitals(page)
            return vitals is not None and vitals.token == self.number and vitals.state == "ready" and vitals.working > 0

        assert self._slots.standby(orders).accepted
        reply = self._slots.activate(slot, self.number, orders)
        assert reply.accepted, reply
        until(trades, 30, interval=0.002)
        self.notes += [reply.note] if reply.note else []


def main() -> None:
    """Print the figures."""
    with TemporaryDirectory() as folder, two_slots(Path(folder), feed=FEED) as slots:
        cutovers = Cutovers(slots)
        seconds = in_turn({orders: partial(cutovers.over_and_back, orders) for orders in (CANCEL, ADOPT)}, ROUNDS)
        assert slots.standby().blocked
        until(lambda: not slots.writers(), 10)
        sent, there = slots.books()
    twice = sum(times - 1 for times in Counter(there).values())
    lost = len(sent.symmetric_difference(there))
    adopted = sum(note.startswith("adopted: ") for note in cutovers.notes)
    sys.stdout.write(f"{len(sent)} orders over {cutovers.number} cutovers: {lost} lost, {twice} twice at the venue\n")
    sys.stdout.write(f"orders were to be adopted at {len(cutovers.notes)} cutovers, and were at {adopted}\n")
    for orders, taken in seconds.items():
        tell(f"cutover and back, orders: {orders}, to an order at work", taken)


if __name__ == "__main__":
    main()
