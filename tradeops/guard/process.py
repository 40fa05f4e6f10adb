"""Processes as /proc shows them: is the trader alive, is it still that one, and the last resort."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path, PurePath

PROC = Path("/proc")
_START_TICKS = 19
"""Position of field 22 of /proc/PID/stat behind the command's closing bracket."""
_PARENT = 1
_FAMILY_DEPTH = 32
_GONE = frozenset("ZXx")

Scan = Callable[[Path], tuple[int, ...]]


def start_ticks(pid: int) -> int | None:
    """When the process started, in ticks since boot; None when there is none, or only what its parent has not yet collected."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        if fields[0] in _GONE and not _threads_run(pid):
            return None
        return int(fields[_START_TICKS])
    except (OSError, IndexError, ValueError):
        return None


def _threads_run(pid: int) -> bool:
    """Whether a thread lives on in a process whose first thread has ended."""
    states = set()
    for task in (PROC / str(pid) / "task").iterdir():
        states.add((task / "stat").read_text().rpartition(")")[2].split()[0])
    return bool(states - _GONE)


def started_by(pid: int, ancestor: int) -> bool:
    """Whether the process is `ancestor` or descends from it; False when that cannot be seen."""
    for _ in range(_FAMILY_DEPTH):
        if pid == ancestor:
            return True
        try:
            pid = int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[_PARENT])
        except (OSError, IndexError, ValueError):
            return False
    return False


def alive(pid: int, ticks: int) -> bool:
    """Whether the very process that started at `ticks` lives: a pid used again is another process."""
    return start_ticks(pid) == ticks


def service_processes(releases: Path) -> tuple[int, ...]:
    """Processes that run something out of the release folder: what is said on their command lines, readable to all users."""
    inside = str(releases) + "/"
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit() and _runs(entry, inside) and start_ticks(int(entry.name)) is not None:
            found.append(int(entry.name))
    return tuple(found)


def _runs(entry: Path, inside: str) -> bool:
    try:
        argv = (entry / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
    except OSError:
        return False
    program = PurePath(argv[0]).name
    return argv[0].startswith(inside) or (program.startswith("python") and any(word.startswith(inside) for word in argv[1:]))


def end(pid: int, ticks: int) -> bool:
    """SIGKILL to that very process; False when it is gone already. Raises PermissionError."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not alive(pid, ticks):
            return False
        signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


async def run_bounded(command: tuple[str, ...], timeout_s: float) -> str:
    """Run a command of etc/host.json; what went wrong, empty when nothing did. What it changed is looked at afterwards."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        return f"{command[0]}: {error}"
    try:
        async with asyncio.timeout(timeout_s):
            code = await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"{command[0]}: not done within {timeout_s} s"
    return "" if code == 0 else f"{command[0]}: exit status {code}"
