"""etc/host.json: who a host is and how its services run. Written at enrolment by the admin's hand."""

from __future__ import annotations

import msgspec

SCHEMA = "tradeops/host/v1"


class HostFile(msgspec.Struct, frozen=True):
    """service_manager: systemd or supervisord.  units: slot -> unit or program name.  supervisor_socket: for
    supervisord.  control_*: where the guard listens.  clock_offset_ns: the lab's skew, 0 on real hosts.
    guard_user, trader_user: None where one user owns all (local lab).  stop_command: what the guard runs to have every
    process of the service killed; takes no arguments and answers by its effect (the trader's pid dies).  identity: how the
    service tells what it is: `vitals`, our trader's own page; or `url`, any other service, which the platform keeps (agent/keeper.py).
    """

    schema: str
    host: str
    fleet: str
    service: str
    service_manager: str
    units: dict[str, str]
    guard_unit: str
    interpreter: str
    control_address: str
    control_port: int
    supervisor_socket: str | None = None
    guard_user: str | None = None
    trader_user: str | None = None
    clock_offset_ns: int = 0
    stop_command: tuple[str, ...] = ()
    identity: str = "vitals"
