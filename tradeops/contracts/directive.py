"""An instruction to guards, and what a guard answers. Kill keeps its shape for good."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

SCHEMA = "tradeops/directive/v1"
REPLY_SCHEMA = "tradeops/directive-reply/v1"
ALL_HOSTS = "*"
CANCEL, ADOPT = "cancel", "adopt"
"""What becomes of working orders when the token goes from slot to slot."""


class Verb(StrEnum):
    """What a directive says."""

    KILL = "kill"
    HALT = "halt"
    RESUME = "resume"
    PERMIT = "permit"
    STANDBY = "standby"
    ACTIVATE = "activate"
    OVERLAY = "overlay"
    HOLD = "hold"
    LEASE = "lease"


RISK_REDUCING = frozenset({Verb.KILL, Verb.HALT, Verb.STANDBY, Verb.HOLD})
"""These tolerate unknown fields; the others refuse them."""


SPEAKS = 2
"""What directives may say; a guard tells its number in its status. It rises with every word that an older guard refuses.

0: a guard of before the number.  1: a run's standby and activate say its fence.  2: and that working orders are to be adopted.
"""
NEEDS = {Verb.STANDBY: 1, Verb.ACTIVATE: 1}
"""Verb -> what a guard must speak to take it from a run; what is not named here any guard takes."""
ADOPT_NEEDS = 2
"""The same of a standby and an activation by which working orders are adopted."""


class Scope(msgspec.Struct, frozen=True):
    """A subset by venue, symbol, strategy: an order is in it when every list that is not empty names it."""

    venues: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()

    def everything(self) -> bool:
        """Whether nothing narrows it."""
        return not (self.venues or self.symbols or self.strategies)

    def covers(self, *, venue: str, symbol: str, strategy: str) -> bool:
        """Whether an order of these is in the subset."""
        pairs = ((self.venues, venue), (self.symbols, symbol), (self.strategies, strategy))
        return all(not names or name in names for names, name in pairs)


class Directive(msgspec.Struct, frozen=True):
    """The signed payload.

    hosts: names, or `*` alone for the whole fleet (kill, halt).  issued_ns, expires_ns: wall time; a kill's are
    not held against it.  ends: with permit, the kill ids it ends; with resume, the halt ids.  run: set by a run key.
    args: by verb: overlay {"overlay": {...}}; permit {"cause": str}; standby {"orders": str, "fence": int} and activate {"token":
    int, "slot": str, "orders": str, "fence": int}, where people give no fence and orders is ADOPT, or CANCEL when left out; lease
    {"lease_s": int, "fence": int, "flow_cap_ppm": int}, where no cap means all of the flow, and lease_s 0 ends lease and cap.
    """

    schema: str
    id: str
    verb: Verb
    fleet: str
    hosts: tuple[str, ...]
    reason: str
    issued_ns: int
    expires_ns: int
    scope: Scope = Scope()
    ends: tuple[str, ...] = ()
    run: str | None = None
    args: dict[str, Any] = {}

    def names(self, host: str) -> bool:
        """Whether `host` is meant."""
        return host in self.hosts or self.hosts == (ALL_HOSTS,)


class Delegation(msgspec.Struct, frozen=True):
    """A person lends a run key some verbs on some hosts for one run. Signed for Purpose.DELEGATION."""

    schema: str
    run: str
    fleet: str
    hosts: tuple[str, ...]
    verbs: tuple[str, ...]
    key: str
    issued_ns: int
    expires_ns: int


class OrderOutcomes(msgspec.Struct, frozen=True):
    """What became of the orders that were working when a kill came (K08)."""

    cancelled: int = 0
    filled: int = 0
    rejected: int = 0
    unknown: int = 0


class DirectiveReply(msgspec.Struct, frozen=True):
    """A guard's answer to POST /v1/directives.

    accepted: taken, now or before (`already`).  blocked: no order can leave (the gate acknowledged the epoch with an
    empty send queue, or the process is proved dead).  clear: drop copy shows `working` = 0; None: not known.
    blocked_ms, clear_ms: from the guard's receipt.  note: what became of the orders that were to be adopted.  roster_number: of the
    roster that the host keeps, 0: none.
    """

    schema: str
    id: str
    host: str
    accepted: bool
    already: bool = False
    blocked: bool = False
    clear: bool | None = None
    working: int | None = None
    blocked_ms: float | None = None
    clear_ms: float | None = None
    epoch: int = 0
    marks: tuple[str, ...] = ()
    orders: OrderOutcomes = OrderOutcomes()
    code: str = ""
    error: str = ""
    next: str = ""
    roster_number: int = 0
    note: str = ""
