"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from tradeops.cli.context import Context

All = Annotated[bool, typer.Option("--all", help="Every host of the fleet.")]
Hosts = Annotated[list[str] | None, typer.Option("--host", metavar="NAME", help="This host; may be given again.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", metavar="TAG", help="Hosts with this tag; may be given again.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why. Kept for good.")]
Count = Annotated[
    int | None, typer.Option("--count", metavar="N", help="The number of hosts, typed, where it is more than half of the fleet.")
]
Playbook = Annotated[str, typer.Option("--playbook", metavar="P", help="A playbook's name or file.")]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="HOST", help="Leave this host out and kill it: it stays an open finding; may be given again."),
]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why hosts are excluded. Kept for good.")]
Watch = Annotated[bool, typer.Option("--watch", help="Again and again, until Ctrl-C.")]


def context(ctx: typer.Context) -> Context:
    """What the command works with."""
    found: Any = ctx.obj
    assert isinstance(found, Context)
    return found
