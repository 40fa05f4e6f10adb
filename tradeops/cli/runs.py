"""Runs that were: listed, shown, and ended when they died."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from tradeops.base.digest import short
from tradeops.cli.ending import ending_report, journal_table
from tradeops.cli.options import Exclude, Why, context
from tradeops.cli.report import NO, YES, Report, table, when

if TYPE_CHECKING:
    from collections.abc import Callable

    from tradeops.deploy.ending import Ending
    from tradeops.deploy.journal import Journal
    from tradeops.deploy.site import Site

runs = typer.Typer(help="Runs: list, show, resume, abort.", rich_markup_mode=None, add_completion=False, no_args_is_help=True)
Run = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


@runs.command("list")
def show_all(ctx: typer.Context) -> Report:
    """Every run of this fleet, the newest first."""
    from tradeops.deploy.journal import DAMAGED, UNFINISHED, ending_of, list_runs

    state = context(ctx).fleet.state
    found = list(reversed(list_runs(state.runs)))
    ends = {journal.run: ending_of(journal) for journal in found}
    open_runs = [run for run, end in ends.items() if end == UNFINISHED]
    rows = [
        (
            f"{NO if ends[journal.run] in (UNFINISHED, DAMAGED) else YES} {journal.run}",
            "–" if ends[journal.run] == DAMAGED else _begun(journal),
            short(journal.drawn().release),
            ends[journal.run],
        )
        for journal in found
    ]
    return Report(
        "runs-list",
        f"{len(found)} runs, {len(open_runs)} unfinished",
        tables=(table(("run", "begun (UTC)", "release", "ending"), rows),),
        next=f"`tradeops runs resume {open_runs[0]}` carries it on, `runs abort` brings its hosts back" if open_runs else "",
        data={"runs": [{"run": journal.run, "release": journal.drawn().release, "ending": ends[journal.run]} for journal in found]},
    )


@runs.command("show")
def show(ctx: typer.Context, run: Run) -> Report:
    """One run: what was planned, every phase, and how it ended."""
    from tradeops.deploy.journal import Journal, ending_of, phase_table

    journal = Journal.find(context(ctx).fleet.state.runs, run)
    plan, entries = journal.plan(), phase_table(journal)
    rows = [(part.wave + 1, part.host, short(part.old) if part.old else "nothing", short(plan.release)) for part in plan.hosts]
    return Report(
        "runs-show",
        f"run {run}: {ending_of(journal)}",
        run=run,
        hosts=tuple({"host": part.host, "wave": part.wave + 1, "old": part.old, "new": plan.release} for part in plan.hosts),
        tables=(table(("wave", "host", "before", "planned"), rows), journal_table(entries, "journal")),
        lines=(f"kept in {journal.folder}",),
        data={"release": plan.release, "playbook": plan.playbook, "entries": entries, "folder": str(journal.folder)},
    )


@runs.command("resume")
def resume(ctx: typer.Context, run: Run) -> Report:
    """Carry on a run that died or was held, from what its hosts say, to the end that it would have reached."""
    from tradeops.deploy.takeup import resume as carry_on

    return _take_up(ctx, "runs resume", run, carry_on)


@runs.command("abort")
def abort(ctx: typer.Context, run: Run, exclude: Exclude = None, reason: Why = "") -> Report:
    """End a run that died or was held: every host back on what it ran before, proved. With --exclude it ends with 6 at best."""
    from tradeops.cli.deploy import who_is_out
    from tradeops.deploy.takeup import abort as undo

    return _take_up(ctx, "runs abort", run, partial(undo, leave_out=who_is_out(ctx, exclude, reason)))


def _take_up(ctx: typer.Context, command: str, run: str, how: Callable[[Site, Journal], Ending]) -> Report:
    from tradeops.cli.progress import run_progress
    from tradeops.deploy.journal import Journal

    c = context(ctx)
    journal = Journal.find(c.fleet.state.runs, run)
    try:
        with run_progress(c, command) as progress:
            ending = how(c.site(progress), journal)
        return ending_report(command.replace(" ", "-"), ending, progress)
    finally:
        c.ssh.close()


def _begun(journal: Journal) -> str:
    entries = journal.entries()
    return when(entries[0].wall_ns) if entries else "–"
