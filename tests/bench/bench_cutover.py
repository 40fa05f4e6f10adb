"""Blue to green and back on one host under load: a real guard, venue and two traders; nothing lost, nothing twice, wall time."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.rounds import tell, timed
from tests.support.twoslots import Slots, two_slots
from tests.support.wait import until
from tradeops.contracts.pages import read_vitals

ROUNDS = 10
FEED = {"kind": "generated", "quotes_per_s": 5_000, "trade_ppm": 100_000}


def _cutover(slots: Slots, slot: str, number: int) -> None:
    """Until the slot has an order of its own working."""
    page = slots.host.layout.vitals_page(slot)

    def trades() -> bool:
        vitals = read_vitals(page)
        return vitals is not None and vitals.token == number and vitals.state == "ready" and vitals.working > 0

    assert slots.standby().accepted
    assert slots.activate(slot, number).accepted
    until(trades, 30, interval=0.002)


def main() -> None:
    """Print the figures."""
    seconds: list[float] = []
    with TemporaryDirectory() as folder, two_slots(Path(folder), feed=FEED) as slots:
        number = 0
        for _ in range(ROUNDS):
            both = 0.0
            for slot in ("green", "blue"):
                number += 1
                slots.busy()
                both += timed(lambda slot=slot, number=number: _cutover(slots, slot, number))  # type: ignore[misc]  # the defaults bind this round's
            seconds.append(both)
        assert slots.standby().blocked
        until(lambda: not slots.writers(), 10)
        sent, there = slots.books()
    twice = sum(times - 1 for times in Counter(there).values())
    lost = len(sent.symmetric_difference(there))
    sys.stdout.write(f"{len(sent)} orders over {2 * ROUNDS} cutovers: {lost} lost, {twice} twice at the venue\n")
    tell("cutover and back, to the first order at work each time", seconds)


if __name__ == "__main__":
    main()
