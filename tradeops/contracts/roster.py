"""The signed, numbered host list of a fleet, kept on every host as well: a forgotten host is found by its number."""

from __future__ import annotations

import msgspec

SCHEMA = "tradeops/roster/v1"


class RosterHost(msgspec.Struct, frozen=True):
    """What it takes to reach one host and to stop it. host_key: OpenSSH public key line.  jump: a jump host's name."""

    name: str
    address: str
    port: int
    user: str
    host_key: str
    control_port: int
    jump: str | None = None


class Roster(msgspec.Struct, frozen=True):
    """The payload of Purpose.ROSTER."""

    schema: str
    fleet: str
    number: int
    hosts: tuple[RosterHost, ...]
