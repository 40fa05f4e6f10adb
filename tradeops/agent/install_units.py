"""The units of a host under systemd, hardened. Under supervisord (local lab) the lab has configured the programs already."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from . import service, supervisord, systemd
from .errors import SERVICE, AgentError
from .files import write_atomic
from .hostfile import Context
from .units import ACTIVE

MANAGERS = {"systemd": systemd.Systemd, "supervisord": supervisord.Supervisord}
"""Imported here already: the tree that an enrolment runs from is moved while it runs."""
UNITS = Path("/etc/systemd/system")
STOP_SERVICE, STOP_PATH = "tradeops-stop.service", "tradeops-stop.path"
_GUARD_LIMIT_S = 30.0
_RELOAD_S = 60

_HARDENED = """NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
UMask=0022
"""

_TRADER = """[Unit]
Description=tradeops service, slot {slot}
After=network.target tradeops-guard.service

[Service]
Type=exec
User={user}
ExecStart={python} -IB {root}/bin/tradeops-start {slot}
# Never restarted by the manager: what starts trading again is a person's decision.
Restart=no
KillMode=control-group
TimeoutStopSec=60
LimitNOFILE=65536
ReadWritePaths={root}/data {root}/vitals
{hardened}"""

_GUARD = """[Unit]
Description=tradeops guard
After=network.target
StartLimitIntervalSec=0

[Service]
Type=exec
User={user}
ExecStart={python} -IB {root}/platform/current/guard.py --root {root}
# A guard that is away halts the trader after two seconds: it must be back at once, always.
Restart=always
RestartSec=100ms
TimeoutStopSec=5
OOMScoreAdjust=-900
LimitNOFILE=65536
ReadWritePaths={root}/guard {root}/pages
{hardened}
[Install]
WantedBy=multi-user.target
"""

_STOP_SERVICE = """[Unit]
Description=tradeops: kill every process of the service, at the guard's request
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart={python} -IB {root}/bin/tradeops-stop
"""

_STOP_PATH = """[Unit]
Description=tradeops: the guard's request to kill the service

[Path]
PathExists={root}/guard/stop-request

[Install]
WantedBy=multi-user.target
"""


def ensure(context: Context, changed: list[str], *, restart: bool, folder: Path = UNITS) -> None:
    """Write the units to `folder`; see that the guard runs, freshly started when `restart`. Raises AgentError, OSError."""
    stale = context.host.service_manager == "systemd" and _units(context, changed, folder)
    _guard(context, restart or stale)


def _units(context: Context, changed: list[str], folder: Path) -> bool:
    """Write and enable them; whether one was not as it should be."""
    files = unit_files(context)
    stale = [name for name, text in files.items() if not _is(folder / name, text)]
    for name in stale:
        write_atomic(folder / name, files[name].encode(), 0o644)
        changed.append(name)
    if stale:
        _systemctl("daemon-reload")
    _systemctl("enable", "--quiet", context.host.guard_unit, STOP_PATH)
    _systemctl("start", STOP_PATH)
    return bool(stale)


def unit_files(context: Context) -> dict[str, str]:
    """Name -> text of every unit of the host."""
    host, root = context.host, context.layout.root
    words = {"python": host.interpreter, "root": root, "hardened": _HARDENED}
    return {
        **{name: _TRADER.format(user=host.trader_user or "root", slot=slot, **words) for name, slot in _trader_files(host.units).items()},
        host.guard_unit: _GUARD.format(user=host.guard_user or "root", **words),
        STOP_SERVICE: _STOP_SERVICE.format(**words),
        STOP_PATH: _STOP_PATH.format(**words),
    }


def _trader_files(units: dict[str, str]) -> dict[str, str]:
    """File name -> slot: one template where units are `name@SLOT.service`, else a file each."""
    files = {}
    for slot, unit in units.items():
        name, at, instance = unit.partition("@")
        files.update({f"{name}@.service": "%i"} if at and instance == f"{slot}.service" else {unit: slot})
    return files


def _guard(context: Context, restart: bool) -> None:
    unit = context.host.guard_unit
    if restart or service.manager(context).states(unit)[unit].state != ACTIVE:
        service.restart_guard(context, _GUARD_LIMIT_S)
    elif not service.guard_beats(context, context.clock.monotonic_ns(), _GUARD_LIMIT_S):
        raise AgentError(SERVICE, f"{unit} is active and does not beat", next=f"look at its log on the host: journalctl -u {unit}")


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def _systemctl(*words: str) -> None:
    argv = [shutil.which("systemctl") or "systemctl", "--no-ask-password", *words]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_RELOAD_S, check=False)
    if done.returncode:
        raise AgentError(SERVICE, f"systemctl {' '.join(words)}: {done.stderr.strip()[-400:]}")
