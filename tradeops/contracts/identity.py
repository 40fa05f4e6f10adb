"""What a running process says it is. /v1/identity keeps its shape for good."""

from __future__ import annotations

import msgspec

SCHEMA = "tradeops/identity/v1"


class Identity(msgspec.Struct, frozen=True):
    """Written by the trader into its vitals; compared with /proc by the agent and with the plan by the operator.

    release, binding: digests.  overlay: number, 0 for none.  start_ticks: field 22 of /proc/PID/stat.
    flags: active flag id -> digest of its written meaning.
    """

    service: str
    release: str
    binding: str
    overlay: int
    slot: str
    pid: int
    start_ticks: int
    started_wall_ns: int
    flags: dict[str, str] = {}


class IdentityReport(msgspec.Struct, frozen=True):
    """GET /v1/identity: the trader's identity as its guard last read it, and the guard's own.

    identity: of the active slot.  standby: of the other slot's process, None when none lives.
    """

    schema: str
    host: str
    fleet: str
    platform: str
    identity: Identity | None
    age_ms: float | None
    problem: str = ""
    standby: Identity | None = None
