"""The real three as processes: a guard, a trader, a venue. What is said to the guard happens at the venue."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.guardhost import GuardHost
from tests.support.people import People
from tests.support.processes import TraderProcess, VenueProcess
from tests.support.trader import FLEET, KEY, SYMBOL, HostRoot
from tests.support.wait import until
from tradeops.base.clock import NS_PER_S, SystemClock
from tradeops.contracts.status import MarkKind

FAST = {"strategy__requote": "50ms", "strategy__half_spread_ppm": 50, "strategy__tolerance_ppm": 30}


@dataclass
class Three:
    """All up; the trader is halted until a permit."""

    venue: VenueProcess
    host: GuardHost
    root: HostRoot
    trader: TraderProcess

    def trade(self) -> None:
        """Armed by two people, with orders working."""
        reply = self.host.post(self.host.people.permit(*self.kills()), wait_ms=20_000)
        assert reply.accepted, (reply, self.host.status())
        until(lambda: self.venue.working() > 0 and (self.host.status().working or 0) > 0, 20)

    def kills(self) -> tuple[str, ...]:
        """Those that stand."""
        return tuple(mark.id for mark in self.host.status().marks if mark.kind is MarkKind.KILL)

    def quiet(self) -> None:
        """Nothing works at the venue, and no order comes any more."""
        until(lambda: self.venue.working() == 0, 5)
        before, now_ns = len(self.venue.orders()), SystemClock().monotonic_ns()
        until(lambda: SystemClock().monotonic_ns() - now_ns > NS_PER_S // 2, 5)
        assert len(self.venue.orders()) == before and self.venue.working() == 0


@contextlib.contextmanager
def running(folder: Path, *, quotes_per_s: int = 100) -> Iterator[Three]:
    """Started in the order of a real host: venue, guard, trader; ended with the block."""
    feed = {"kind": "generated", "quotes_per_s": quotes_per_s, "trade_ppm": 300_000}
    venue = VenueProcess(folder, symbols=[{"symbol": SYMBOL}], feed=feed).start()
    with contextlib.closing(GuardHost(folder, people=People(operator=KEY, fleet=FLEET))) as host:
        root = HostRoot(host.layout.root, ports=venue.doors).write()
        host.write_host()
        host.put(host.layout.policy_file, host.people.signed_policy())
        host.start_guard()
        trader = TraderProcess(root, **FAST).start()
        try:
            yield Three(venue, host, root, trader)
        finally:
            trader.kill()
            venue.stop()
