"""The hosts: listed, enrolled, asked for facts, and their roster and bindings signed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradeops.base.errors import ExitCode, PreflightFailed, TradeopsError
from tradeops.cli.context import Context
from tradeops.cli.options import Hosts, Reason, Tags, context
from tradeops.cli.report import NO, YES, Report, age, table

if TYPE_CHECKING:
    from tradeops.contracts.envelope import Envelope
    from tradeops.fleet.enroll import Enrolled, Enrolment
    from tradeops.fleet.host import Host

fleet = typer.Typer(
    help="The hosts: list, sign, enroll, facts, include.", rich_markup_mode=None, add_completion=False, no_args_is_help=True
)
ENROL_S = 300.0


@fleet.command("list")
def show_all(ctx: typer.Context) -> Report:
    """The hosts as the fleet file was understood."""
    found = context(ctx).fleet
    rows = [
        (host.name, f"{host.user}@{host.address}:{host.port}", host.control_port, host.jump, " ".join(sorted(host.tags)), host.weight)
        for host in found.hosts
    ]
    return Report(
        "fleet-list",
        f"{found.name} ({found.environment}): {found.hosts_declared} hosts",
        hosts=tuple({"host": host.name, "address": host.address, "port": host.port, "tags": sorted(host.tags)} for host in found.hosts),
        tables=(table(("host", "login", "guard", "jump", "tags", "weight"), rows),),
    )


@fleet.command("sign")
def sign(ctx: typer.Context) -> Report:
    """Sign the roster and every host's binding, and leave the roster with the hosts that answer."""
    from tradeops.fleet.rosterfile import next_roster
    from tradeops.release.binding import sign_bindings

    c = context(ctx)
    state = c.fleet.state
    with c.audit.pair("fleet sign", hosts=[host.name for host in c.fleet.hosts]) as pair:
        envelope, roster = next_roster(c.fleet.name, c.fleet.hosts, c.signer, c.policy, state.roster_file)
        signed = sign_bindings(c.fleet.bindings.values(), c.signer, state.bindings)
        pair.detail |= {"roster": roster.number, "bindings": sorted(signed)}
    left = _leave_roster(c, envelope)
    rows = [
        (f"{NO if host.name in left else YES} {host.name}", left[host.name].what if host.name in left else "has it")
        for host in c.fleet.hosts
    ]
    return Report(
        "fleet-sign",
        f"roster {roster.number} and {len(signed)} bindings signed by {c.person}",
        hosts=tuple(
            {"host": host.name, "has_roster": host.name not in left, "ok": host.name not in left, "problem": _problem(left, host.name)}
            for host in c.fleet.hosts
        ),
        tables=(table(("host", "roster there"), rows),),
        next="`tradeops fleet enroll` brings it to new hosts" if left else "",
        data={"roster": roster.number},
    )


@fleet.command("enroll")
def enroll(ctx: typer.Context, host: Hosts = None, tag: Tags = None) -> Report:
    """Install agent and guard with the admin's rights; safe to run again. Needs a signed roster (`fleet sign`)."""
    from tradeops.fleet.inventory import select
    from tradeops.fleet.outcome import errors, values

    c = context(ctx)
    hosts = select(c.fleet, hosts=host or (), tags=tag or ())
    enrolment = _enrolment(c)
    _certificates(c, hosts)
    with c.audit.pair("enroll", hosts=[each.name for each in hosts], detail={"platform": enrolment.platform.id}) as pair:
        outcomes = c.fan_out.run(hosts, lambda each: _enroll(c, each, enrolment), deadline_s=ENROL_S)
        done, failed = values(outcomes), errors(outcomes)
        pair.result = "incomplete" if failed else "done"
        pair.detail |= {"problems": {name: error.what for name, error in failed.items()}}
    c.ssh.close()
    return _enrolled(c, hosts, done, failed)


@fleet.command("facts")
def facts(ctx: typer.Context, host: Hosts = None, tag: Tags = None) -> Report:
    """What every agent says of its host. Exit 6 when one does not answer."""
    import msgspec

    from tradeops.contracts.agent import AgentVerb, Facts
    from tradeops.contracts.codec import convert
    from tradeops.fleet.inventory import select
    from tradeops.fleet.outcome import errors, values

    c = context(ctx)
    wait_s = c.fleet.deadlines.command

    def ask(each: Host) -> Facts:
        session = c.agents.open(each, timeout_s=wait_s)
        try:
            return convert(session.call(AgentVerb.FACTS, timeout_s=wait_s), Facts)
        finally:
            session.close()

    outcomes = c.fan_out.run(select(c.fleet, hosts=host or (), tags=tag or ()), ask, deadline_s=wait_s * 2)
    c.ssh.close()
    found, failed = values(outcomes), errors(outcomes)
    rows = [(f"{NO} {name}", error.what, None, None, None) for name, error in failed.items()] + [
        _facts_row(each) for each in found.values()
    ]
    hosts: list[dict[str, Any]] = [{"host": name, "answered": False, "error": error.what} for name, error in failed.items()]
    hosts += [{**msgspec.to_builtins(each), "answered": True} for each in found.values()]
    return Report(
        "fleet-facts",
        f"{len(found)} of {len(outcomes)} hosts answered",
        ExitCode.MIXED if failed else ExitCode.PROVED,
        hosts=tuple(hosts),
        tables=(table(("host", "platform", "python", "disk free", "clock"), rows),),
        next="`tradeops doctor` says why a host does not answer" if failed else "",
    )


