"""Faults that the lab switches on: each has a kind, whom it hits, how often, and how many times."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from tradeops.wire.protocol import Names


class FaultKind(StrEnum):
    """What goes wrong.

    refuse_cancel: cancels are answered no ("not before the open", K14).  drop_cancel: cancels are lost in silence (K08).
    drop_ack: an order's report is not sent and takes no number: only a query finds it.  gap_ack: it takes a number and is
    not sent: a resend brings it.  hide_fill: drop copy does not show a fill.  hide_report: drop copy shows nothing.
    delay: answers come `delay_ms` later.  reject_new: orders are rejected with `text`.  freeze_feed: connected, silent
    but for heartbeats.  cross_feed: quotes are crossed.  lag_feed: quotes carry times `delay_ms` in the past.
    mute: no heartbeats, no answers, connection stays.  refuse_logon: nobody gets in.  halt_symbol: the symbol is halted.
    """

    REFUSE_CANCEL = "refuse_cancel"
    DROP_CANCEL = "drop_cancel"
    DROP_ACK = "drop_ack"
    GAP_ACK = "gap_ack"
    HIDE_FILL = "hide_fill"
    HIDE_REPORT = "hide_report"
    DELAY = "delay"
    REJECT_NEW = "reject_new"
    FREEZE_FEED = "freeze_feed"
    CROSS_FEED = "cross_feed"
    LAG_FEED = "lag_feed"
    MUTE = "mute"
    REFUSE_LOGON = "refuse_logon"
    HALT_SYMBOL = "halt_symbol"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault. accounts, hosts, symbols: empty means all. one_of: hits the first of each N. times: 0 is without end."""

    kind: FaultKind
    accounts: Names = ()
    hosts: Names = ()
    symbols: Names = ()
    one_of: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    times: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    delay_ms: Annotated[int, Meta(ge=0, le=600_000)] = 0
    text: Annotated[str, Meta(max_length=200)] = "fault"

    def concerns(self, *, account: str, host: str, symbol: str) -> bool:
        """Whether it is meant for these; an empty value is not held against it."""
        pairs = ((self.accounts, account), (self.hosts, host), (self.symbols, symbol))
        return all(not names or not value or value in names for names, value in pairs)


class _Active:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.seen = 0
        self.hits = 0

    def strikes(self) -> bool:
        """Count one more event that it concerns; whether this one is hit."""
        spent = self.fault.times and self.hits >= self.fault.times
        hit = not spent and self.seen % self.fault.one_of == 0
        self.seen += 1
        self.hits += hit
        return hit


class Faults:
    """The faults that are on. Deterministic: the same events are hit every time."""

    def __init__(self) -> None:
        self._active: dict[str, _Active] = {}
        self._ids = itertools.count(1)

    def add(self, fault: Fault) -> str:
        """Switch one on; its id."""
        fault_id = f"f{next(self._ids)}"
        self._active[fault_id] = _Active(fault)
        return fault_id

    def remove(self, fault_id: str) -> bool:
        """Switch one off; False when there is none of that id."""
        return self._active.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Switch all off."""
        self._active.clear()

    def strike(self, kind: FaultKind, *, account: str = "", host: str = "", symbol: str = "") -> Fault | None:
        """The fault that hits this event, if any; counts the event."""
        for active in self._active.values():
            fault = active.fault
            if fault.kind is kind and fault.concerns(account=account, host=host, symbol=symbol) and active.strikes():
                return fault
        return None

    def standing(self, kind: FaultKind, *, account: str = "", symbol: str = "") -> bool:
        """Whether a fault of `kind` holds these now; nothing is counted."""
        return any(one.fault.kind is kind and one.fault.concerns(account=account, host="", symbol=symbol) for one in self._active.values())

    def symbols_under(self, kind: FaultKind, symbols: Iterable[str]) -> frozenset[str]:
        """The symbols that a standing fault of `kind` holds."""
        return frozenset(name for name in symbols if self.standing(kind, symbol=name)) if self._active else frozenset()

    def listing(self) -> dict[str, dict[str, object]]:
        """Id -> fault with how many events it saw and hit."""
        return {name: {**msgspec.to_builtins(one.fault), "seen": one.seen, "hits": one.hits} for name, one in self._active.items()}
