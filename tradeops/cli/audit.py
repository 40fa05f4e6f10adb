"""The audit chain: shown, verified against its witnesses, exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradeops.base.errors import ExitCode
from tradeops.cli.options import context
from tradeops.cli.paths import named, new_file
from tradeops.cli.report import NO, YES, Report, table, when

audit = typer.Typer(help="The audit chain: show, verify, export.", rich_markup_mode=None, add_completion=False, no_args_is_help=True)


@audit.command("show")
def show(
    ctx: typer.Context,
    run: Annotated[str | None, typer.Option("--run", help="Rows of this run.")] = None,
    verb: Annotated[str | None, typer.Option("--verb", help="Rows of this verb.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Rows that name this host.")] = None,
    last: Annotated[int, typer.Option("--last", help="At most so many, the newest.")] = 50,
) -> Report:
    """What was done, by whom, with what result."""
    from tradeops.record.chain import as_document, read_rows, select

    rows = list(select(read_rows(context(ctx).fleet.state.audit), run=run, verb=verb, host=host))[-last:]
    lines = [(row.seq, when(row.wall_ns), row.actor, f"{row.verb} {row.kind}", row.result, ", ".join(row.hosts)) for row in rows]
    return Report(
        "audit-show",
        f"{len(rows)} rows",
        tables=(table(("#", "UTC", "who", "what", "result", "hosts"), lines),),
        data={"rows": as_document(rows)},
    )


@audit.command("verify")
def verify(
    ctx: typer.Context, here: Annotated[bool, typer.Option("--here", help="Do not ask the hosts for the heads they keep.")] = False
) -> Report:
    """Is the chain whole, and is it the one that the hosts witnessed?"""
    from tradeops.record.chain import compare, verify_chain
    from tradeops.safety.witness import HostWitnesses

    c = context(ctx)
    path = c.fleet.state.audit
    found = verify_chain(path)
    heads = {} if here else HostWitnesses(c.fleet.hosts, c.agents, c.fan_out, timeout_s=c.fleet.deadlines.command).heads()
    testimony = compare(path, heads)
    problems = [f"row {problem.line}: {problem.what}" for problem in found.problems] + list(testimony.problems)
    code = ExitCode.DRIFT if problems else ExitCode.PROVED if here or testimony.holds() else ExitCode.MIXED
    witnessed = f"{testimony.witnesses} of {c.fleet.hosts_declared} hosts are witnesses up to row {testimony.confirmed_to}"
    lines = [f"intent without outcome: row {row}" for row in found.unfinished]
    silent = [] if here else [host.name for host in c.fleet.hosts if host.name not in heads]
    lines += [f"not heard as witnesses: {', '.join(silent)}"] if silent else []
    lines += [f"a torn last row of {found.torn} bytes: its act was never begun"] if found.torn else []
    return Report(
        "audit-verify",
        f"{found.rows} rows, {'whole' if found.whole() else 'damaged'}; {'the hosts were not asked' if here else witnessed}",
        code,
        tables=(table(("verdict",), [(f"{NO} {problem}",) for problem in problems] or [(f"{YES} head {found.head}",)]),),
        lines=tuple(lines),
        next="put the file aside as evidence: somebody changed it" if problems else "",
        data={
            "chain": found.chain,
            "head": found.head,
            "rows": found.rows,
            "problems": problems,
            "witnesses": testimony.witnesses,
            "silent": silent,
        },
    )


@audit.command("export")
def export(
    ctx: typer.Context, file: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there [stdout]")] = None
) -> Report:
    """The whole chain as one JSON document, with its verification."""
    import json

    from tradeops.base.durable import write_atomic
    from tradeops.record.chain import export as whole

    if file is not None:
        new_file("--out", file)
    document = whole(context(ctx).fleet.state.audit)
    text = json.dumps(document, indent=1, default=str) + "\n"
    if file is None:
        return Report("audit-export", "the chain", raw=text, data={"document": document})
    with named("--out", file):
        write_atomic(file, text.encode())
    return Report("audit-export", f"written to {file}", data={"file": str(file)})
