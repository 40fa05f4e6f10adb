"""`permit`: start trading on new or killed hosts. Two people, two keys, a cause, and every host proved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import MixedFleet, UsageError
from tradeops.cli.context import Context
from tradeops.cli.halt import desk, directive, report
from tradeops.cli.options import All, Hosts, Tags, context
from tradeops.cli.paths import named, new_file
from tradeops.cli.report import Report, age, when

if TYPE_CHECKING:
    from tradeops.contracts.envelope import Envelope
    from tradeops.fleet.host import Host
    from tradeops.safety.desk import Taken

_BYTES_MAX = 1 << 20
TRADING_S = 10.0


def permit(
    ctx: typer.Context,
    cause: Annotated[str, typer.Option("--cause", metavar="TEXT", help="What was wrong, and why it no longer is. Kept for good.")] = "",
    all_hosts: All = False,
    host: Hosts = None,
    tag: Tags = None,
    also: Annotated[
        list[str] | None, typer.Option("--and", metavar="PERSON", help="Who signs as well, with a key on this machine.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Sign and write it there for the second person; send nothing.")
    ] = None,
    cosigned: Annotated[Path | None, typer.Option("--sign", metavar="FILE", help="Sign what the first person wrote, and send it.")] = None,
) -> Report:
    """Let hosts trade: ends the kills that stand there. Needs two people with two keys, a cause, and every host proved."""
    from tradeops.contracts.directive import Verb
    from tradeops.safety.directives import sign
    from tradeops.safety.permit import kills_to_end

    c = context(ctx)
    if cosigned is not None:
        if cause or all_hosts or host or tag or also or out is not None:
            raise UsageError("--sign takes hosts and cause from the file", next="leave the other options out, or ask for a permit anew")
        return _second(c, cosigned)
    if not cause.strip():
        raise UsageError("a cause is needed: it is kept for good", next="add --cause TEXT: what was wrong, and why it no longer is")
    if out is not None:
        new_file("--out", out)
    c.require_roster()
    hosts = c.chosen(all_hosts=all_hosts, hosts=host or (), tags=tag or ())
    ends = kills_to_end(c.controls.statuses(hosts, deadline_s=c.fleet.deadlines.control))
    envelope = sign(directive(c, Verb.PERMIT, hosts, cause, ends=ends), c.signer)
    for person in also or ():
        envelope = _add(c, envelope, person)
    if out is not None:
        return _written(c, envelope, out)
    return _send(c, hosts, envelope)


def _add(c: Context, envelope: Envelope, person: str) -> Envelope:
    from tradeops.safety.directives import cosign

    return cosign(envelope, c.signer_of(person)[1])


def _written(c: Context, envelope: Envelope, out: Path) -> Report:
    import msgspec

    from tradeops.base.durable import write_atomic
    from tradeops.safety.directives import read

    order = read(envelope, source=str(out))
    with named("--out", out):
        write_atomic(out, msgspec.json.encode(envelope))
    until = f"{when(order.expires_ns)} UTC, {age((order.expires_ns - c.clock.wall_ns()) / NS_PER_S)} from now"
    return Report(
        "permit",
        f"signed by one; it ends {', '.join(order.ends) or 'no kill'}. Nothing was sent. It can be taken until {until}",
        next=f"the second person: tradeops permit --sign {out}",
        data={"file": str(out), "ends": list(order.ends), "expires_ns": order.expires_ns},
    )


def _second(c: Context, path: Path) -> Report:
    from tradeops.base.durable import read_bounded
    from tradeops.contracts.codec import decode
    from tradeops.contracts.directive import Verb
    from tradeops.contracts.envelope import Envelope
    from tradeops.safety.directives import cosign, read

    with named("--sign", path):
        envelope = decode(read_bounded(path, _BYTES_MAX), Envelope, source=str(path))
    order = read(envelope, source=str(path))
    if order.verb is not Verb.PERMIT or order.fleet != c.fleet.name:
        raise UsageError(f"a {order.verb} for {order.fleet}, not a permit for {c.fleet.name}", where=str(path))
    if c.clock.wall_ns() >= order.expires_ns:
        raise UsageError(
            f"the permit could be taken until {when(order.expires_ns)} UTC",
            where=str(path),
            holds="nothing was signed or sent",
            next="have the first person ask anew with --out",
        )
    c.printer.line(f"permit {order.id} for {', '.join(order.hosts)}; ends {', '.join(order.ends) or 'no kill'}; cause: {order.reason}")
    return _send(c, tuple(c.fleet.host(name) for name in order.hosts), cosign(envelope, c.signer))


def _send(c: Context, hosts: tuple[Host, ...], envelope: Envelope) -> Report:
    """Proved, sent, and read back as trading."""
    from tradeops.contracts.entitle import entitled
    from tradeops.contracts.envelope import Purpose
    from tradeops.safety.desk import order, require_taken
    from tradeops.safety.directives import read
    from tradeops.safety.witness import HostWitnesses

    entitled(c.policy, "permit", envelope, Purpose.DIRECTIVE, now_ns=c.clock.wall_ns(), host=None)
    try:
        verdict = c.verdict(hosts)
        taken = order(desk(c), hosts, read(envelope, source="permit"), envelope, verdict=verdict)
        require_taken(taken, len(hosts))
        taken = _until_trading(c, hosts, taken, verdict.at_rest)
        witnesses = HostWitnesses(c.fleet.hosts, c.agents, c.fan_out, timeout_s=c.fleet.deadlines.command)
        for name, error in witnesses.leave(c.audit.head()).items():
            c.printer.line(f"{name} keeps no witness of this permit: {error.what}")
        return report(c, taken, "permitted", lambda name: name in (taken.permitted() if name in verdict.at_rest else taken.trading()))
    finally:
        c.ssh.close()


def _until_trading(c: Context, hosts: tuple[Host, ...], taken: Taken, at_rest: frozenset[str]) -> Taken:
    """Read back until every host trades, or may where nothing runs yet. Raises MixedFleet naming those that do not."""
    from dataclasses import replace

    from tradeops.cli.marks import held_lines
    from tradeops.fleet.outcome import values

    def left() -> list[str]:
        return [name for name in taken.not_trading() if not (name in at_rest and name in taken.permitted())]

    deadline_ns = c.clock.monotonic_ns() + int(TRADING_S * NS_PER_S)
    while left() and c.clock.monotonic_ns() < deadline_ns:
        c.clock.sleep_s(0.1)
        taken = replace(taken, statuses=c.controls.statuses(hosts, deadline_s=c.fleet.deadlines.control))
    if left():
        held = held_lines({name: status for name, status in values(taken.statuses).items() if name in left()})
        raise MixedFleet(
            "\n".join((f"permitted, and yet {len(left())} of {len(hosts)} hosts do not trade after {TRADING_S:.0f} s", *held)),
            where=", ".join(left()),
            holds="the permit stands on every host",
            next="what the lines above say; `tradeops status` shows the marks that are left",
        )
    return taken
