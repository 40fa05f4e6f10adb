"""`build`: a folder becomes a signed release in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradeops.base.digest import short
from tradeops.base.errors import Refused
from tradeops.cli.context import Context
from tradeops.cli.options import context
from tradeops.cli.report import Report, table


def build(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The service's folder, with its service.yml.")] = Path(),
    definition: Annotated[Path | None, typer.Option("--definition", metavar="FILE", help="[FOLDER/service.yml]")] = None,
    flags: Annotated[
        Path | None, typer.Option("--flags", metavar="FILE", help="The flag ledger [flags.json beside the definition]")
    ] = None,
    lock: Annotated[Path | None, typer.Option("--lock", metavar="FILE", help="Lock file of the hosts' libraries [ours]")] = None,
    number: Annotated[int | None, typer.Option("--number", help="The release's number [one above the newest]")] = None,
) -> Report:
    """Build, sign and keep a release. The same inputs give the same digest."""
    from tradeops.base.shipped import shipped
    from tradeops.release.build import Source
    from tradeops.release.build import build as make
    from tradeops.release.daemon import Ingredients
    from tradeops.release.deadcode import remarks
    from tradeops.release.definition import load_definition
    from tradeops.release.flags import tombstones
    from tradeops.release.ledger import FlagLedger

    c = context(ctx)
    path = definition or folder / "service.yml"
    described = load_definition(path)
    ingredients = Ingredients(lock or shipped("requirements-host.lock")) if described.kind == "trader" else None
    ledger = FlagLedger(flags or path.parent / "flags.json")
    require_release(c)
    retired = c.overlay[1].flags_retired if c.overlay else ()
    with c.audit.pair("build", detail={"service": described.service, "version": described.version}) as pair:
        stored = make(Source(described, folder, ingredients), c.store, c.signer, ledger, now_ns=c.clock.wall_ns(), number=number)
        pair.detail |= {"release": stored.id}
    part = stored.manifest.predicate
    ours = [(one.id, one.manifest.predicate) for one in c.store.list() if one.manifest.predicate.service == part.service]
    before = c.store.manifest(part.previous).predicate if part.previous else None
    said = (
        *(f"flag {flag} is retired on fleet {c.fleet.name}: no deploy there takes this release" for flag in tombstones(part, retired)),
        *remarks(part, before, ours, ledger.flags(), now_ns=c.clock.wall_ns()),
    )
    return Report(
        "build",
        f"{part.service} {part.version} is release {short(stored.id)}",
        tables=(
            table(
                ("release", "number", "files", "bytes"), [(stored.id, part.number, len(part.files), sum(file.size for file in part.files))]
            ),
        ),
        lines=said,
        next=f"tradeops deploy {short(stored.id)}",
        data={"remarks": list(said), "release": stored.id, "service": part.service, "version": part.version, "number": part.number},
    )


def require_release(c: Context) -> None:
    """May who signs release at all? Asked before anything is kept: every host would refuse it. Raises Refused."""
    roles = next(each.roles for each in c.policy.people if each.name == c.person)
    if not any("release" in c.policy.roles.get(role, ()) for role in roles):
        advice = "have somebody build it whose role grants `release`: --as PERSON"
        raise Refused(f"{c.person} may not release", holds="nothing was built or kept", next=advice)
