"""Runs that were: listed, shown, and ended when they died."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tradeops.base.digest import short
from tradeops.cli.ending import ending_report, journal_table
from tradeops.cli.options import Playbook, context
from tradeops.cli.report import NO, YES, Report, table, when

if TYPE_CHECKING:
    from tradeops.deploy.journal import Journal

runs = typer.Typer(help="Runs: list, show, abort.", rich_markup_mode=None, add_completion=False, no_args_is_help=True)
Run = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


@runs.command("list")
def show_all(ctx: typer.Context) -> Report:
    """Every run of this fleet, the newest first."""
    from tradeops.deploy.journal import ending_of, list_runs

    state = context(ctx).fleet.state
    found = list(reversed(list_runs(state.runs)))
    ends = {journal.run: ending_of(journal) for journal in found}
    open_runs = [run for run, end in ends.items() if end == "unfinished"]
    rows = [
        (f"{NO if journal.run in open_runs else YES} {journal.run}", _begun(journal), short(journal.plan().release), ends[journal.run])
        for journal in found
    ]
    return Report(
        "runs-list",
        f"{len(found)} runs, {len(open_runs)} unfinished",
        tables=(table(("run", "begun (UTC)", "release", "ending"), rows),),
        next=f"`tradeops runs abort {open_runs[0]}` brings its hosts back" if open_runs else "",
        data={"runs": [{"run": journal.run, "release": journal.plan().release, "ending": ends[journal.run]} for journal in found]},
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
        data={"release": plan.release, "playbook": plan.playbook, "entries": entries},
    )


@runs.command("abort")
def abort(ctx: typer.Context, run: Run, playbook: Playbook = "") -> Report:
    """End a run that died: every host back on what it ran before, proved."""
    from tradeops.cli.progress import run_progress
    from tradeops.deploy.abort import abort as undo
    from tradeops.deploy.journal import Journal

    c = context(ctx)
    journal = Journal.find(c.fleet.state.runs, run)
    book = c.playbook(playbook or journal.plan().playbook)
    try:
        with run_progress(c, "runs abort") as progress:
            ending = undo(c.site(progress), journal, book)
        return ending_report("runs-abort", ending, progress)
    finally:
        c.ssh.close()


def _begun(journal: Journal) -> str:
    entries = journal.entries()
    return when(entries[0].wall_ns) if entries else "–"
