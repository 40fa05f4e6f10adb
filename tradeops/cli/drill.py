"""`drill`: rehearsals on a lab of their own, by the tool's own commands, with the evidence kept."""

from __future__ import annotations

import typer

from tradeops.cli.demo import Folder, Keep, perform
from tradeops.cli.report import Report

drill = typer.Typer(help="Rehearsals: knight.", rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@drill.callback()
def rehearse() -> None:
    """Rehearsals on a lab of their own, by the tool's own commands."""


@drill.command("knight")
def knight(ctx: typer.Context, keep: Keep = False, folder: Folder = None) -> Report:
    """1 August 2012 on eight local hosts: an old flag, a server left on old code, orders without end; refused, found, ended."""
    from tradeops.drills.knight import knight as play

    return perform(ctx, "drill-knight", play, keep=keep, folder=folder)
