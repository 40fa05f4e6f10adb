"""Client order ids: the host's name and the journal's sequence. The same journal, the same ids; never one twice (R09)."""

from __future__ import annotations

import re
from typing import Final

_ID: Final = re.compile(r"(.+)-(\d{1,18})")


def client_id(host: str, sequence: int) -> str:
    """The id of the order with this journal sequence."""
    return f"{host}-{sequence}"


def sequence_of(order_id: str, host: str) -> int | None:
    """The sequence in one of this host's ids; None when it is not one."""
    match = _ID.fullmatch(order_id)
    return int(match[2]) if match and match[1] == host else None


def cancel_id(order_id: str, attempt: int) -> str:
    """The id of the n-th cancel of an order."""
    return f"{order_id}/c{attempt}"
