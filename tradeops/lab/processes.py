"""Processes by pid and start time: a recorded pid that was given to somebody else is never touched."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from tradeops.base.clock import NS_PER_S, Clock

_STATE = 0
_START_TICKS = 19
_POLL_S = 0.01


class Proc(msgspec.Struct, frozen=True):
    """One process. start_ticks: field 22 of /proc/PID/stat, which no later process of the same pid shares."""

    pid: int
    start_ticks: int


def find(pid: int) -> Proc | None:
    """The live process with this pid now; a zombie is not alive."""
    fields = _stat(pid)
    return None if fields is None or fields[_STATE] in "ZX" else Proc(pid, int(fields[_START_TICKS]))


def alive(proc: Proc) -> bool:
    """Whether it still runs. A child of ours that has ended is reaped on the way."""
    if find(proc.pid) == proc:
        return True
    with suppress(ChildProcessError):  # not our child: its parent reaps it
        os.waitpid(proc.pid, os.WNOHANG)
    return False


def send(proc: Proc, number: signal.Signals) -> bool:
    """Signal exactly this process; False when it is gone. Raises PermissionError."""
    try:
        handle = os.pidfd_open(proc.pid)
    except ProcessLookupError:
        return False
    try:
        if find(proc.pid) != proc:
            return False
        signal.pidfd_send_signal(handle, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def end(procs: Iterable[Proc], clock: Clock, *, grace_s: float) -> None:
    """SIGTERM to each, and SIGKILL to those alive after `grace_s`; returns when all are gone. A stopped one is continued first."""
    left = [proc for proc in procs if send(proc, signal.SIGTERM)]
    for proc in left:
        send(proc, signal.SIGCONT)
    left = wait_gone(left, clock, grace_s)
    for proc in left:
        send(proc, signal.SIGKILL)
    wait_gone(left, clock, grace_s + 5.0)


def spawn(argv: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None) -> Proc:
    """Start a process in a session of its own, output appended to `log`, no input. It outlives us. Raises OSError."""
    opened = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), opened, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawn(argv[0], list(argv), dict(os.environ if environment is None else environment), file_actions=actions, setsid=True)
    return find(pid) or Proc(pid, 0)


def marked(marks: Iterable[str]) -> list[Proc]:
    """Processes other than this one whose environment has any of the `NAME=value` marks: how a lab knows its own."""
    wanted = {mark.encode() for mark in marks}
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        proc = find(int(entry.name))
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # another user's, or just gone
        if proc and not wanted.isdisjoint(variables):
            found.append(proc)
    return found


def children(pid: int) -> list[int]:
    """The pids of the direct children, in the order of their birth."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def wait_gone(procs: list[Proc], clock: Clock, within_s: float) -> list[Proc]:
    """Those of them that are still alive after `within_s`."""
    deadline = clock.monotonic_ns() + int(within_s * NS_PER_S)
    while left := [proc for proc in procs if alive(proc)]:
        if clock.monotonic_ns() >= deadline:
            break
        clock.sleep_s(_POLL_S)
    return left
