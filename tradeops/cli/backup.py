"""`backup`, `restore`: the operator's whole state in one archive, and back from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradeops.base.errors import UsageError
from tradeops.cli.options import context
from tradeops.cli.paths import named, new_file
from tradeops.cli.report import Report

Archive = Annotated[Path, typer.Argument(metavar="FILE", help="The archive.")]


def backup(ctx: typer.Context, archive: Archive) -> Report:
    """Write the fleet's state (policy, CA with its key, releases, runs, audit chain) into a new file, and read it back."""
    from tradeops.record.backup import make_backup

    c = context(ctx)
    new_file("FILE", archive)
    with c.audit.pair("backup", detail={"archive": archive}) as pair:
        made = make_backup(c.fleet.state.root, c.audit, archive, now_ns=c.clock.wall_ns())
        pair.detail |= {"digest": made.digest}
    return Report(
        "backup",
        f"{made.files} files, {made.bytes:,} bytes, audit chain up to row {made.audit_rows}",
        lines=(f"digest: {made.digest}", "it holds the CA's key: keep it where only those may read it who may enrol hosts"),
        next=f"keep the digest elsewhere; try it: tradeops restore {archive} --into NEW-FOLDER --digest DIGEST",
        data={"archive": str(archive), "digest": made.digest, "files": made.files, "bytes": made.bytes, "audit_head": made.audit_head},
    )


def restore(
    archive: Archive,
    into: Annotated[Path, typer.Option("--into", metavar="FOLDER", help="A new or empty folder.")],
    digest: Annotated[str | None, typer.Option("--digest", help="The digest that was noted when the backup was made.")] = None,
) -> Report:
    """Unpack a backup whole, every file checked, or not at all."""
    from tradeops.record.backup import restore as unpack

    if not archive.is_file():
        raise UsageError("there is no such archive", where=str(archive), next="name a file that `tradeops backup` wrote")
    with named("--into", into):
        back = unpack(archive, into, digest=digest)
    return Report(
        "restore",
        f"{back.files} files restored into {into}, audit chain whole up to row {back.audit_rows}",
        next="put the folder in its place beside the fleet file, then `tradeops audit verify` asks the hosts",
        data={"into": str(into), "digest": back.digest, "files": back.files, "audit_head": back.audit_head},
    )
