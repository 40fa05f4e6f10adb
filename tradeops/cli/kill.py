"""`kill-switch`: stops trading, on every host or a part, by every road there is."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tradeops.base.errors import Interrupted, UsageError
from tradeops.cli.context import Context
from tradeops.cli.options import All, Hosts, Reason, Tags, context
from tradeops.cli.report import NO, YES, Report, table

if TYPE_CHECKING:
    from tradeops.contracts.directive import Scope
    from tradeops.contracts.envelope import Envelope
    from tradeops.fleet.host import Host
    from tradeops.fleet.ports import AgentSession
    from tradeops.safety.kill import HostKill, KillReport

DEADLINE_S = 20.0
_AGAIN = "run the same command again"


def kill_switch(
    ctx: typer.Context,
    reason: Reason,
    all_hosts: All = False,
    host: Hosts = None,
    tag: Tags = None,
    venue: Annotated[list[str] | None, typer.Option("--venue", help="Only orders at this venue.")] = None,
    symbol: Annotated[list[str] | None, typer.Option("--symbol", help="Only orders in this symbol.")] = None,
    strategy: Annotated[list[str] | None, typer.Option("--strategy", help="Only this strategy's orders.")] = None,
    deadline: Annotated[
        float, typer.Option("--deadline", metavar="SECONDS", min=1.0, help="Give up on what is not confirmed by then.")
    ] = DEADLINE_S,
) -> Report:
    """Stop trading: block new orders, cancel working ones, prove it. One entitled person; safe to repeat; exit 8 when incomplete."""
    c = context(ctx)
    c.stopping = True
    if not math.isfinite(deadline):
        raise UsageError(f"--deadline {deadline} is no length of time", next="leave it out, or give seconds")
    hosts = c.chosen(all_hosts=all_hosts, hosts=host or (), tags=tag or ())
    number = 0
    if all_hosts:
        hosts, number = c.everywhere()
    scope = _scope(c, venue or [], symbol or [], strategy or [])
    return _kill(c, hosts, scope, reason, deadline, named=not all_hosts, number=number)


def _scope(c: Context, venues: list[str], symbols: list[str], strategies: list[str]) -> Scope:
    """What is meant. A kill of a name that nobody trades would look like success, so UsageError for one no binding knows."""
    from tradeops.contracts.directive import Scope

    bound = c.fleet.bindings.values()
    known = {
        "venue": {venue.name for binding in bound for venue in binding.venues},
        "symbol": {instrument.symbol for binding in bound for instrument in binding.instruments},
    }
    for word, names in (("venue", venues), ("symbol", symbols), ("strategy", strategies)):
        for name in names:
            if not name.strip() or (known.get(word) and name not in known[word]):
                there = ", ".join(sorted(known.get(word, ()))) or "none is named by a binding"
                advice = f"--{word} is one of: {there}; or leave it out and stop everything"
                raise UsageError(f"no binding of the fleet names the {word} {name!r}", holds="nothing was sent", next=advice)
    return Scope(tuple(venues), tuple(symbols), tuple(strategies))


def _kill(c: Context, hosts: tuple[Host, ...], scope: Scope, reason: str, deadline_s: float, *, named: bool, number: int) -> Report:
    """named: these hosts and no others.  number: of the roster here."""
    from tradeops.cli.killboard import KillProgress
    from tradeops.contracts.directive import ALL_HOSTS, Verb
    from tradeops.safety.directives import compose, sign
    from tradeops.safety.kill import Roads, kill
    from tradeops.safety.muster import Muster

    names = tuple(each.name for each in hosts)
    directive = compose(
        Verb.KILL,
        id=c.new_id(),
        fleet=c.fleet.name,
        hosts=names if named else (ALL_HOSTS,),
        reason=reason,
        now_ns=c.clock.wall_ns(),
        scope=scope,
    )
    envelope: Envelope = sign(directive, c.signer)
    urgent = c.urgent()
    ticket = urgent.intent("kill", hosts=names, detail={"id": directive.id, "reason": directive.reason, "scope": scope})
    muster = None if named else Muster(c.policy_here, number)
    roads = Roads(c.controls, _WhenNeeded(c), c.fan_out, c.clock, c.sweep(f"kill-{directive.id}", scope), muster)
    told = KillProgress(c.printer, c.clock, names, deadline_s)
    try:
        with told:
            done = kill(roads, hosts, envelope, directive.id, deadline_s=deadline_s, told=told, whole_host=scope.everything())
    except KeyboardInterrupt:
        urgent.outcome(ticket, "interrupted", detail={"told": told.summary()})
        raise Interrupted("the kill was cut short", holds=f"what was sent stays in force: {told.summary()}", next=_AGAIN) from None
    urgent.outcome(ticket, "done" if not done.exit_code else "incomplete", detail={"hosts": [asdict(each) for each in done.hosts]})
    owed = urgent.settle()
    lines = [f"{host} is not in the fleet file here: {source} names it, and it was killed too" for host, source in done.found.items()]
    lines += [f"hosts may be missing here: {done.unread}"] if done.unread else []
    lines += [each.words() for each in owed]
    return _report(done, reason, scope, lines, lambda: _leave_heads(c, hosts))


class _WhenNeeded:
    """Agents whose SSH library is loaded when the second road begins: the first one does not wait for it."""

    def __init__(self, c: Context) -> None:
        self._c = c
        self._lock = threading.Lock()

    def open(self, host: Host, *, timeout_s: float) -> AgentSession:
        """See fleet.ports.Agents."""
        with self._lock:
            agents = self._c.agents
        return agents.open(host, timeout_s=timeout_s)


def _leave_heads(c: Context, hosts: tuple[Host, ...]) -> None:
    """The audit chain's head with every host that answers; a kill does not fail over it."""
    from tradeops.base.errors import TradeopsError
    from tradeops.safety.witness import HostWitnesses

    try:
        head = c.audit_as(c.person).head()
    except TradeopsError as unwritten:
        c.printer.line(f"the hosts keep no witness of this kill: {unwritten}")
        return
    for name, error in HostWitnesses(hosts, c.agents, c.fan_out, timeout_s=c.fleet.deadlines.connect).leave(head).items():
        c.printer.line(f"{name} keeps no witness of this kill: {error.what}")


