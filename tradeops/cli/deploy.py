"""`plan`, `deploy`, `rollback`: what would happen, and doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tradeops.base.errors import Refused, UsageError
from tradeops.cli.ending import ending_report, plan_report
from tradeops.cli.options import Exclude, Playbook, Why, context
from tradeops.cli.report import Report

if TYPE_CHECKING:
    from tradeops.cli.context import Context
    from tradeops.deploy.leftout import LeaveOut

DEFAULT = "rolling"
Release = Annotated[str, typer.Argument(metavar="RELEASE", help="A release's id, or the beginning of it.")]


def plan(ctx: typer.Context, release: Release, playbook: Playbook = DEFAULT, exclude: Exclude = None) -> Report:
    """What a deploy would do now, with a digest to approve. Reads only."""
    from tradeops.deploy.deploy import plan as make

    c = context(ctx)
    site = c.site(lambda _: None)
    try:
        made = make(site, c.store.get(release).id, c.playbook(playbook), exclude=_known(c, exclude))
        return plan_report(made, c.overlays.heard())
    finally:
        c.ssh.close()


def deploy(
    ctx: typer.Context,
    release: Release,
    playbook: Playbook = DEFAULT,
    rolling: Annotated[bool, typer.Option("--rolling", help="The same as --playbook rolling.")] = False,
    canary: Annotated[bool, typer.Option("--canary", help="The same as --playbook canary.")] = False,
    blue_green: Annotated[bool, typer.Option("--blue-green", help="The same as --playbook blue-green.")] = False,
    plan: Annotated[str | None, typer.Option("--plan", metavar="DIGEST", help="Refuse unless the plan is still this one.")] = None,
    exclude: Exclude = None,
    reason: Why = "",
) -> Report:
    """Bring a release to every host. Exit 0 means: every declared host answered and its running process is that release.

    With --exclude it is 6 at best: the hosts that were left out are not proved.
    """
    book = _one_of(playbook, rolling=rolling, canary=canary, blue_green=blue_green)
    return bring(ctx, release, book, plan=plan, leave_out=who_is_out(ctx, exclude, reason))


def bring(
    ctx: typer.Context,
    release: str,
    playbook: str,
    *,
    plan: str | None = None,
    leave_out: LeaveOut | None = None,
    command: str = "deploy",
) -> Report:
    """The run of any command that brings a release to the fleet."""
    from tradeops.cli.progress import run_progress
    from tradeops.deploy.deploy import deploy as carry_out

    c = context(ctx)
    book, chosen = c.playbook(playbook), c.store.get(release).id
    progress = run_progress(c, command.replace("-", " "))
    site = c.site(progress)
    _confirm_production(ctx, f"deploy {release} to {len(site.hosts)} hosts", plan)
    try:
        with progress:
            ending = carry_out(site, chosen, book, plan_digest=plan, leave_out=leave_out)
        return ending_report(command, ending, progress)
    finally:
        c.ssh.close()


def _one_of(playbook: str, **short: bool) -> str:
    """The playbook's name or file. Raises UsageError when several are asked for."""
    asked = {name.replace("_", "-") for name, given in short.items() if given} | ({playbook} if playbook != DEFAULT else set())
    if len(asked) > 1:
        raise UsageError(f"several playbooks are asked for: {', '.join(sorted(asked))}", next="give one of them")
    return asked.pop() if asked else playbook


def rollback(
    ctx: typer.Context,
    to: Annotated[str | None, typer.Option("--to", metavar="ID", help="The release to go back to [the one before]")] = None,
    playbook: Playbook = "rollback",
    exclude: Exclude = None,
    reason: Why = "",
) -> Report:
    """Take the whole fleet back to a release that it ran before; refused where a flag would go on, or a live one change its meaning."""
    from tradeops.cli.progress import run_progress
    from tradeops.deploy.rollback import release_before
    from tradeops.deploy.rollback import rollback as take_back

    c = context(ctx)
    leave_out = who_is_out(ctx, exclude, reason)
    progress = run_progress(c, "rollback")
    site = c.site(progress)
    target = c.store.get(to).id if to else release_before(site)
    _confirm_production(ctx, f"take {len(site.hosts)} hosts back to {target}", None)
    try:
        with progress:
            ending = take_back(site, target, c.playbook(playbook), leave_out=leave_out)
        return ending_report("rollback", ending, progress)
    finally:
        c.ssh.close()


def who_is_out(ctx: typer.Context, exclude: list[str] | None, reason: str) -> LeaveOut | None:
    """The hosts to leave out, and why. Raises UsageError for a host that there is not, and for one without the other."""
    from tradeops.deploy.leftout import LeaveOut

    hosts = _known(context(ctx), exclude)
    if bool(hosts) != bool(reason.strip()):
        raise UsageError(
            "--exclude HOST and --reason TEXT belong together", next="say which host is left out, and why: it is kept for good"
        )
    return LeaveOut(hosts, reason) if hosts else None


def _known(c: Context, names: list[str] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(c.fleet.host(name).name for name in names or ()))


def _confirm_production(ctx: typer.Context, what: str, plan: str | None) -> None:
    """Production is asked for by name, unless a plan was named, `--yes` given, or nobody can be asked."""
    c = context(ctx)
    if c.fleet.environment != "production" or plan is not None or c.options.yes:
        return
    answer = c.printer.ask(f"{what} in production? Type the fleet's name: ")
    if answer != c.fleet.name:
        raise Refused("not confirmed", holds="nothing was touched", next="type the fleet's name, give --plan DIGEST, or --yes")
