"""The flags: what every release makes of them, and where; declared, turned off at once, retired for good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradeops.base.digest import short
from tradeops.base.errors import Refused, UsageError
from tradeops.cli.context import Context
from tradeops.cli.options import Playbook, Reason, context
from tradeops.cli.report import Report, Table, table, when

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tradeops.contracts.binding import Overlay
    from tradeops.contracts.status import Status
    from tradeops.fleet.outcome import Outcome
    from tradeops.release.matrix import FlagRow
    from tradeops.safety.desk import Taken

flags = typer.Typer(
    help="Flags: list, declare, activate, disable, retire.", rich_markup_mode=None, add_completion=False, no_args_is_help=True
)
Id = Annotated[str, typer.Argument(metavar="FLAG", help="The flag's id.")]
Ledger = Annotated[Path, typer.Option("--flags", metavar="FILE", help="The ledger, beside the service's definition.")]
HERE = Path("flags.json")
_SHOWN = 4
_LOOK_S = 2.0
"""What is turned off does not wait longer for hosts that are silent (ours)."""


@flags.command("list")
def show(
    ctx: typer.Context,
    ledger: Ledger = HERE,
    releases: Annotated[int, typer.Option("--releases", min=1, help="How many of the newest releases to show.")] = _SHOWN,
) -> Report:
    """Every id that was ever declared: what the newest releases make of it, where it is in force now, what is to be removed."""
    from tradeops.release.ledger import FlagLedger
    from tradeops.release.matrix import matrix

    c = context(ctx)
    here = c.options.fleet.is_file()
    stored = c.store.list() if here else []
    newest = sorted(stored, key=lambda one: one.manifest.predicate.number, reverse=True)[:releases]
    columns = [(one.id, one.manifest.predicate) for one in newest]
    seen, silent = _in_force(c, c.fleet.deadlines.control) if here else (None, ())
    rows = matrix(FlagLedger(ledger).flags(), columns, c.overlay[1] if here and c.overlay else None, seen, now_ns=c.clock.wall_ns())
    return Report(
        "flags-list",
        f"{len(rows)} flags in {len(columns)} releases; {sum(row.state == 'tombstone' for row in rows)} tombstones",
        tables=(_overview(rows), _by_release(rows, [(name, part.number) for name, part in columns])),
        lines=(
            *(f"{row.id}: {row.stale}" for row in rows if row.stale),
            *(f"{host} does not answer: what is in force there is not known" for host in silent),
        ),
        data={"flags": [_plain(row) for row in rows], "silent": list(silent)},
    )


def _in_force(c: Context, deadline_s: float) -> tuple[dict[str, tuple[str, ...]] | None, tuple[str, ...]]:
    """Host -> flags in force there, of those that answer; and those that do not. None when none does."""
    from tradeops.fleet.outcome import errors, values

    outcomes = _look(c, deadline_s)
    seen = {name: tuple(status.vitals.identity.flags) if status.vitals else () for name, status in values(outcomes).items()}
    return seen or None, tuple(errors(outcomes))


def _look(c: Context, deadline_s: float) -> dict[str, Outcome[Status]]:
    """What every guard says; the newest overlay is then also by what hosts hold, since another machine may have laid it."""
    from tradeops.fleet.outcome import values

    outcomes = c.controls.statuses(c.fleet.hosts, deadline_s=deadline_s)
    numbers = {name: status.overlay_number for name, status in values(outcomes).items()}
    c.overlays.hear(c.fleet.hosts, numbers, deadline_s=deadline_s)
    return outcomes


def _overview(rows: tuple[FlagRow, ...]) -> Table:
    cells = [(row.id, row.state, _where(row), when(row.declared.declared_ns) if row.declared else None, _meaning(row)) for row in rows]
    return table(("flag", "state", "in force", "declared, UTC", "meaning"), cells)


def _by_release(rows: tuple[FlagRow, ...], columns: list[tuple[str, int]]) -> Table:
    cells = [(row.id, *(row.releases[name] for name, _ in columns)) for row in rows]
    return table(("flag", *(f"{number} {short(name)}" for name, number in columns)), cells, title="by release, the newest first")


def _where(row: FlagRow) -> str:
    off = f", off by overlay {row.off_by}" if row.off_by else ""
    return ("not asked" if row.active_on is None else ", ".join(row.active_on) or "nowhere") + off


def _meaning(row: FlagRow) -> str | None:
    return row.declared.meaning if row.declared else None


def _plain(row: FlagRow) -> dict[str, object]:
    declared = row.declared
    return {
        "id": row.id,
        "state": row.state,
        "meaning": _meaning(row),
        "digest": declared.digest if declared else None,
        "declared_by": declared.declared_by if declared else None,
        "retired_by": declared.retired_by if declared else None,
        "releases": dict(row.releases),
        "active_on": None if row.active_on is None else list(row.active_on),
        "off_by": row.off_by,
        "stale": row.stale or None,
    }


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


@flags.command("disable")
def disable(ctx: typer.Context, flag: Id, reason: Reason) -> Report:
    """Turn a flag off on every host, at once, by an overlay: no release, one person. Only a release turns it on again."""
    from tradeops.release.overlay import turned_off

    c = context(ctx)
    _require_known(c, flag)
    with c.audit.pair("flags-disable", detail={"flag": flag, "reason": reason}) as pair:
        overlay = turned_off(c.overlay[1] if c.overlay else None, flag, fleet=c.fleet.name)
        pair.detail |= {"overlay": overlay.number}
        taken = _lay(c, overlay, reason)
    again = f"a release that says `ends_overlay: {overlay.number}` turns it on again, with its gates"
    return _laid("flags-disable", f"{flag} is off", flag, overlay, taken, again)


@flags.command("activate")
def activate(
    ctx: typer.Context,
    flag: Id,
    playbook: Playbook = "activate-flag",
    build_only: Annotated[bool, typer.Option("--build-only", help="Make and sign the release; `plan`, `approve`, `deploy` go on.")] = False,
) -> Report:
    """Turn a flag on: a release of the very code that every host is proved to run, through its own canary and gates."""
    from tradeops.cli.build import require_release
    from tradeops.cli.deploy import bring
    from tradeops.release.activation import activation

    c = context(ctx)
    require_release(c)
    try:
        with c.audit.pair("flags-activate", detail={"flag": flag}) as pair:
            running = c.store.get(_one_release(c, flag))
            stored = activation(c.store, running, flag, c.overlay[1].flags_off if c.overlay else {}, c.signer)
            pair.detail |= {"release": stored.id}
        if build_only:
            return Report(
                "flags-activate",
                f"{short(stored.id)} is {short(running.id)} with {flag} on",
                data={"flag": flag, "release": stored.id},
                next=f"tradeops plan {short(stored.id)} --playbook {playbook}",
            )
        return bring(ctx, stored.id, playbook, command="flags-activate")
    finally:
        c.ssh.close()


def _one_release(c: Context, flag: str) -> str:
    """The release that every host is proved to run (D07). Raises Refused naming those that are not."""
    from tradeops.checks.finding import open_findings
    from tradeops.deploy.asked import asked

    if c.overlay and flag in c.overlay[1].flags_retired:
        raise Refused(f"{flag} is retired: it is never on again (D05)", next="a new meaning takes a new id: `tradeops flags declare`")
    odd = {name: found for name, findings in c.verdict(c.fleet.hosts).findings.items() if (found := open_findings(findings))}
    releases = set(asked(c.fleet.state.runs).values())
    if odd or len(releases) != 1:
        words = "\n".join(f"{name}: {finding.check}: {finding.detail}" for name, found in odd.items() for finding in found[:3])
        raise Refused(
            f"{len(odd)} of {c.fleet.hosts_declared} hosts are not proved to run one release\n{words}",
            where=", ".join(odd) or None,
            holds="nothing was made; the flag stays as it is",
            next="`tradeops verify`; mend or deploy, then activate",
        )
    return releases.pop()


def _require_known(c: Context, flag: str) -> None:
    """A mistyped id would be turned off with success. Raises UsageError."""
    seen, _ = _in_force(c, min(_LOOK_S, c.fleet.deadlines.control))
    if any(flag == known.id for stored in c.store.list() for known in stored.manifest.predicate.flags):
        return
    if not any(flag in active for active in (seen or {}).values()):
        raise UsageError(f"no release here knows the flag {flag!r}, and no host says it is on", next="`tradeops flags list`")


@flags.command("retire")
def retire(ctx: typer.Context, flag: Id, ledger: Ledger = HERE) -> Report:
    """Put the tombstone on a flag: no release is built with it again, and no daemon of this fleet trades with it again."""
    from tradeops.release.ledger import FlagLedger
    from tradeops.release.overlay import buried

    c = context(ctx)
    book, guards = FlagLedger(ledger), _look(c, c.fleet.deadlines.control)
    entry, overlay = book.flags().get(flag), c.overlay[1] if c.overlay else None
    retired = entry is not None and entry.retired_ns is not None
    if retired and overlay and flag in overlay.flags_retired:
        raise Refused(f"{flag} is retired already, in the ledger and on this fleet", next="`tradeops flags list`")
    _require_gone(c, flag, guards)
    with c.audit.pair("flags-retire", detail={"flag": flag, "ledger": ledger}) as pair:
        if not retired:
            book.retire(flag, by=c.person, now_ns=c.clock.wall_ns())
        made = buried(overlay, flag, fleet=c.fleet.name)
        pair.detail |= {"overlay": made.number}
        taken = _lay(c, made, f"{flag} is retired")
    return _laid("flags-retire", f"{flag} is retired for good", flag, made, taken, "")


def _require_gone(c: Context, flag: str, guards: Mapping[str, Outcome[Status]]) -> None:
    """Raises Refused while a release that a host runs, or may yet run, still carries the flag; or while one does not say."""
    from tradeops.fleet.outcome import errors, values

    problems: dict[str, list[str]] = {}
    for (who, release), how in sorted(_in_use(c, values(guards)).items()):
        if _carries(c, release, flag):
            problems.setdefault(who, []).append(f"{how} {short(release)}, which carries it")
    for name, error in errors(guards).items():
        problems.setdefault(name, []).append(f"does not answer: {error.what}")
    if problems:
        raise Refused(
            f"the flag {flag!r} is still in use\n" + "\n".join(f"{who}: {'; '.join(words)}" for who, words in problems.items()),
            where=", ".join(problems),
            holds="nothing was retired",
            next="deploy a release without it to every host, let that run end (its way back is needed until then), then retire it",
        )


def _in_use(c: Context, guards: Mapping[str, Status]) -> dict[tuple[str, str], str]:
    """(Host or run, release) -> how that release may yet trade: there now, standing by, asked for, or by a run that is not over."""
    from tradeops.deploy.asked import asked, open_runs

    runs = c.fleet.state.runs
    used = dict.fromkeys(asked(runs).items(), "is to run")
    for name, status in guards.items():
        if status.standby:
            used[name, status.standby.identity.release] = "keeps standing by"
        if status.vitals:
            used[name, status.vitals.identity.release] = "runs"
    for journal in open_runs(runs):
        plan = journal.plan()
        who = f"run {journal.run}"
        used |= {(who, part.old): "may go back to" for part in plan.hosts if part.old} | {(who, plan.release): "may go on to"}
    return used


def _carries(c: Context, release: str, flag: str) -> bool:
    """A release that is not here may carry anything."""
    try:
        return any(known.id == flag for known in c.store.manifest(release).predicate.flags)
    except UsageError:
        return True


def _lay(c: Context, overlay: Overlay, reason: str) -> Taken:
    """Sign the overlay, keep it, send it to every guard, and require that it is in force on every host.

    One that no host took is none here either. Raises Refused, MixedFleet, NotRecorded, OSError.
    """
    import msgspec

    from tradeops.cli.halt import desk
    from tradeops.contracts.directive import ALL_HOSTS, Verb
    from tradeops.contracts.overlay import open_overlay
    from tradeops.release.overlay import forget_overlay, keep_overlay
    from tradeops.safety.desk import require_taken
    from tradeops.safety.directives import compose, sign
    from tradeops.safety.overlay import lay

    said = {"overlay": msgspec.to_builtins(overlay)}
    now_ns = c.clock.wall_ns()
    order = compose(Verb.OVERLAY, id=c.new_id(), fleet=c.fleet.name, hosts=(ALL_HOSTS,), reason=reason, now_ns=now_ns, args=said)
    envelope = sign(order, c.signer)
    open_overlay(envelope, c.policy, fleet=c.fleet.name, host=None, source="the overlay")
    keep_overlay(c.fleet.state.overlays, overlay, envelope)
    taken = lay(desk(c), c.fleet.hosts, order, envelope, overlay, c.clock)
    try:
        require_taken(taken, c.fleet.hosts_declared)
    except Refused:
        forget_overlay(c.fleet.state.overlays, overlay)
        raise
    return taken


def _laid(command: str, title: str, flag: str, overlay: Overlay, taken: Taken, advice: str) -> Report:
    return Report(
        command,
        f"{title}: overlay {overlay.number} is in force on every one of {len(taken.statuses)} hosts",
        hosts=tuple({"host": name, "ok": True, "overlay": overlay.number} for name in taken.statuses),
        data={"flag": flag, "overlay": overlay.number},
        next=advice,
    )