def _report(done: KillReport, reason: str, scope: Scope, lines: list[str], after: Callable[[], None]) -> Report:
    from msgspec import to_builtins

    total, blocked = len(done.hosts), done.blocked()
    confirmed = sum(each.confirmed for each in done.hosts)
    working = sum(each.working or 0 for each in done.hosts)
    rows = [
        (
            f"{YES if each.confirmed else NO} {each.host}",
            each.road or None,
            _ms(each.blocked_ms),
            _ms(each.clear_ms),
            each.working,
            _problems(each),
        )
        for each in done.hosts
    ]
    advice = [f"{each.host}: {each.next_step()}" for each in done.hosts if not each.confirmed]
    advice += ["get the newer fleet files from whoever signed them, and kill again from there"] if done.unread else []
    return Report(
        "kill-switch",
        f"{_title(scope, blocked, total)}; {confirmed} clear, {working} orders working (kill {done.kill}, {done.elapsed_ms:.0f} ms)",
        done.exit_code,
        hosts=tuple(
            {**asdict(each), "orders": to_builtins(each.orders), "confirmed": each.confirmed, "next": each.next_step()}
            for each in done.hosts
        ),
        large=f"{confirmed}/{total}",
        tables=(table(("host", "road", "blocked ms", "clear ms", "working", "problems"), rows),),
        lines=(*advice, *lines),
        next=_AGAIN if advice else f"two people: `tradeops permit`, when the cause is known ({reason})",
        data={
            "kill": done.kill,
            "blocked": blocked,
            "confirmed": confirmed,
            "declared": total,
            "working": working,
            "elapsed_ms": done.elapsed_ms,
            "found": done.found,
            "unread": done.unread or None,
            "scope": {"venues": scope.venues, "symbols": scope.symbols, "strategies": scope.strategies},
        },
        after=after,
    )


def _ms(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f}"


def _problems(host: HostKill) -> str | None:
    return "; ".join(f"{road}: {words}" for road, words in host.problems.items()) or None


def _title(scope: Scope, blocked: int, total: int) -> str:
    if scope.everything():
        return f"{blocked} of {total} HOSTS BLOCKED"
    parts = (("venue", scope.venues), ("symbol", scope.symbols), ("strategy", scope.strategies))
    meant = " and ".join(f"{word} {' or '.join(names)}" for word, names in parts if names)
    return f"{meant} blocked on {blocked} of {total} hosts; everything else trades on"
