"""A saturated trader is killed again and again: from the guard's receipt to the gate's acknowledgement with nothing queued (K03)."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.three import running

QUOTES_PER_S = 50_000
"""More than one core judges beside the venue that makes them: the trader conflates, and never rests."""
KILLS = 100


def main() -> None:
    """Print the figures."""
    blocked: list[float] = []
    with TemporaryDirectory() as folder, running(Path(folder), quotes_per_s=QUOTES_PER_S) as three:
        for _ in range(KILLS):
            three.trade()
            reply = three.host.kill()
            assert reply.blocked and reply.blocked_ms is not None, reply
            blocked.append(reply.blocked_ms)
    blocked.sort()
    half, most = blocked[len(blocked) // 2], blocked[int(len(blocked) * 0.99) - 1]
    sys.stdout.write(f"blocked after receipt, {QUOTES_PER_S} quotes/s arriving, {KILLS} kills: p50 {half:.1f} ms, p99 {most:.1f} ms\n")


if __name__ == "__main__":
    main()
