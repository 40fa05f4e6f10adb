"""A cgroup per host, so that its systemd is alone in its tree, and so that all of a host can be ended at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.lab.errors import LabError

_GONE_S = 10.0
_POLL_S = 0.01


def paths(lab: str, host: str) -> tuple[str, ...]:
    """Where the host's cgroup goes: the `name=systemd` hierarchy when there is one, and the unified one."""
    found = [str(root / "tradeops-lab" / lab / host) for root in hierarchies(Path("/proc/self/mountinfo").read_text())]
    if not found:
        raise LabError("this machine has no cgroup hierarchy for systemd", next="use the local driver")
    return tuple(found)


def hierarchies(mountinfo: str) -> list[Path]:
    """Where the hierarchies that systemd uses are mounted, out of the text of /proc/self/mountinfo."""
    roots = []
    for line in mountinfo.splitlines():
        left, right = line.split(" - ", 1)
        kind, _source, options = right.split()[:3]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            roots.append(Path(left.split()[4]))
    return roots


def make(groups: Sequence[str]) -> None:
    """Raises OSError."""
    for group in groups:
        Path(group).mkdir(parents=True, exist_ok=True)


def members(groups: Sequence[str]) -> list[int]:
    """The pids in the groups and below."""
    found: set[int] = set()
    for group in groups:
        for folder, _names, _files in os.walk(group):
            try:
                found.update(int(pid) for pid in Path(folder, "cgroup.procs").read_text().split())
            except OSError:
                continue  # the group went while we looked
    return sorted(found)


def kill(groups: Sequence[str], clock: Clock) -> None:
    """SIGKILL everything in the groups, and wait until nothing is left. Raises LabError after ten seconds."""
    for group in groups:
        whole = Path(group, "cgroup.kill")
        if whole.exists():
            whole.write_text("1")
    deadline = clock.monotonic_ns() + int(_GONE_S * NS_PER_S)
    while pids := members(groups):
        if clock.monotonic_ns() > deadline:
            raise LabError(
                f"processes {pids} do not end",
                holds="they are stuck in the kernel",
                next="look at their /proc/PID/stack, then `lab down` again",
            )
        for pid in pids:
            _kill_member(pid, groups)
        clock.sleep_s(_POLL_S)


def _kill_member(pid: int, groups: Sequence[str]) -> None:
    """By handle, and only while it is a member still: the pid may have been given to another."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if pid in members(groups):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        pass  # gone by itself
    finally:
        os.close(handle)


def remove(groups: Sequence[str]) -> None:
    """Remove the empty groups, and their parents when these are empty. Raises OSError."""
    for group in groups:
        for folder, _names, _files in os.walk(group, topdown=False):
            Path(folder).rmdir()
        for parent in list(Path(group).parents)[:2]:
            try:
                parent.rmdir()
            except OSError:
                break  # other hosts or labs are in it, or it is gone
