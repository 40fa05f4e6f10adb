"""The signed, numbered host list: what the fleet file may not quietly lose a host from, and how a kill finds a forgotten one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from tradeops.base.errors import ConfigError, Refused
from tradeops.contracts.codec import decode, encode
from tradeops.contracts.entitle import entitled, signed_bytes
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.layout import DEFAULT_ROOT
from tradeops.contracts.policy import Policy
from tradeops.contracts.roster import SCHEMA, Roster, RosterHost
from tradeops.contracts.signature import Signer
from tradeops.fleet.host import Host

_SHOWN_MAX = 10
_INTERPRETER = "/usr/bin/python3"


def build_roster(fleet: str, hosts: Sequence[Host], number: int) -> Roster:
    """The list of these hosts. Raises ConfigError when one has no pinned key: a roster must not trust whoever answers."""
    without = [host.name for host in hosts if not host.host_key]
    if without:
        raise ConfigError(f"{_names(without)} pin no host_key", next="pin the key that the host's console shows, then sign the roster")
    return Roster(SCHEMA, fleet, number, tuple(_entry(host) for host in hosts))


def sign_roster(roster: Roster, signer: Signer) -> Envelope:
    """The roster in its envelope. Raises TradeopsError when the key cannot be used."""
    body = encode(roster)
    return Envelope.of(body, signer.sign(body, Purpose.ROSTER))


def open_roster(envelope: Envelope, policy: Policy) -> Roster:
    """The roster inside, signed as `policy` says. Raises SignatureInvalid, Refused, UsageError."""
    entitled(policy, "roster", envelope, Purpose.ROSTER, now_ns=None, host=None)
    roster = decode(signed_bytes(envelope), Roster, source="roster")
    if (roster.schema, roster.fleet) != (SCHEMA, policy.fleet):
        raise Refused(f"the roster is a {roster.schema[:64]} of fleet {roster.fleet[:64]!r}, not of {policy.fleet!r}")
    return roster


def differences(roster: Roster, hosts: Sequence[Host]) -> tuple[str, ...]:
    """In what the fleet file says something else than the signed roster, a line per host; empty when they agree."""
    signed = {entry.name: entry for entry in roster.hosts}
    listed = {host.name: _entry(host) for host in hosts}
    lines = [f"{name} is in the roster and not in the fleet file" for name in signed.keys() - listed.keys()]
    lines += [f"{name} is in the fleet file and not in the roster" for name in listed.keys() - signed.keys()]
    lines += [
        f"{name} is reached in another way than the roster says" for name in signed.keys() & listed.keys() if signed[name] != listed[name]
    ]
    return tuple(sorted(lines))


def require_signed(roster: Roster | None, hosts: Sequence[Host]) -> None:
    """Raises Refused unless the fleet file names exactly the hosts of the signed roster: a host may not quietly drop out of a fleet."""
    if roster is None:
        raise Refused("the fleet has no signed roster", holds="nothing was touched", next="`tradeops fleet sign`")
    if lines := differences(roster, hosts):
        raise Refused(
            "the fleet file is not the signed roster\n" + "\n".join(lines),
            holds="nothing was touched",
            next="mend the fleet file, or `tradeops fleet sign` if the fleet has changed",
        )


def with_forgotten(hosts: Sequence[Host], entries: Iterable[RosterHost]) -> tuple[Host, ...]:
    """The hosts of the fleet file, then those that only rosters know."""
    known = {host.name for host in hosts}
    return (*hosts, *(_host(entry) for entry in entries if entry.name not in known))


def _entry(host: Host) -> RosterHost:
    return RosterHost(host.name, host.address, host.port, host.user, host.host_key, host.control_port, host.jump)


def _host(entry: RosterHost) -> Host:
    """Enough of a host to stop it: guard and agent need nothing else."""
    return Host(
        name=entry.name,
        address=entry.address,
        port=entry.port,
        user=entry.user,
        host_key=entry.host_key,
        control_port=entry.control_port,
        interpreter=_INTERPRETER,
        root=PurePosixPath(DEFAULT_ROOT),
        service_manager="systemd",
        jump=entry.jump,
    )


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
    return ", ".join(names[:_SHOWN_MAX]) + more
