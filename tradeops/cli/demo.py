"""`demo`: the whole story on a local lab; and how any story that is played on one is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeops.base.errors import ExitCode
from tradeops.cli.options import context
from tradeops.cli.report import NO, YES, Report, table

if TYPE_CHECKING:
    from tradeops.drills.story import Done

Keep = Annotated[bool, typer.Option("--keep", help="Leave the lab up to play with.")]
Folder = Annotated[Path | None, typer.Option("--folder", help="Where to play [a temporary folder, in memory where there is room]")]


def demo(ctx: typer.Context, keep: Keep = False, folder: Folder = None) -> Report:
    """Eight hosts on this machine: deployed, judged, broken on purpose, refused, killed, permitted again."""
    from tradeops.drills.demo import demo as play

    return perform(ctx, "demo", play, keep=keep, folder=folder)


def perform(ctx: typer.Context, command: str, play: Callable[..., tuple[Done, ...]], *, keep: bool, folder: Path | None) -> Report:
    """Play a story and tell what each act came to."""
    from tradeops.drills.place import new_folder

    c = context(ctx)
    place = folder or new_folder(command)
    place.mkdir(parents=True, exist_ok=True)
    done = play(place, c.clock, c.printer.line, screen=c.printer.terminal, keep=keep)
    ok = all(each.ok for each in done)
    if ok and not keep and folder is None:
        shutil.rmtree(place)
    rows = [
        (f"{YES if each.ok else NO} {each.act.name}", int(each.act.expected), each.exit_code, f"{each.seconds:.1f}", each.command)
        for each in done
    ]
    title = f"{sum(each.ok for each in done)} of {len(done)} acts as expected, {sum(each.seconds for each in done):.0f} s"
    where = f"the lab is up: cd {place}; end it with `tradeops lab down`" if keep else f"what is left lies in {place}" if not ok else ""
    data: dict[str, Any] = {"acts": [each.document() for each in done]}
    return Report(
        command,
        title,
        ExitCode.PROVED if ok else ExitCode.INTERNAL,
        tables=(table(("act", "expected", "exit", "s", "command"), rows),),
        next=where,
        data=data,
    )
