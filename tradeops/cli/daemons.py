"""The daemons, run here in place of this process: `tradeops trader|guard|venue run ...`."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import NoReturn

import typer

from tradeops.base.errors import UsageError


def trader(ctx: typer.Context) -> NoReturn:
    """Run the trading daemon here: `tradeops trader run [OPTIONS]`."""
    _become("trader", ctx.args)


def guard(ctx: typer.Context) -> NoReturn:
    """Run a host's guard here: `tradeops guard run [OPTIONS]`."""
    _become("guard", ctx.args)


def venue(ctx: typer.Context) -> NoReturn:
    """Run the simulated exchange here: `tradeops venue run [OPTIONS]`."""
    _become("venue", ctx.args)


def _become(daemon: str, arguments: list[str]) -> NoReturn:
    if arguments[:1] != ["run"]:
        raise UsageError(f"`tradeops {daemon}` knows one word: run", next=f"`tradeops {daemon} run --help`")
    if importlib.util.find_spec("aiohttp") is None:
        raise UsageError(f"the {daemon} needs libraries that are not installed", next="pip install 'tradeops[host]'")
    os.execv(sys.executable, [sys.executable, "-m", f"tradeops.{daemon}", *arguments[1:]])
