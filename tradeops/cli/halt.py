"""`halt`, `resume`: take no new risk on some hosts, and take it again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from tradeops.base.errors import MixedFleet, UsageError
from tradeops.cli.context import Context
from tradeops.cli.options import All, Count, Hosts, Reason, Tags, context
from tradeops.cli.report import NO, YES, Report, table

if TYPE_CHECKING:
    from tradeops.contracts.directive import Directive, Verb
    from tradeops.contracts.status import Status
    from tradeops.fleet.host import Host
    from tradeops.record.audit import Log
    from tradeops.record.urgent import Urgent
    from tradeops.safety.desk import Desk, Taken


def halt(ctx: typer.Context, reason: Reason, all_hosts: All = False, host: Hosts = None, tag: Tags = None, count: Count = None) -> Report:
    """Take no new risk: working orders are cancelled, positions stay. One person resumes it again."""
    from tradeops.contracts.directive import Verb
    from tradeops.fleet.outcome import values
    from tradeops.safety.floor import require_floor

    c = context(ctx)
    hosts = c.chosen(all_hosts=all_hosts, hosts=host or (), tags=tag or ())
    if count != len(hosts):
        heard = values(c.controls.statuses(c.fleet.hosts, deadline_s=c.fleet.deadlines.control))
        trading = {name: status.trading for name, status in heard.items()}
        require_floor("halt", [each.name for each in hosts], trading, c.fleet.hosts_declared, typed=count)
    taken = send(c, hosts, directive(c, Verb.HALT, hosts, reason), c.urgent())
    return report(c, taken, "halted", lambda name: name not in taken.trading())


def resume(ctx: typer.Context, reason: Reason, all_hosts: All = False, host: Hosts = None, tag: Tags = None) -> Report:
    """End the halts and holds that stand on hosts. A kill is ended by `permit` alone."""
    from tradeops.contracts.directive import Verb
    from tradeops.fleet.outcome import errors
    from tradeops.safety.permit import halts_to_end

    c = context(ctx)
    hosts = c.chosen(all_hosts=all_hosts, hosts=host or (), tags=tag or ())
    outcomes = c.controls.statuses(hosts, deadline_s=c.fleet.deadlines.control)
    ends = halts_to_end(outcomes)
    if not ends and (silent := errors(outcomes)):
        raise MixedFleet(
            f"{len(silent)} of {len(hosts)} hosts did not answer, and on the others no halt and no hold stands",
            where=", ".join(silent),
            holds="nothing was sent",
            next="`tradeops status`, then resume again",
        )
    if not ends:
        raise UsageError(
            "no halt and no hold stands on these hosts", next="`tradeops status` shows every mark; a kill needs `tradeops permit`"
        )
    taken = send(c, hosts, directive(c, Verb.RESUME, hosts, reason, ends=ends))
    return report(c, taken, "resumed", lambda name: name not in taken.problems)


def directive(c: Context, verb: Verb, hosts: tuple[Host, ...], reason: str, *, ends: tuple[str, ...] = ()) -> Directive:
    """What is signed."""
    from tradeops.safety.directives import compose

    names = tuple(host.name for host in hosts)
    args: dict[str, object] = {"cause": reason} if verb == "permit" else {}
    return compose(verb, id=c.new_id(), fleet=c.fleet.name, hosts=names, reason=reason, now_ns=c.clock.wall_ns(), ends=ends, args=args)


def desk(c: Context, log: Log | None = None) -> Desk:
    """Where it goes out from. log: where it is recorded [the audit chain; it is not sent when that cannot be written]."""
    from tradeops.safety.desk import Desk

    return Desk(c.controls, log or c.audit, c.fleet.deadlines.control)


def send(c: Context, hosts: tuple[Host, ...], order: Directive, log: Urgent | None = None) -> Taken:
    """Sign with one key, send, require that every host took it. log: see `desk`; what it still owes is told."""
    from tradeops.safety.desk import order as deliver
    from tradeops.safety.desk import require_taken
    from tradeops.safety.directives import sign

    taken = deliver(desk(c, log), hosts, order, sign(order, c.signer))
    for owed in log.settle() if log else ():
        c.printer.line(owed.words())
    require_taken(taken, len(hosts))
    return taken


def report(c: Context, taken: Taken, word: str, well: Callable[[str], bool]) -> Report:
    """Every host as read back, those that are not as they should be first: what holds there, and what ends it."""
    from tradeops.cli.marks import held_lines
    from tradeops.fleet.outcome import values

    seen = values(taken.statuses)
    names = sorted(taken.statuses, key=lambda name: (well(name), name))
    rows = [(f"{YES if well(name) else NO} {name}", *_held(seen.get(name))) for name in names]
    return Report(
        taken.directive.verb.value,
        f"{len(names)} of {c.fleet.hosts_declared} hosts {word} ({taken.directive.id}); {len(taken.trading())} of them trade",
        hosts=tuple({"host": name, "ok": well(name), "trading": name in taken.trading()} for name in names),
        tables=(table(("host", "state", "working", "marks"), rows),),
        lines=held_lines({name: seen[name] for name in names if name in seen}),
        data={"id": taken.directive.id, "ends": list(taken.directive.ends)},
    )


def _held(status: Status | None) -> tuple[object, object, object]:
    """State, orders at work, and marks of a host; a host that was not read back is not known."""
    if status is None:
        return "not read back", None, None
    marks = ", ".join(f"{mark.kind} {mark.id}" for mark in status.marks) or None
    return "trading" if status.trading else "not trading", status.working, marks
