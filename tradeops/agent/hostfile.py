"""etc/host.json: who this host is, as enrolment wrote it. And `Context`: what every verb is handed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .clock import Clock
from .errors import INTERNAL, AgentError
from .files import read_object
from .names import Layout


@dataclass(frozen=True)
class HostFile:
    """The same fields as contracts.host.HostFile."""

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


@dataclass(frozen=True)
class Context:
    """Where the agent is, who the host is, what time it is."""

    layout: Layout
    host: HostFile
    clock: Clock


def load_context(root: Path) -> Context:
    """Read host.json below `root`. Raises AgentError, OSError."""
    layout = Layout(root)
    raw = read_object(layout.host_file)
    if raw is None:
        raise AgentError(INTERNAL, f"{layout.host_file} is missing", next="enrol the host: `tradeops fleet enroll`")
    host = parse_host(raw, str(layout.host_file))
    return Context(layout, host, Clock(host.clock_offset_ns))


def parse_host(raw: dict[str, Any], source: str) -> HostFile:
    """A host file. Raises AgentError (internal)."""
    known = {field.name for field in fields(HostFile)}
    try:
        return HostFile(**{name: value for name, value in raw.items() if name in known})
    except TypeError as error:
        raise AgentError(INTERNAL, f"{source}: {error}", next="enrol the host again: `tradeops fleet enroll`") from None
