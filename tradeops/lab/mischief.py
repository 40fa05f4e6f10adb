"""Starts our TCP proxy (proxy.py) as a process of a lab."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.lab import processes
from tradeops.lab.errors import LabError
from tradeops.lab.kinds import number
from tradeops.lab.state import LabHost

_READY_S = 10.0
_POLL_S = 0.01
_DELAY_MS_MAX = 600_000
_BYTES_MAX = 1 << 40


def proxy_argv(settings: Mapping[str, str], listen: tuple[str, int], to: tuple[str, int]) -> list[str]:
    """The proxy's command line for a delay, reset or truncate. Raises UsageError for a setting out of bounds."""
    script = str(Path(__file__).with_name("proxy.py"))
    argv = [sys.executable, "-I", script, "--listen", f"{listen[0]}:{listen[1]}", "--to", f"{to[0]}:{to[1]}", "--kind", settings["kind"]]
    given = dict(settings)
    if settings["kind"] == "delay":
        return [*argv, "--delay-ms", str(number(given, "ms", 0, _DELAY_MS_MAX))]
    return [*argv, "--after-bytes", str(number(given, "bytes", 0, _BYTES_MAX))]


def start_proxy(host: LabHost, argv: Sequence[str], kind: str, clock: Clock) -> processes.Proc:
    """Returns once it listens. Raises LabError when it does not."""
    log = Path(host.folder) / f"proxy-{kind}.log"
    log.unlink(missing_ok=True)
    program = shutil.which(argv[0]) or argv[0]
    # the root marks it as the host's: taking the lab down finds it although nobody may have noted its pid yet
    proc = processes.spawn([program, *argv[1:]], log=log, environment=dict(os.environ) | {"TRADEOPS_ROOT": host.root})
    deadline = clock.monotonic_ns() + int(_READY_S * NS_PER_S)
    while not log.read_text().startswith("ready\n"):
        if not processes.alive(proc) or clock.monotonic_ns() > deadline:
            processes.send(proc, signal.SIGKILL)
            raise LabError(f"the proxy does not start: {log.read_text()[-300:].strip()}", where=host.name)
        clock.sleep_s(_POLL_S)
    return proc
