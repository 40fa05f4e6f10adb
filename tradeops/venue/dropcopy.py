"""Drop copy: every execution report numbered venue-wide, for whoever may see its account; snapshots of what works."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from tradeops.venue.faults import FaultKind, Faults
from tradeops.venue.masscancel import EVERY_ACCOUNT
from tradeops.venue.members import Members
from tradeops.venue.orders import Record, Routed, working_order
from tradeops.venue.sessions import Channel
from tradeops.wire.protocol import (
    Code,
    DropLogon,
    DropReport,
    DropSnapshot,
    ExecKind,
    ExecutionReport,
    Heartbeat,
    LoggedOn,
    LogonRefused,
    frame,
)

_ENCODE: Final = msgspec.json.Encoder().encode
_FILLS: Final = frozenset({ExecKind.PARTIAL, ExecKind.FILL})
SNAPSHOT_PIECE: Final = 500


class Watcher:
    """One drop copy connection."""

    def __init__(self, name: str, account: str, accounts: frozenset[str], channel: Channel) -> None:
        self.name = name
        self.account = account
        self.accounts = accounts
        self.channel = channel
        self._seq = 0

    def sees(self, account: str) -> bool:
        """Whether reports of `account` are for it."""
        return account in self.accounts or EVERY_ACCOUNT in self.accounts

    def send(self, message: DropReport | DropSnapshot, *, delay_ms: int = 0) -> None:
        """Number and queue one message."""
        self._seq += 1
        self.channel.put(frame(self._seq, _ENCODE(message)), delay_ms=delay_ms)

    def beat(self) -> bytes:
        """A heartbeat frame with the last number given."""
        return frame(0, _ENCODE(Heartbeat(last_seq=self._seq)))


class DropCopy:
    """All drop copy connections, and the reports that can still be given to one that comes back."""

    def __init__(self, venue: str, members: Members, faults: Faults, *, history_max: int) -> None:
        self.watchers: set[Watcher] = set()
        self._venue = venue
        self._members = members
        self._faults = faults
        self._number = 0
        self._history: deque[DropReport] = deque(maxlen=history_max)

    def logon(self, logon: DropLogon, channel: Channel, working: Iterable[Record], now_ns: int) -> Watcher | LogonRefused:
        """Begin: LoggedOn, the reports asked for, the snapshot; then all that happens."""
        refusal = self._members.refusal(session=logon.session, account=logon.account, time_ns=logon.time_ns, proof=logon.proof)
        if refusal is not None:
            return LogonRefused(code=refusal[0], text=refusal[1])
        accounts = self._members.visible(logon.account, logon.accounts)
        if accounts is None:
            return LogonRefused(
                code=Code.NOT_ALLOWED, text=f"account {logon.account} does not oversee all of {', '.join(logon.accounts)}"[:400]
            )
        watcher = Watcher(logon.session, logon.account, accounts, channel)
        answer = LoggedOn(session=logon.session, venue=self._venue, expected_seq=1, last_seq=0, venue_ns=now_ns)
        channel.put(frame(0, _ENCODE(answer)))
        if logon.after_report >= 0:
            for old in self._history:
                if old.number > logon.after_report and watcher.sees(old.account):
                    watcher.send(msgspec.structs.replace(old, old=True))
        self.snapshot(watcher, working)
        self.watchers.add(watcher)
        return watcher

    def snapshot(self, watcher: Watcher, working: Iterable[Record], request_id: str = "") -> None:
        """Send what works now, in pieces."""
        orders = [working_order(record) for record in working if watcher.sees(record.account)]
        for at in range(0, max(1, len(orders)), SNAPSHOT_PIECE):
            piece = tuple(orders[at : at + SNAPSHOT_PIECE])
            last = at + SNAPSHOT_PIECE >= len(orders)
            watcher.send(DropSnapshot(orders=piece, last=last, report=self._number, request_id=request_id))

    def deliver(self, routed: Routed) -> None:
        """Copy an execution report to those who see its account; other answers are not copied."""
        report = routed.message
        if not isinstance(report, ExecutionReport):
            return
        self._number += 1
        words = {"account": routed.account, "host": report.tags.host, "symbol": report.symbol}
        hidden = self._faults.strike(FaultKind.HIDE_REPORT, **words)
        if hidden is None and report.kind in _FILLS:
            hidden = self._faults.strike(FaultKind.HIDE_FILL, **words)
        if hidden is None:
            self.inject(DropReport(number=self._number, account=routed.account, session=routed.session, report=report))

    def inject(self, copy: DropReport) -> None:
        """Send a report to the watchers of its account: what happened, or what a fault makes up."""
        self._history.append(copy)
        for watcher in self.watchers:
            if watcher.sees(copy.account):
                watcher.send(copy)

    def next_number(self) -> int:
        """A number for a report that is made up."""
        self._number += 1
        return self._number
