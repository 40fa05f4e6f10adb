"""Hosts that runs leave out: named wherever a person looks, and killed as soon as they are heard."""

from __future__ import annotations

from tradeops.cli.context import Context


def strike(c: Context) -> dict[str, str]:
    """Each excluded host and, in words, by whom, why and until when; the kill that waits for it is said again. Needs no key."""
    found = c.exclusions.standing(host.name for host in c.fleet.hosts)
    if not found:
        return {}
    from tradeops.deploy.leftout import STRIKE_S
    from tradeops.deploy.leftout import strike as say_again
    from tradeops.fleet.outcome import values

    for name, reply in values(say_again(c.controls, c.fleet.hosts, found, deadline_s=STRIKE_S)).items():
        if reply.accepted and not reply.already:
            c.printer.line(f"{name} is excluded and was heard again: killed")
    return {each.host: each.words(c.clock.wall_ns()) for each in found}
