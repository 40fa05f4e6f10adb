"""A host with both slots: a guard process, a venue process, blue trading under a permit and green standing by."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.guardhost import GuardHost
from tests.support.people import People
from tests.support.processes import TraderProcess, VenueProcess
from tests.support.trader import FLEET, KEY, SYMBOL, HostRoot
from tests.support.wait import until
from tradeops.contracts.directive import CANCEL, DirectiveReply, Verb
from tradeops.contracts.status import Status
from tradeops.trader.follower import Follower
from tradeops.trader.messages import Happened, Intended, OrderEvent

FAST = {"strategy__requote": "50ms", "strategy__half_spread_ppm": 50, "strategy__tolerance_ppm": 30}
FEED = {"kind": "generated", "quotes_per_s": 100, "trade_ppm": 300_000}


@dataclass
class Slots:
    """Blue trades under a permit; green stands by."""

    venue: VenueProcess
    host: GuardHost
    traders: dict[str, TraderProcess]

    def standby(self, orders: str = CANCEL) -> DirectiveReply:
        """Fence the writer."""
        return self.host.post(self.host.people.say(Verb.STANDBY, args={"orders": orders}), wait_ms=5000)

    def activate(self, slot: str, number: int, orders: str = CANCEL, *, wait_ms: int = 10_000) -> DirectiveReply:
        """The token to a slot."""
        args = {"slot": slot, "token": number, "orders": orders}
        return self.host.post(self.host.people.say(Verb.ACTIVATE, args=args), wait_ms=wait_ms)

    def trades(self, slot: str) -> Status:
        """Once that slot trades: its status."""
        ready: list[Status] = []

        def seen() -> bool:
            ready[:] = [self.host.status()]
            vitals = ready[0].vitals
            return ready[0].trading and vitals is not None and vitals.identity.slot == slot and vitals.working > 0

        until(seen, 20)
        return ready[0]

    def at_work(self) -> dict[str, str]:
        """Venue id -> client id of what works."""
        return {order["venue_id"]: order["client_id"] for order in self.venue.orders(state="working")}

    def left(self) -> None:
        """Once no slot writes."""
        until(lambda: not self.writers(), 10, interval=0.01)

    def busy(self, orders: int = 10) -> None:
        """Let the slot that trades send so many more."""
        before = len(self.venue.orders())
        until(lambda: len(self.venue.orders()) >= before + orders and self.venue.working() > 0, 60)

    def writers(self) -> list[str]:
        """Slots whose living process says that it writes."""
        status = self.host.status()
        return [vitals.identity.slot for vitals in (status.vitals, status.standby) if vitals is not None and vitals.writes]

    def books(self) -> tuple[set[str], list[str]]:
        """Ids that the journal holds as sent; ids at the venue, as often as they are there. To be asked when nothing is on its way."""
        follower, sent = Follower(self.host.layout.data), set[str]()
        while entries := list(follower.new()):
            sent |= {entry.order.id for entry in entries if isinstance(entry, Intended)}
            sent -= {entry.order for entry in entries if isinstance(entry, Happened) and entry.event is OrderEvent.WITHHELD}
        follower.close()
        return sent, [order["client_id"] for order in self.venue.orders()]

    def whole(self) -> None:
        """No order lost, none twice, none refused: journal and venue hold the same; nothing else is to be said."""
        assert self.host.status().problems == ()
        assert self.standby().blocked
        until(lambda: self.host.status().clear and not self.writers(), 10)
        sent, there = self.books()
        assert max(Counter(there).values()) == 1 and set(there) == sent
        assert not [order for order in self.venue.orders() if order["state"] == "rejected"]


@contextlib.contextmanager
def two_slots(folder: Path, *, feed: dict[str, Any] | None = None, **config: Any) -> Iterator[Slots]:
    """All up and trading. config: of the traders, where it is to be another."""
    venue = VenueProcess(folder, symbols=[{"symbol": SYMBOL}], feed=feed or FEED).start()
    with contextlib.closing(GuardHost(folder, people=People(operator=KEY, fleet=FLEET))) as host:
        root = HostRoot(host.layout.root, ports=venue.doors, keep_on_logout=True).write()
        root.fill_slot("green")
        host.write_host()
        host.put(host.layout.policy_file, host.people.signed_policy())
        host.start_guard()
        traders = {slot: TraderProcess(root, slot, **{**FAST, **config}) for slot in ("blue", "green")}
        made = Slots(venue, host, traders)
        try:
            traders["blue"].start()
            assert host.post(host.people.permit(), wait_ms=20_000).accepted, host.status()
            made.trades("blue")
            traders["green"].start().when(lambda vitals: vitals.state == "standby" and vitals.counters["quotes_total"] > 0)
            yield made
        finally:
            for trader in traders.values():
                trader.kill()
            venue.stop()
