"""Makes a machine a managed host, with the admin's SSH rights: one script and one archive on standard input.

Afterwards the operator's key reaches the agent alone, through a forced command, and the admin's rights are needed no more.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tradeops.base.digest import canonical_json
from tradeops.base.errors import OutcomeUnknown, Refused, TradeopsError
from tradeops.contracts.codec import convert
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.host import SCHEMA as HOST_SCHEMA
from tradeops.contracts.host import HostFile
from tradeops.contracts.layout import SLOTS
from tradeops.fleet.channel import Finished
from tradeops.fleet.host import Host
from tradeops.fleet.platform import Platform

SPEC_SCHEMA = "tradeops/enrolment/v1"
TIMEOUT_S = 180.0
_BOOTSTRAP = Path(__file__).resolve().parent.parent / "agent" / "bootstrap.py"
_READ_AND_RUN = "import sys;i=sys.stdin.buffer;exec(compile(i.read(int(i.readline())),'bootstrap','exec'),{'__name__':'__main__'})"
_WORDS_MAX = 600


class Admin(Protocol):
    """How the admin's commands reach a host: fleet.ssh.Ssh."""

    def exec_admin(self, host: Host, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> Finished:
        """Run one command and wait for its end. Raises Unreachable, HostKeyMismatch, OutcomeUnknown."""


class ServiceNames(Protocol):
    """What the fleet file says of the service: fleet.inventory.Service."""

    @property
    def name(self) -> str: ...
    @property
    def guard_user(self) -> str | None: ...
    @property
    def trader_user(self) -> str | None: ...
    @property
    def identity(self) -> str: ...
    def units(self, service_manager: str, slots: Sequence[str]) -> dict[str, str]: ...
    def guard_unit(self, service_manager: str) -> str: ...


@dataclass(frozen=True)
class Enrolment:
    """What every host of a fleet gets. operator_keys: public lines of those who may reach the agents."""

    fleet: str
    platform: Platform
    policy: Envelope
    roster: Envelope | None
    operator_keys: tuple[str, ...]
    _archive: list[bytes] = field(default_factory=list, repr=False)

    def archive(self) -> bytes:
        """The platform's archive, made once for all hosts."""
        if not self._archive:
            self._archive.append(self.platform.archive())
        return self._archive[0]


class Enrolled(msgspec.Struct, frozen=True):
    """What an enrolment found and did. changed: what was not as it should be; empty when all was."""

    host: str
    platform: str
    changed: tuple[str, ...]


def host_file(host: Host, fleet: str, service: ServiceNames, *, supervisor_socket: str | None = None, clock_offset_ns: int = 0) -> HostFile:
    """Who the host is, for its agent and guard. The guard listens on the host's own address where that is one."""
    systemd = host.service_manager == "systemd"
    root = host.root
    touch = ("/usr/bin/touch", str(root / "guard" / "stop-request"))
    return HostFile(
        schema=HOST_SCHEMA,
        host=host.name,
        fleet=fleet,
        service=service.name,
        service_manager=host.service_manager,
        units=service.units(host.service_manager, SLOTS),
        guard_unit=service.guard_unit(host.service_manager),
        interpreter=host.interpreter,
        control_address=host.fields.get("control_address") or _listen_on(host.address),
        control_port=host.control_port,
        supervisor_socket=supervisor_socket,
        guard_user=(service.guard_user or "tradeops-guard") if systemd else None,
        trader_user=(service.trader_user or "tradeops-trader") if systemd else None,
        clock_offset_ns=clock_offset_ns,
        identity=service.identity,
        stop_command=touch if systemd else (host.interpreter, "-IB", str(root / "bin" / "tradeops-stop")),
    )


def enroll(admin: Admin, host: Host, me: HostFile, enrolment: Enrolment, tls: dict[str, str], *, timeout_s: float = TIMEOUT_S) -> Enrolled:
    """Install everything on one host, or put right what is not as it should be; may be run again at any time.

    tls: `ca.pem`, `guard.pem`, `guard.key` as text. Raises Unreachable, HostKeyMismatch, OutcomeUnknown (may be half done: run it
    again), Refused (signature, older policy, roster or platform), TradeopsError.
    """
    argv = [host.interpreter, "-I", "-B", "-c", _READ_AND_RUN]
    if host.admin_user != "root" and host.service_manager == "systemd":
        argv = ["sudo", "-n", *argv]
    done = admin.exec_admin(host, argv, stdin=_input(host, me, enrolment, tls), timeout_s=timeout_s)
    return _read(host, done)


def _input(host: Host, me: HostFile, enrolment: Enrolment, tls: dict[str, str]) -> bytes:
    """The script behind its length, the enrolment on one line, the archive."""
    script = _BOOTSTRAP.read_bytes()
    login = {"user": host.user, "keys": list(enrolment.operator_keys)} if host.service_manager == "systemd" else None
    spec = {
        "schema": SPEC_SCHEMA,
        "root": str(host.root),
        "host": msgspec.to_builtins(me),
        "platform": msgspec.to_builtins(enrolment.platform.envelope),
        "policy": msgspec.to_builtins(enrolment.policy),
        "roster": msgspec.to_builtins(enrolment.roster) if enrolment.roster else None,
        "tls": tls,
        "login": login,
    }
    return str(len(script)).encode() + b"\n" + script + canonical_json(spec) + b"\n" + enrolment.archive()


def _read(host: Host, done: Finished) -> Enrolled:
    words = done.stderr.decode(errors="replace").strip()[-_WORDS_MAX:]
    if done.exit_status is None:
        raise OutcomeUnknown(f"the enrolment ended without a status: {words}", where=host.name, next="enrol the host again")
    lines = done.stdout.splitlines()
    answer = _json(lines[-1]) if lines and done.exit_status == 0 else None
    if answer is None:
        raise TradeopsError(f"the enrolment ended with {done.exit_status}: {words or 'nothing was said'}", where=host.name)
    if answer.get("ok") is True:
        return convert(answer["result"], Enrolled)
    error = answer.get("error", {})
    kind = Refused if error.get("code") in ("signature", "older", "digest") else TradeopsError
    raise kind(str(error.get("what")), where=host.name, next=error.get("next") or None)


def _json(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _listen_on(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return "0.0.0.0"
