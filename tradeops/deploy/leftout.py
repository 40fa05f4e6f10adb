"""Runs without some of the hosts: those are killed before anything is switched, and whenever they are heard again.

A host that a run leaves out may come back trading the old release: what it would be then is what a fleet is lost by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import KillIncomplete, Refused, UsageError
from tradeops.contracts.directive import DirectiveReply, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.deploy.crew import Crew
from tradeops.deploy.exclusion import Excluded, exclusion_of
from tradeops.deploy.site import Site
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Outcome, values
from tradeops.fleet.ports import Controls
from tradeops.safety.directives import compose, sign
from tradeops.safety.kill import Roads, kill

KILL_S = 5.0
STRIKE_S = 1.0
"""How long a guard that may be dead is waited for when its kill is said again."""
_EVERY_NS = 5 * NS_PER_S
EXCLUDE, INCLUDE, STRUCK = "exclude", "include", "struck"


@dataclass(frozen=True)
class LeaveOut:
    """Hosts to leave out of a run, and why."""

    hosts: tuple[str, ...]
    reason: str


def without(site: Site, names: Sequence[str]) -> Site:
    """The site of a run that leaves these hosts out.

    Raises UsageError for a name that the fleet does not have or when no host is left, Refused for fewer than the policy wants.
    """
    known = {host.name for host in site.hosts}
    for name in names:
        if name not in known:
            raise UsageError(f"no host is named {name!r}", next="`tradeops fleet list` prints the names")
    narrowed = narrow(site, names)
    if not narrowed.hosts:
        raise UsageError("every host is excluded: nothing is left to deploy to", next="leave at least one host in")
    least = site.policy.least(len(known))
    if len(narrowed.hosts) < least:
        raise Refused(
            f"{len(narrowed.hosts)} of {len(known)} hosts would be left; the policy wants {least} at least",
            where=", ".join(host.name for host in narrowed.excluded),
            holds="nothing was touched",
            next="bring hosts back first, or take those that are gone for good out of the fleet file",
        )
    return narrowed


def narrow(site: Site, names: Sequence[str]) -> Site:
    """The same, nothing asked: for a run that was begun so."""
    kept = tuple(host for host in site.hosts if host.name not in names)
    return replace(site, hosts=kept, excluded=tuple(host for host in site.hosts if host.name in names))


def put_out(site: Site, reason: str) -> None:
    """Sign and keep the exclusion of the site's excluded hosts, and kill them by every road. One that is not heard keeps a standing kill.

    Raises Refused when the policy does not let this person, NotRecorded, and KillIncomplete when one is heard and not blocked.
    """
    hosts, names = site.excluded, tuple(host.name for host in site.excluded)
    now_ns, kill_id = site.clock.wall_ns(), site.new_id()
    exclusion = exclusion_of(names, id=kill_id, fleet=site.fleet, by=site.person, reason=reason, now_ns=now_ns)
    said = f"excluded: {exclusion.reason}"
    envelope = sign(compose(Verb.KILL, id=kill_id, fleet=site.fleet, hosts=names, reason=said, now_ns=now_ns), site.signer)
    intent = site.ledger.intent(EXCLUDE, run="", hosts=names, detail={"id": kill_id, "reason": exclusion.reason})
    try:
        site.exclusions.put(exclusion, envelope, site.signer, site.policy)
        roads = Roads(site.controls, site.agents, site.fan_out, site.clock, site.sweep)
        report = kill(roads, hosts, envelope, kill_id, deadline_s=KILL_S, told=lambda _: None)
        if site.traffic is not None:
            site.traffic.drain(names)
    except BaseException as error:
        site.ledger.outcome(intent, type(error).__name__, detail={})
        raise
    blocked = [each.host for each in report.hosts if each.blocked_ms is not None]
    site.ledger.outcome(intent, "blocked" if len(blocked) == len(names) else "waits", detail={"blocked": blocked})
    heard = values(site.controls.statuses(hosts, deadline_s=STRIKE_S))
    loose = [name for name, status in heard.items() if name not in blocked]
    if loose:
        raise KillIncomplete(
            "it is heard, and not confirmed blocked",
            where=", ".join(loose),
            holds="no other host was touched; the exclusion and its kill stand",
            next=f'`tradeops kill-switch --host {loose[0]} --reason "..."` until it is, then deploy again',
        )


def strike(
    controls: Controls, hosts: Sequence[Host], excluded: Iterable[Excluded], *, deadline_s: float
) -> dict[str, Outcome[DirectiveReply]]:
    """Say again the kills that wait for excluded hosts; one that a permit has ended is spent, and does nothing."""
    groups: dict[str, tuple[Envelope, list[Host]]] = {}
    by_name = {host.name: host for host in hosts}
    for each in excluded:
        groups.setdefault(each.kill.payload, (each.kill, []))[1].append(by_name[each.host])
    replies: dict[str, Outcome[DirectiveReply]] = {}
    for envelope, meant in groups.values():
        replies |= controls.direct(meant, envelope, deadline_s=deadline_s)
    return replies


def strike_again(crew: Crew) -> None:
    """Every few seconds of a run: the hosts that it leaves out and that were not seen blocked yet. Raises OSError."""
    clock = crew.site.clock
    if clock.monotonic_ns() - crew.struck_ns >= _EVERY_NS and (blocked := strike_waiting(crew)):
        crew.journal.note(STRUCK, "blocked", clock.wall_ns(), hosts=blocked)


def strike_waiting(crew: Crew) -> list[str]:
    """Say the kills again, at once. Returns the hosts that are seen blocked now, and were not before."""
    site = crew.site
    crew.struck_ns = site.clock.monotonic_ns()
    waiting = [host for host in site.excluded if host.name not in crew.struck]
    found = values(strike(site.controls, waiting, site.exclusions.standing(host.name for host in waiting), deadline_s=STRIKE_S))
    blocked = [name for name, reply in found.items() if reply.accepted and reply.blocked]
    crew.struck |= set(blocked)
    return blocked


def take_in(site: Site, names: Iterable[str], run: str) -> None:
    """Hosts that a run has proved are excluded no longer. Raises NotRecorded, OSError."""
    for each in site.exclusions.standing(names):
        intent = site.ledger.intent(INCLUDE, run=run, hosts=(each.host,), detail={"id": each.exclusion.id})
        site.exclusions.lift(each.host, by=f"run {run}", why="deployed and proved again")
        site.ledger.outcome(intent, "lifted", detail={})
