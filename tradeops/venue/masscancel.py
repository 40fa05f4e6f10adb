"""Which working orders a cancel-all means. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tradeops.venue.orders import Record
from tradeops.wire.protocol import CancelAll

EVERY_ACCOUNT = "*"


def permitted_accounts(own: str, oversees: Collection[str], asked: str) -> Collection[str] | None:
    """The accounts that a member of `own` reaches when it asks for `asked`; None: it may not. `*` in `oversees` is every account."""
    if asked in ("", own):
        return (own,)
    if asked == EVERY_ACCOUNT:
        return (EVERY_ACCOUNT,) if EVERY_ACCOUNT in oversees else (own, *oversees)
    return (asked,) if asked in oversees or EVERY_ACCOUNT in oversees else None


def selected(working: Iterable[Record], request: CancelAll, accounts: Collection[str]) -> list[Record]:
    """The records of `working` that every non-empty list of the request names."""
    return [
        record
        for record in working
        if (EVERY_ACCOUNT in accounts or record.account in accounts)
        and (not request.symbols or record.symbol in request.symbols)
        and (not request.strategies or record.tags.strategy in request.strategies)
        and (not request.hosts or record.tags.host in request.hosts)
    ]
