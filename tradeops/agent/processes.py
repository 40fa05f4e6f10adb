"""Reads /proc: what a process really is, and every process of the service however it was started (D02)."""

from __future__ import annotations

import os
import pwd
import select
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .clock import NS_PER_S, Clock
from .hostfile import Context

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_GONE = frozenset("ZXx")


@dataclass(frozen=True)
class Process:
    """One process; the same fields as contracts.agent.Process, and its parent and user."""

    pid: int
    start_ticks: int
    started_wall_ns: int
    command: tuple[str, ...]
    executable: str
    working_folder: str
    parent: int
    user: int

    def public(self) -> dict[str, Any]:
        """As contracts.agent.Process."""
        fields = asdict(self)
        del fields["parent"], fields["user"]
        return fields


def read(pid: int, clock: Clock) -> Process | None:
    """The process, None when it is gone or a zombie: what runs no more code is not there."""
    folder = _PROC / str(pid)
    try:
        state, parent, start_ticks = _stat(folder)
        command = tuple(part.decode(errors="replace") for part in (folder / "cmdline").read_bytes().split(b"\0")[:-1])
        user = folder.stat().st_uid
    except (OSError, ValueError, IndexError):
        return None
    if state in _GONE and not _threads_run(folder):
        return None
    age_ns = clock.since_boot_ns() - start_ticks * NS_PER_S // _TICKS_PER_S
    return Process(pid, start_ticks, clock.wall_ns() - age_ns, command, _link(folder / "exe"), _link(folder / "cwd"), parent, user)


def alive(pid: int, start_ticks: int) -> bool:
    """Whether this very process, not a later one of the same number, still runs."""
    folder = _PROC / str(pid)
    try:
        state, _, ticks = _stat(folder)
    except (OSError, ValueError, IndexError):
        return False
    return ticks == start_ticks and (state not in _GONE or _threads_run(folder))


def of_service(context: Context) -> list[Process]:
    """Every process that runs a release of this host or as the service's user, apart from the guard and the agent."""
    everyone = {pid: process for pid in _pids() for process in [read(pid, context.clock)] if process}
    ours = _family_upwards(os.getpid(), everyone)
    user = _uid(context.host.trader_user)
    return [process for pid, process in sorted(everyone.items()) if pid not in ours and _belongs(context, process, user)]


def descendants(main: int, among: list[Process]) -> set[int]:
    """`main` and the processes that it started, themselves or through each other."""
    family = {main}
    while grown := {process.pid for process in among if process.parent in family} - family:
        family |= grown
    return family


def ends(pid: int, limit_s: float) -> bool:
    """Whether the process is gone within `limit_s`, or was before."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], limit_s)[0])
    finally:
        os.close(fd)


def kill(process: Process) -> None:
    """SIGKILL to exactly this process. One that is gone already is fine. Raises PermissionError."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if alive(process.pid, process.start_ticks):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(fd)


def _belongs(context: Context, process: Process, user: int | None) -> bool:
    if user is not None and process.user == user:
        return True
    releases = f"{context.layout.releases}/"
    if process.executable.startswith(releases) or process.working_folder.startswith(releases):
        return True
    command = process.command
    if command and command[0].startswith(releases):
        return True
    if Path(process.executable).name.startswith("python") and any(part.startswith(releases) for part in command[1:]):
        return True
    return _started_by_stub(context, process.pid)


def _started_by_stub(context: Context, pid: int) -> bool:
    """Whether its environment names this host's root and a slot, as the start stub sets them."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False
    names = {entry.split(b"=", 1)[0] for entry in environment}
    return b"TRADEOPS_SLOT" in names and f"TRADEOPS_ROOT={context.layout.root}".encode() in environment


def _family_upwards(pid: int, everyone: dict[int, Process]) -> set[int]:
    """This process and those above it: the agent's own session is nobody's orphan."""
    family = {pid}
    while (process := everyone.get(pid)) and process.parent not in family:
        pid = process.parent
        family.add(pid)
    return family


def _stat(folder: Path) -> tuple[str, int, int]:
    fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
    return fields[0].decode(), int(fields[1]), int(fields[19])


def _threads_run(folder: Path) -> bool:
    """Whether a thread lives on in a process whose first thread has ended."""
    try:
        states = {_stat(task)[0] for task in (folder / "task").iterdir()}
    except (OSError, ValueError, IndexError):
        return False
    return bool(states - _GONE)


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _pids() -> list[int]:
    return [int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdigit()]


def _uid(user: str | None) -> int | None:
    try:
        return pwd.getpwnam(user).pw_uid if user else None
    except KeyError:
        return None
