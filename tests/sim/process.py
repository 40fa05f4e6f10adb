"""One slot's trader without sockets: real tenure, gate and journal, a session that keeps what is sent, and a word that ages."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from tests.support.trader import MemorySession
from tradeops.base.clock import NS_PER_MS, NS_PER_S, VirtualClock
from tradeops.contracts.identity import Identity
from tradeops.contracts.status import Vitals
from tradeops.contracts.units import UNIT
from tradeops.trader.bus import Looked
from tradeops.trader.gate.gate import Gate
from tradeops.trader.gate.page import StopWatch
from tradeops.trader.gate.verdict import Cause, Level, Patience, Verdict
from tradeops.trader.journal import Journal
from tradeops.trader.ledger import Blank, Ledger
from tradeops.trader.messages import Order, OrderEvent
from tradeops.trader.orders.ids import client_id
from tradeops.trader.standing import Standing
from tradeops.trader.tenure import Tenure, held
from tradeops.trader.vitals import open_orders
from tradeops.wire.protocol import Side, Tags

RELEASE, BINDING = "sha256:r", "sha256:b"
TAGS = Tags(strategy="s", release=RELEASE, host="h", desk="d")
PATIENCE = Patience(500 * NS_PER_MS, 2 * NS_PER_S)
_PIDS = itertools.count(100)


class Process:
    """One slot's trader. vitals: what it last said, which may be long ago."""

    def __init__(self, page: Path, folder: Path, slot: str, clock: VirtualClock) -> None:
        """Raises JournalError: it exits at once."""
        token = held(page, slot)
        journal = None if token is None else Journal(folder, token=token)
        self.slot = slot
        self.clock = clock
        self.standing = Standing()
        self.ledger = Ledger(journal or Blank(), clock)
        self.ledger.replay(journal.replay() if journal else ())
        self.session = MemorySession(clock)
        self.session.down = journal is None
        self.gate = Gate(StopWatch(page, clock, PATIENCE, slot, keeps=True))
        self.gate.attach("sim", self.session)
        self.tenure = Tenure(slot=slot, folder=folder, journal=journal, ledger=self.ledger, gate=self.gate, standing=self.standing)
        self.tenure.on_taken = self._enter
        self.vitals: Vitals | None = None
        self._identity = Identity("trader", RELEASE, BINDING, 0, slot, next(_PIDS), 1, 0)

    def _enter(self) -> None:
        self.session.down = False

    def turn(self, *, says: bool) -> None:
        """One look, in the order of the real bus: acknowledge, and say so when it is new; then the tenure. says: vitals are due."""
        verdict = self.gate.look()
        if verdict.level is Level.HALTED and self.tenure.writes:
            self.session.queue.clear()
        if self.gate.acknowledge(verdict):
            self.say(verdict)
        self.tenure.on_look(Looked(verdict, self.clock.monotonic_ns()))
        self.ledger.commit()
        if says:
            self.say(verdict)

    def leave(self) -> bool:
        """The venue was left: what the loop does after a look that allowed it. Whether in order, with what works left there."""
        kept = self.tenure.leaving and self.tenure.keeps
        if self.tenure.leaving:
            self.session.down = True
            self.tenure.left()
            self.say(self.gate.look())
        return kept

    def say(self, verdict: Verdict) -> None:
        """Write the vitals."""
        acknowledged = self.gate.acknowledged
        state = "standby" if self.standing.standby else "ready"
        self.vitals = Vitals(
            self._identity,
            self.clock.monotonic_ns(),
            state,
            acknowledged.epoch,
            acknowledged.latch,
            self.gate.send_queue,
            self.ledger.orders.open_count,
            *({}, {}, {}, {}, {}, {}, {}),
            writes=self.tenure.writes,
            open_orders=open_orders(verdict, self.tenure, self.standing, self.ledger),
        )

    def try_to_send(self) -> str:
        """One order through journal and gate; its id when it left."""
        if not self.tenure.writes:
            return ""
        sequence = self.ledger.next_sequence()
        one = self.order(sequence)
        tracked = self.ledger.intend(one, sequence)
        self.ledger.commit()
        self.ledger.happen(tracked, OrderEvent.SENT)
        if self.gate.send(one, lambda: None) is Cause.NONE:
            return one.id
        self.ledger.happen(tracked, OrderEvent.WITHHELD)
        return ""

    def order(self, sequence: int) -> Order:
        """A whole order of this host."""
        return Order(client_id("h", sequence), "ACME", "sim", Side.BUY, UNIT, UNIT, TAGS)

    def die(self) -> None:
        """Without a word: what was not committed is lost, the lock falls."""
        self.tenure._follower.close()
        if self.tenure.journal is not None:
            self.tenure.journal._db.close()
            os.close(self.tenure.journal._lock)
