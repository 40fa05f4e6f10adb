"""The daemons, run here in place of this process: `tradeops trader|guard|venue run ...`."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import NoReturn

import typer

from tradeops.base.errors import UsageError
from tradeops.cli.options import context


def trader(ctx: typer.Context) -> NoReturn:
    """Run the trading daemon here: `tradeops trader run [OPTIONS]`."""
    _become("trader", ctx)


def guard(ctx: typer.Context) -> NoReturn:
    """Run a host's guard here: `tradeops guard run [OPTIONS]`."""
    _become("guard", ctx)


def venue(ctx: typer.Context) -> NoReturn:
    """Run the simulated exchange here: `tradeops venue run [OPTIONS]`."""
    _become("venue", ctx)


def _become(daemon: str, ctx: typer.Context) -> NoReturn:
    arguments = ctx.args
    if arguments[:1] != ["run"]:
        raise UsageError(f"`tradeops {daemon}` knows one word: run", next=f"`tradeops {daemon} run --help`")
    if context(ctx).options.as_json:
        raise UsageError(f"--json is no option of the {daemon}", next="its log is JSON lines already; leave --json out")
    if importlib.util.find_spec("aiohttp") is None:
        raise UsageError(f"the {daemon} needs libraries that are not installed", next="pip install 'tradeops[host]'")
    os.execv(sys.executable, [sys.executable, "-m", f"tradeops.{daemon}", *arguments[1:]])
