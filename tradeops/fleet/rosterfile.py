"""The newest roster as this machine keeps it, and the next one when the fleet file's hosts have changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from tradeops.base.durable import read_bounded, write_atomic
from tradeops.contracts.codec import decode
from tradeops.contracts.entitle import signed_bytes
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.policy import Policy
from tradeops.contracts.roster import Roster
from tradeops.contracts.signature import Signer
from tradeops.fleet.host import Host
from tradeops.fleet.roster import build_roster, differences, open_roster, sign_roster

_BYTES_MAX = 16 << 20


def load_roster(path: Path, policy: Policy) -> tuple[Envelope, Roster] | None:
    """The newest one here, signed as the policy says; None before the first. Raises SignatureInvalid, Refused, UsageError."""
    found = stored_roster(path)
    return (found[0], open_roster(found[0], policy)) if found else None


def stored_roster(path: Path) -> tuple[Envelope, Roster] | None:
    """The newest one here, its signatures not asked; None before the first. Raises SignatureInvalid, UsageError."""
    try:
        envelope = decode(read_bounded(path, _BYTES_MAX), Envelope, source=str(path))
    except FileNotFoundError:
        return None
    return envelope, decode(signed_bytes(envelope), Roster, source=str(path))


def next_roster(fleet: str, hosts: Sequence[Host], signer: Signer, policy: Policy, path: Path) -> tuple[Envelope, Roster]:
    """The hosts as the next roster, kept at `path`; the one that is there when its hosts are the same.

    Raises ConfigError (a host pins no key), SignatureInvalid, Refused when the signer may not sign rosters; OSError.
    """
    found = load_roster(path, policy)
    if found is not None and not differences(found[1], hosts):
        return found
    roster = build_roster(fleet, hosts, found[1].number + 1 if found else 1)
    envelope = sign_roster(roster, signer)
    open_roster(envelope, policy)
    write_atomic(path, msgspec.json.encode(envelope))
    return envelope, roster
