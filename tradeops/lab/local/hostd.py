"""Boots local hosts: imports the libraries once, then forks each host's SSH server and service manager.

    python -m tradeops.lab.local.hostd CONFIG...

Prints one line of JSON, {name: {"sshd": {pid, start_ticks}, "manager": {...}}}, and leaves the hosts running.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from supervisor import supervisord

from tradeops.lab import processes
from tradeops.lab.local import config, manager, sshd
from tradeops.lab.local.config import LocalHost


def main(argv: Sequence[str] | None = None) -> None:
    """Raises OSError, msgspec.DecodeError."""
    booted: dict[str, dict[str, processes.Proc]] = {}
    for path in sys.argv[1:] if argv is None else argv:
        host = config.load(Path(path))
        booted[host.name] = boot(host)
    sys.stdout.write(msgspec.json.encode(booted).decode() + "\n")


def boot(host: LocalHost) -> dict[str, processes.Proc]:
    """Start both daemons of a host; they outlive us. Raises OSError, LabError."""
    folder = Path(host.folder)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    Path(host.run).mkdir(mode=0o700, exist_ok=True)
    settings = folder / "supervisord.conf"
    settings.write_text(manager.configuration(host))
    return {
        "sshd": _fork(folder / "logs" / "sshd.log", lambda: asyncio.run(_serve(host))),
        "manager": _fork(folder / "logs" / "manager.log", lambda: supervisord.main(["-n", "-c", str(settings)])),
    }


async def _serve(host: LocalHost) -> None:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await sshd.serve(host)


def _fork(log: Path, daemon: Callable[[], None]) -> processes.Proc:
    """Run `daemon` in a process and session of its own, its output in `log`."""
    pid = os.fork()
    if pid:
        return processes.find(pid) or processes.Proc(pid, 0)
    try:  # from here on we are the daemon, and never return into what our parent was doing
        os.setsid()
        _redirect(log)
        daemon()
    finally:
        if sys.exc_info()[0] not in (None, asyncio.CancelledError, SystemExit):
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(0)


def _redirect(log: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nothing)
    os.close(output)


if __name__ == "__main__":
    main()
