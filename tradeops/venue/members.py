"""Who may log on: accounts, their secrets, and whose orders they oversee."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from tradeops.venue.faults import FaultKind, Faults
from tradeops.venue.masscancel import EVERY_ACCOUNT
from tradeops.wire.auth import proved
from tradeops.wire.protocol import Code


@dataclass(frozen=True)
class Account:
    """secret: None means none is asked for. oversees: accounts whose orders it may cancel and see; `*` all."""

    name: str
    secret: bytes | None = field(default=None, repr=False)
    oversees: tuple[str, ...] = ()


class Members:
    """The accounts. With none configured the venue is open: any name gets in and oversees itself."""

    def __init__(self, accounts: Collection[Account], faults: Faults) -> None:
        self._accounts: Mapping[str, Account] = {account.name: account for account in accounts}
        self._faults = faults
        self._latest_ns: dict[str, int] = {}

    def refusal(self, *, session: str, account: str, time_ns: int, proof: str) -> tuple[Code, str] | None:
        """Why this logon is refused, or None. A proof's time must rise per session, so that none is used twice."""
        if fault := self._faults.strike(FaultKind.REFUSE_LOGON, account=account):
            return Code.REFUSED, fault.text
        if not self._accounts:
            return None
        known = self._accounts.get(account)
        if known is None:
            return Code.NOT_ALLOWED, f"no account {account}"
        if known.secret is None:
            return None
        if not proved(known.secret, proof, session=session, account=account, time_ns=time_ns):
            return Code.BAD_PROOF, "the proof is not one of this account's secret"
        if time_ns <= self._latest_ns.get(session, 0):
            return Code.BAD_PROOF, "the proof's time is not later than the last one's"
        self._latest_ns[session] = time_ns
        return None

    def oversees(self, account: str) -> tuple[str, ...]:
        """The other accounts that it may cancel and see."""
        known = self._accounts.get(account)
        return known.oversees if known is not None else ()

    def visible(self, account: str, wanted: Collection[str]) -> frozenset[str] | None:
        """The accounts a drop copy of `account` shows when it asks for `wanted`; None: it may not."""
        if not wanted:
            return frozenset({account})
        seen = {account, *self.oversees(account)}
        return frozenset(wanted) if EVERY_ACCOUNT in seen or seen.issuperset(wanted) else None
