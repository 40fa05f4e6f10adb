"""The roster: the fleet file's hosts as a signed, numbered list, kept here and on every host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import msgspec

from tradeops.base.durable import read_bounded, write_atomic
from tradeops.contracts.codec import decode, encode
from tradeops.contracts.entitle import entitled, signed_bytes
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.policy import Policy
from tradeops.contracts.roster import SCHEMA, Roster, RosterHost
from tradeops.contracts.signature import Signer
from tradeops.fleet.host import Host

_BYTES_MAX = 16 << 20


def load_roster(path: Path) -> tuple[Envelope, Roster] | None:
    """The newest one here, or None. Raises UsageError, SignatureInvalid when it is malformed."""
    try:
        envelope = decode(read_bounded(path, _BYTES_MAX), Envelope, source=str(path))
    except FileNotFoundError:
        return None
    return envelope, decode(signed_bytes(envelope), Roster, source=str(path))


def sign_roster(fleet: str, hosts: Sequence[Host], signer: Signer, policy: Policy, path: Path) -> tuple[Envelope, Roster]:
    """The hosts as the next roster, kept at `path`; the one that is there when its hosts are the same.

    Raises SignatureInvalid, Refused when the signer may not sign rosters; OSError.
    """
    entries = tuple(_entry(host) for host in hosts)
    found = load_roster(path)
    if found is not None and found[1].hosts == entries:
        return found
    roster = Roster(SCHEMA, fleet, found[1].number + 1 if found else 1, entries)
    body = encode(roster)
    envelope = Envelope.of(body, signer.sign(body, Purpose.ROSTER))
    entitled(policy, "roster", envelope, Purpose.ROSTER, now_ns=None, host=None)
    write_atomic(path, msgspec.json.encode(envelope))
    return envelope, roster


def forgotten(roster: Roster, hosts: Sequence[Host]) -> tuple[Host, ...]:
    """Hosts of the roster that `hosts` lacks: a kill of the whole fleet goes there too."""
    names = {host.name for host in hosts}
    return tuple(_host(entry) for entry in roster.hosts if entry.name not in names)


def _entry(host: Host) -> RosterHost:
    return RosterHost(host.name, host.address, host.port, host.user, host.host_key, host.control_port)


def _host(entry: RosterHost) -> Host:
    """What a kill needs; the rest does not matter to it."""
    return Host(
        name=entry.name,
        address=entry.address,
        port=entry.port,
        user=entry.user,
        host_key=entry.host_key,
        control_port=entry.control_port,
        interpreter="",
        root=PurePosixPath("/"),
        service_manager="",
    )
