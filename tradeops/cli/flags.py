"""The flag ledger: every id ever used, with what it means; retired ones are kept for ever (D05)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradeops.cli.options import context
from tradeops.cli.report import Report, table, when

flags = typer.Typer(help="Flags: list, declare, retire.", rich_markup_mode=None, add_completion=False, no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="FLAG", help="The flag's id.")]
Ledger = Annotated[Path, typer.Option("--flags", metavar="FILE", help="The ledger, beside the service's definition.")]
HERE = Path("flags.json")


@flags.command("list")
def show(ledger: Ledger = HERE) -> Report:
    """Every id that was ever declared."""
    from tradeops.release.ledger import FlagLedger

    known = FlagLedger(ledger).flags().values()
    rows = [
        (flag.id, "retired" if flag.retired_ns is not None else "declared", when(flag.declared_ns), flag.declared_by, flag.meaning)
        for flag in known
    ]
    data = [
        {"id": flag.id, "meaning": flag.meaning, "digest": flag.digest, "declared_by": flag.declared_by, "retired_by": flag.retired_by}
        for flag in known
    ]
    return Report(
        "flags-list", f"{len(rows)} flags", tables=(table(("flag", "state", "UTC", "by", "meaning"), rows),), data={"flags": data}
    )


@flags.command("declare")
def declare(
    ctx: typer.Context,
    flag: Id,
    meaning: Annotated[str, typer.Option("--meaning", metavar="TEXT", help="What turning it on does; kept for good.")],
    ledger: Ledger = HERE,
) -> Report:
    """Enter a new flag with its meaning; an id is used once, for ever."""
    from tradeops.release.ledger import FlagLedger

    c = context(ctx)
    with c.audit.pair("flags-declare", detail={"flag": flag, "meaning": meaning, "ledger": ledger}):
        made = FlagLedger(ledger).declare(flag, meaning, by=c.person, now_ns=c.clock.wall_ns())
    return Report(
        "flags-declare",
        f"{flag} is declared",
        next=f"name it under `flags` in service.yml, keep {ledger} under version control",
        data={"flag": flag, "digest": made.digest},
    )


@flags.command("retire")
def retire(ctx: typer.Context, flag: Id, ledger: Ledger = HERE) -> Report:
    """Put the tombstone on a flag: no release carries it again."""
    from tradeops.release.ledger import FlagLedger

    c = context(ctx)
    with c.audit.pair("flags-retire", detail={"flag": flag, "ledger": ledger}):
        FlagLedger(ledger).retire(flag, by=c.person, now_ns=c.clock.wall_ns())
    return Report("flags-retire", f"{flag} is retired for good", next="take it out of service.yml and build", data={"flag": flag})
