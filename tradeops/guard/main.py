"""Composition root of the guard: `python -m tradeops.guard --root ROOT`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import resource
import signal
from pathlib import Path

from tradeops.base import logs
from tradeops.base.clock import SystemClock
from tradeops.base.errors import TradeopsError
from tradeops.contracts.layout import DEFAULT_ROOT, HostLayout
from tradeops.guard.api import Api, bind, tls_context
from tradeops.guard.core import Guard
from tradeops.guard.site import read_host

_LOG = logging.getLogger("guard.main")


async def serve(root: Path) -> None:
    """Guard the host below `root` until SIGTERM; the page then keeps its last words, and the beat's silence does the rest.

    Raises ConfigError.
    """
    layout = HostLayout(root)
    host = read_host(layout)
    clock = SystemClock(host.clock_offset_ns)
    tls, sock = tls_context(layout), bind(host)
    guard = Guard(layout, host, clock)
    api = Api(guard, clock)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(guard.run(), name="guard"), tasks.create_task(api.run(sock, tls), name="api")]
        loop = asyncio.get_running_loop()
        for stop in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stop, lambda: [task.cancel() for task in running])
        logs.event(_LOG, logging.INFO, "guarding", host=host.host, fleet=host.fleet, port=sock.getsockname()[1])


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 after SIGTERM, 2 when it cannot be set up."""
    parser = argparse.ArgumentParser(prog="python -m tradeops.guard", description="Control plane of a trading host.")
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help=f"the host's root folder (default {DEFAULT_ROOT})")
    root: Path = parser.parse_args(argv).root
    logs.configure()
    _raise_file_limit()
    try:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(serve(root.absolute()))
    except TradeopsError as error:
        logs.event(_LOG, logging.CRITICAL, "cannot guard", problem=str(error), next=error.next or "")
        return int(error.exit_code)
    return 0


def _raise_file_limit() -> None:
    """As many connections as the system lets us have: none may keep a kill out."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
