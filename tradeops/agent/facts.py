"""What preflight needs to know of a host: measured now, and whatever could not be measured is said."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from . import journal, lock, marks, offer, service, slot, verify
from .errors import INTERNAL, AgentError, from_os_error
from .files import parse_object, read_object
from .hostfile import Context
from .names import is_digest, linked_digest

_PROBE = ".probe"
_ABI = "f'cp{sys.version_info[0]}{sys.version_info[1]}'"
_PLATFORM = "sysconfig.get_platform().replace('-','_').replace('.','_')"


def facts(context: Context) -> dict[str, Any]:
    """contracts.agent.Facts."""
    problems: list[str] = []
    layout, host = context.layout, context.host
    disk = os.statvfs(layout.root)
    state = _lock_state(context, problems)
    abi, abi_platform, version = _python(context, problems)
    return {
        "host": host.host,
        "fleet": host.fleet,
        "machine_id": _machine_id(problems),
        "platform": linked_digest(layout.platform) or "",
        "python_abi": abi,
        "python_platform": abi_platform,
        "python_version": version,
        "disk_free_bytes": disk.f_bavail * disk.f_frsize,
        "inodes_free": disk.f_favail,
        "memory_available_bytes": _memory_available(),
        "wall_ns": context.clock.wall_ns(),
        "running": _running(context, problems),
        "previous": slot.previous(context),
        "releases": releases(context),
        "highest_number": offer.numbers(context).get(host.service, 0),
        "marks": marks.marks(context),
        "lock": lock.public(context, state.lease) if state.lease else None,
        "fence": state.fence,
        "roster_number": number_in(layout.roster_file),
        "policy_number": _policy_number(context, problems),
        "overlay_number": max(slot.overlay_number(context), _guard_overlay(context)),
        "witnesses": journal.heads(context),
        "writable": writable(context, problems),
        "problems": problems,
        "active": marks.active_slot(context),
        "token": marks.token(context),
        "identity": host.identity,
    }


def releases(context: Context) -> list[str]:
    """Every release that is assembled here."""
    found = [f"sha256:{path.name}" for path in context.layout.releases.iterdir() if (path / "release.json").exists()]
    return sorted(digest for digest in found if is_digest(digest))


def number_in(path: Path) -> int:
    """The number of the signed document in a file, 0 when there is none. Raises AgentError, OSError."""
    envelope = read_object(path)
    number = parse_object(verify.body_of(envelope), str(path)).get("number") if envelope else 0
    return number if isinstance(number, int) else 0


def writable(context: Context, problems: list[str]) -> bool:
    """Whether every folder that a run writes to can be written, by writing."""
    layout = context.layout
    for folder in (layout.agent_state, layout.blobs, layout.releases, layout.slot(next(iter(context.host.units), "blue"))):
        probe = folder / f"{_PROBE}-{os.getpid()}"
        try:
            probe.write_bytes(b"tradeops")
            probe.unlink()
        except OSError as error:
            problems.append(from_os_error(error).what)
            return False
    return True


def _lock_state(context: Context, problems: list[str]) -> lock.State:
    try:
        return lock.load(context)
    except AgentError as error:
        problems.append(error.what)
        return lock.State(0, None)


def _policy_number(context: Context, problems: list[str]) -> int:
    try:
        return verify.host_policy(context).number
    except AgentError as error:
        problems.append(error.what)
        return 0


def _running(context: Context, problems: list[str]) -> list[dict[str, Any]]:
    try:
        return service.running(context)
    except AgentError as error:
        problems.append(error.what)
        return []


def _guard_overlay(context: Context) -> int:
    number = marks.guard_state(context).get("overlay_number")
    return number if isinstance(number, int) else 0


def _machine_id(problems: list[str]) -> str:
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        problems.append("/etc/machine-id cannot be read")
        return ""


def _memory_available() -> int:
    """Bytes that new processes can have without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    raise AgentError(INTERNAL, "/proc/meminfo does not say what memory is available")


def _python(context: Context, problems: list[str]) -> tuple[str, str, str]:
    """ABI, platform and version of the interpreter that will run releases: it may be another than the agent's own."""
    interpreter = context.host.interpreter
    if os.path.realpath(interpreter) == os.path.realpath(sys.executable):
        return _describe()
    try:
        argv = [
            interpreter,
            "-I",
            "-c",
            f"import json,platform,sys,sysconfig;print(json.dumps([{_ABI},{_PLATFORM},platform.python_version()]))",
        ]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=True)
        abi, named, version = parse_object(b'{"python":' + done.stdout + b"}", "the interpreter's answer")["python"]
        return str(abi), str(named), str(version)
    except (OSError, subprocess.SubprocessError, ValueError, AgentError) as error:
        problems.append(f"the interpreter {interpreter} does not run: {error}")
        return "", "", ""


def _describe() -> tuple[str, str, str]:
    """This interpreter, said as the other one is asked to say it."""
    return (
        f"cp{sys.version_info[0]}{sys.version_info[1]}",
        sysconfig.get_platform().replace("-", "_").replace(".", "_"),
        platform.python_version(),
    )