@fleet.command("include")
def include(
    ctx: typer.Context, host: Annotated[str, typer.Argument(metavar="HOST", help="The host that is excluded.")], reason: Reason
) -> Report:
    """End an exclusion by hand; a deploy that proves the host does so by itself. Its kill stands until two people permit."""
    c = context(ctx)
    name = c.fleet.host(host).name
    with c.audit.pair("include", hosts=[name], detail={"reason": reason}):
        lifted = c.exclusions.lift(name, by=c.person, why=reason)
    return Report(
        "fleet-include",
        f"{name} is excluded no longer",
        hosts=({"host": name},),
        next="`tradeops verify`, then deploy to every host",
        data={"id": lifted.exclusion.id, "reason": reason},
    )


def _facts_row(facts: Any) -> tuple[object, ...]:
    from tradeops.base.digest import short

    glyph = NO if facts.problems or not facts.writable else YES
    lock = f"; locked by {facts.lock.run} for {age(facts.lock.expires_in_s)}" if facts.lock else ""
    return (
        f"{glyph} {facts.host}",
        f"{short(facts.platform)}{lock}",
        facts.python_version,
        f"{facts.disk_free_bytes // 10**6:,} MB",
        facts.wall_ns,
    )


def _leave_roster(c: Context, envelope: Envelope) -> Mapping[str, TradeopsError]:
    """Hosts that did not take it, and why: a new host has no agent yet."""
    import msgspec

    from tradeops.contracts.agent import AgentVerb
    from tradeops.fleet.outcome import errors

    plain, wait_s = msgspec.to_builtins(envelope), c.fleet.deadlines.connect

    def leave(each: Host) -> None:
        session = c.agents.open(each, timeout_s=wait_s)
        try:
            session.call(AgentVerb.ROSTER, timeout_s=wait_s, roster=plain)
        finally:
            session.close()

    try:
        return errors(c.fan_out.run(c.fleet.hosts, leave, deadline_s=wait_s * 2))
    finally:
        c.ssh.close()


def _enrolment(c: Context) -> Enrolment:
    from tradeops.base.shipped import shipped
    from tradeops.fleet.enroll import Enrolment
    from tradeops.fleet.platform import build_platform, source_key
    from tradeops.release.daemon import Ingredients, platform_tree
    from tradeops.release.layers import this_python

    state, python = c.fleet.state, this_python()
    ingredients = Ingredients(shipped("requirements-host.lock"))
    key = source_key(ingredients.lock, python)
    platform = build_platform(lambda into: platform_tree(into, ingredients), c.signer, key=key, python=python, folder=state.platforms)
    return Enrolment(c.fleet.name, platform, c.policy_envelope, c.roster[0] if c.roster else None, _login_keys(c))


def _login_keys(c: Context) -> tuple[str, ...]:
    """Who may reach the agents: everybody in the policy, and the keys that the fleet file logs in with."""
    from pathlib import Path

    from tradeops.contracts.publickey import normalise

    lines = [line for person in c.policy.people for line in person.keys]
    files = {Path(f"{host.identity_file}.pub") for host in c.fleet.hosts if host.identity_file}
    lines += [path.read_text(encoding="ascii") for path in sorted(files) if path.is_file()]
    return tuple(dict.fromkeys(normalise(line) for line in lines))


def _certificates(c: Context, hosts: tuple[Host, ...]) -> None:
    from tradeops.fleet.tls import TlsFiles, issue_guard, renewal_due

    tls, now_ns = TlsFiles(c.fleet.state.tls), c.clock.wall_ns()
    for host in hosts:
        if renewal_due(tls.guard(host.name), now_ns=now_ns):
            issue_guard(tls, host.name, now_ns=now_ns)


def _enroll(c: Context, host: Host, enrolment: Enrolment) -> Enrolled:
    from tradeops.fleet.enroll import enroll as install
    from tradeops.fleet.enroll import host_file
    from tradeops.fleet.tls import TlsFiles

    tls = TlsFiles(c.fleet.state.tls)
    texts = {"ca.pem": tls.ca, "guard.pem": tls.guard(host.name), "guard.key": tls.guard_key(host.name)}
    offset_ns = int(host.fields.get("clock_offset_ns", "0"))
    me = host_file(host, c.fleet.name, c.fleet.service, supervisor_socket=host.fields.get("supervisor_socket"), clock_offset_ns=offset_ns)
    return install(c.ssh, host, me, enrolment, {name: path.read_text(encoding="ascii") for name, path in texts.items()})


def _problem(failed: Mapping[str, TradeopsError], name: str) -> str:
    return failed[name].what if name in failed else ""


def _enrolled(c: Context, hosts: tuple[Host, ...], done: Mapping[str, Enrolled], failed: Mapping[str, TradeopsError]) -> Report:
    from tradeops.base.digest import short

    rows: list[tuple[object, ...]] = [(f"{NO} {name}", None, error.what) for name, error in failed.items()]
    rows += [(f"{YES} {name}", short(each.platform), ", ".join(each.changed) or "all as it should be") for name, each in done.items()]
    if failed and not done:
        words = "\n".join(f"{name}: {error.what}" for name, error in failed.items())
        raise PreflightFailed(f"no host was enrolled\n{words}", where=", ".join(failed), next=next(iter(failed.values())).next)
    return Report(
        "fleet-enroll",
        f"{len(done)} of {len(hosts)} hosts enrolled",
        ExitCode.MIXED if failed else ExitCode.PROVED,
        hosts=tuple({"host": host.name, "ok": host.name in done, "problem": _problem(failed, host.name)} for host in hosts),
        tables=(table(("host", "platform", "changed"), rows),),
        next="mend what is named, then enroll again: it is safe" if failed else "`tradeops deploy RELEASE`",
    )
