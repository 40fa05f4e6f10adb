"""A small real trader process: maps the stop page, writes vitals, acknowledges. `python faketrader.py ROOT RELEASE BINDING`.

Commands on stdin, a line each, as JSON: fields of the vitals to replace; {"ack": false} stops acknowledging.
"""

from __future__ import annotations

import json
import os
import select
import sys
from pathlib import Path

import msgspec

from tradeops.base.clock import SystemClock
from tradeops.contracts.identity import Identity
from tradeops.contracts.layout import HostLayout
from tradeops.contracts.pages import StopPage, VitalsWriter
from tradeops.contracts.status import Vitals

_BEAT_S = 0.02


def main() -> None:
    """Until stdin closes."""
    layout, clock = HostLayout(Path(sys.argv[1])), SystemClock()
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    identity = Identity("trader", sys.argv[2], sys.argv[3], 0, "blue", os.getpid(), ticks, clock.wall_ns(), {})
    page = StopPage(layout.stop_page, writable=False)
    writer = VitalsWriter(layout.vitals_page("blue"))
    vitals = Vitals(identity, 0, "ready", 0, 0, 0, 0, {}, {"sim": 1}, {}, {"signals_total": 0}, {}, {}, {"order_value": 1})
    ack = True
    pending = b""
    while True:
        if page.same_file() and ack and (words := page.read()):
            vitals = msgspec.structs.replace(vitals, ack_epoch=words.epoch, ack_latch=words.latch)
        writer.write(msgspec.structs.replace(vitals, beat_ns=clock.monotonic_ns()))
        if select.select([0], [], [], _BEAT_S)[0]:
            chunk = os.read(0, 65536)
            if not chunk:
                return
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                words_in = json.loads(line)
                ack = words_in.pop("ack", ack)
                vitals = msgspec.structs.replace(vitals, **words_in)


if __name__ == "__main__":
    main()
