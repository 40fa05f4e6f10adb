"""`demo`: the whole story on a local lab."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tradeops.base.errors import ExitCode
from tradeops.cli.options import context
from tradeops.cli.report import NO, YES, Report, table


def demo(
    ctx: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the lab up to play with.")] = False,
    folder: Annotated[Path | None, typer.Option("--folder", help="Where to play [a temporary folder]")] = None,
) -> Report:
    """Eight hosts on this machine: deployed, proved, broken on purpose, refused, killed, permitted again."""
    from tradeops.drills.demo import demo as play
    from tradeops.drills.demo import document

    c = context(ctx)
    place = folder or Path(tempfile.mkdtemp(prefix="tradeops-demo-"))
    place.mkdir(parents=True, exist_ok=True)
    done = play(place, c.clock, c.printer.line, keep=keep)
    ok = all(each.ok for each in done)
    if ok and not keep and folder is None:
        shutil.rmtree(place)
    rows = [
        (f"{YES if each.ok else NO} {each.act.name}", int(each.act.expected), each.exit_code, f"{each.seconds:.1f}", each.command)
        for each in done
    ]
    title = f"{sum(each.ok for each in done)} of {len(done)} acts as expected, {sum(each.seconds for each in done):.0f} s"
    where = f"the lab is up: cd {place}; end it with `tradeops lab down`" if keep else f"what is left lies in {place}" if not ok else ""
    return Report(
        "demo",
        title,
        ExitCode.PROVED if ok else ExitCode.INTERNAL,
        tables=(table(("act", "expected", "exit", "s", "command"), rows),),
        next=where,
        data=document(done),
    )
