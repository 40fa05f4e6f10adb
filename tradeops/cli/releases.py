"""Releases on this machine: listed, shown, compared, carried to another fleet's."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradeops.base.digest import short
from tradeops.cli.options import Reason, context
from tradeops.cli.report import NO, Report, table

if TYPE_CHECKING:
    from tradeops.cli.context import Context
    from tradeops.deploy.quarantine import Quarantine

releases = typer.Typer(
    help="Releases: list, show, diff, lift, export, import.", rich_markup_mode=None, add_completion=False, no_args_is_help=True
)
Id = Annotated[str, typer.Argument(metavar="RELEASE", help="A release's id, or the beginning of it.")]


@releases.command("list")
def show_all(ctx: typer.Context) -> Report:
    """Every release in the store, the newest of each service first, and which of them a gate rejected."""
    c = context(ctx)
    parts = [(one.id, one.manifest.predicate) for one in c.store.list()]
    rejected = {name: entry.words() for name, _ in parts if (entry := _quarantine(c).find(name)) and entry.stands}
    rows = [
        (short(name), part.service, part.version, part.number, len(part.files), f"{NO} rejected" if name in rejected else None)
        for name, part in parts
    ]
    releases = [
        {"id": name, "service": part.service, "version": part.version, "number": part.number, "quarantine": rejected.get(name)}
        for name, part in parts
    ]
    return Report(
        "releases-list",
        f"{len(parts)} releases" + (f", {len(rejected)} in quarantine" if rejected else ""),
        tables=(table(("release", "service", "version", "number", "files", "quarantine"), rows),),
        lines=tuple(f"{NO} {short(name)}: {words}" for name, words in rejected.items()),
        data={"releases": releases},
        next="" if parts else "`tradeops build` makes one",
    )


@releases.command("show")
def show(ctx: typer.Context, release: Id) -> Report:
    """One release: flags, limits, start command, whether every file and signature is sound, and what gates said of it."""
    import msgspec

    from tradeops.release.verify import verify_stored

    c = context(ctx)
    stored = c.store.get(release)
    verify_stored(stored, c.policy)
    part, entry = stored.manifest.predicate, _quarantine(c).find(stored.id)
    rows = [
        ("quarantine", entry.words() if entry else None),
        ("service", part.service),
        ("version", part.version),
        ("number", part.number),
        ("files", f"{len(part.files)}, {sum(file.size for file in part.files):,} bytes"),
        ("start", " ".join(part.start.argv)),
        ("python", f"{part.python.abi} {part.python.platform}" if part.python else None),
        ("follows", short(part.previous) if part.previous else None),
        *((f"flag {flag.id}", "on" if flag.on else "off") for flag in part.flags),
        *((f"limit {name}", value) for name, value in (msgspec.to_builtins(part.limits) if part.limits else {}).items()),
    ]
    title = f"{stored.id}: signed as the policy says, every file sound" + ("; in quarantine" if entry and entry.stands else "")
    data = {"id": stored.id, "release": msgspec.to_builtins(part), "quarantine": msgspec.to_builtins(entry)}
    return Report("releases-show", title, tables=(table(("what", "value"), rows),), data=data)


@releases.command("diff")
def diff(ctx: typer.Context, old: Id, new: Id) -> Report:
    """In what two releases differ: files, flags, limits, settings."""
    from tradeops.release.diff import diff as compare

    store = context(ctx).store
    found = compare(store.manifest(old).predicate, store.manifest(new).predicate)
    rows = [("added", path, "") for path in found.added] + [("removed", path, "") for path in found.removed]
    rows += [("changed", path, "") for path in found.changed]
    for kind, changes in (("flag", found.flags), ("limit", found.limits), ("setting", found.settings)):
        rows += [(kind, name, f"{before} → {after}") for name, (before, after) in changes.items()]
    title = "nothing differs but number and ancestry" if found.same() else f"{len(rows)} differences, {found.bytes_new:,} bytes new"
    return Report("releases-diff", title, tables=(table(("kind", "what", "change"), rows),), data={"same": found.same(), **asdict(found)})


@releases.command("lift")
def lift(ctx: typer.Context, release: Id, reason: Reason) -> Report:
    """Allow a release again that a gate rejected."""
    c = context(ctx)
    chosen = c.store.get(release).id
    with c.audit.pair("releases-lift", detail={"release": chosen, "reason": reason}):
        entry = _quarantine(c).lift(chosen, by=c.person, reason=reason)
    return Report(
        "releases-lift",
        f"{short(chosen)} may be deployed again; run {entry.run} had rejected it: {entry.why}",
        next=f"tradeops deploy {short(chosen)} --canary",
        data={"release": chosen, "run": entry.run, "why": entry.why, "lifted_by": entry.lifted_by, "reason": entry.reason},
    )


@releases.command("export")
def export(ctx: typer.Context, release: Id, out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A new file.")]) -> Report:
    """Write a release into one file, to be promoted to another fleet by its digest: built once, tried there, the same here."""
    from tradeops.cli.paths import new_file
    from tradeops.release.archive import write_archive

    c = context(ctx)
    new_file("--out", out)
    stored = c.store.get(release)
    write_archive(stored, c.policy, out)
    return Report("releases-export", f"{stored.id} is in {out}", data={"release": stored.id, "file": str(out)})


@releases.command("import")
def take_in(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `releases export` wrote.")],
    digest: Annotated[str | None, typer.Option("--digest", metavar="ID", help="Refuse any other release than this one.")] = None,
) -> Report:
    """Keep a release that was built elsewhere, if people entitled by this fleet's policy signed it. Built again, it is another one."""
    from tradeops.cli.paths import named
    from tradeops.release.archive import read_archive

    c = context(ctx)
    with c.audit.pair("releases-import", detail={"file": file, "digest": digest}) as pair, named("FILE", file):
        stored = read_archive(file, c.store, c.policy, digest=digest)
        pair.detail |= {"release": stored.id}
    part = stored.manifest.predicate
    return Report(
        "releases-import",
        f"{part.service} {part.version} is release {short(stored.id)}, number {part.number}",
        data={"release": stored.id, "service": part.service, "version": part.version, "number": part.number},
        next=f"tradeops plan {short(stored.id)}",
    )


def _quarantine(c: Context) -> Quarantine:
    from tradeops.deploy.quarantine import Quarantine

    return Quarantine(c.fleet.state.quarantine)
