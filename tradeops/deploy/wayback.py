"""The way back of a run, seen before anything is touched: what each host runs now lies there whole, and could take over again (D13)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tradeops.base.digest import short
from tradeops.base.errors import PreflightFailed, Refused
from tradeops.contracts.agent import AgentVerb, Facts, Proof
from tradeops.contracts.codec import convert
from tradeops.contracts.flags import active_flags
from tradeops.deploy.places import here
from tradeops.deploy.plan import Plan
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.preflight import fleet_error
from tradeops.deploy.site import Site
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Outcome, errors, values
from tradeops.fleet.ports import AgentSession
from tradeops.release.flags import conflicts, journal_conflict, tombstones


@dataclass(frozen=True)
class WayBack:
    """says: where the hosts would go back to.  risks: hosts that could not go back, or of which that is not known, and why."""

    says: tuple[str, ...]
    risks: tuple[str, ...]


def clashes(site: Site, running: str, target: str) -> list[str]:
    """Why `target` cannot take over from `running`: a live flag that it takes for something else, one that is retired,
    a journal that it cannot read.
    """
    now, then = site.releases.manifest(running).predicate, site.releases.manifest(target).predicate
    active = {} if now.start.kept else active_flags(now.flags, site.flags_off)
    found = [str(clash) for clash in conflicts(active, then)]
    found += [
        f"{flag} is retired on this fleet: what carries it starts halted; go forward" for flag in tombstones(then, site.flags_retired)
    ]
    journal = journal_conflict(now, then)
    return [*found, journal] if journal else found


def see_way_back(site: Site, sessions: Mapping[str, AgentSession], playbook: Playbook, release: str, facts: Mapping[str, Facts]) -> WayBack:
    """Every file of what a host runs now hashed by the host itself. Raises PreflightFailed naming each whose way back is not whole.

    One that runs another release than its link leads to has a way back of which nothing is known: a risk, as is a clash.
    """
    olds = {name: old for name, fact in facts.items() if (old := here(fact)) not in (None, release)}
    outcomes = hashed_there(site, sessions, playbook, {name: facts[name].active for name in olds})
    if failures := errors(outcomes):
        raise fleet_error("did not prove what they run", failures, len(facts))
    proofs = values(outcomes)
    broken = {name: words for name, old in olds.items() if (words := _broken(old or "", facts[name], proofs[name]))}
    if broken:
        raise PreflightFailed(
            f"{len(broken)} of {len(facts)} hosts could not be taken back to what they run\n"
            + "\n".join(f"{name}: {words}" for name, words in broken.items()),
            where=", ".join(broken),
            holds="nothing was touched on any host",
            next="deploy what they run now once more, which makes it whole; or leave the host out: --exclude",
        )
    return _told(site, release, {name: here(fact) for name, fact in facts.items()}, proofs)


def refuse_risks(plan: Plan, digest: str | None) -> None:
    """A plan without a sure way back is carried out by its digest alone: by somebody who has read it. Raises Refused."""
    if plan.risks and digest is None:
        raise Refused(
            "the plan has no sure way back\n" + "\n".join(plan.risks),
            holds="nothing was touched",
            next=f"read it; if that is meant, name it: --plan {plan.digest()}",
        )


def hashed_there(
    site: Site, sessions: Mapping[str, AgentSession], playbook: Playbook, slots: Mapping[str, str]
) -> dict[str, Outcome[Proof]]:
    """What each of these hosts' agents says of the release that a slot leads to, every file of it hashed. slots: by host."""
    verb_s = playbook.deadlines.verb

    def ask(host: Host) -> Proof:
        slot = slots[host.name]
        return convert(sessions[host.name].call(AgentVerb.PROVE, timeout_s=verb_s, slot=slot, release=None, rehash=True), Proof)

    return site.fan_out.run([host for host in site.hosts if host.name in slots], ask, deadline_s=verb_s)


def damage(proof: Proof) -> str:
    """What is wrong with the files that were hashed, "" when nothing is. That none could be is no proof that they are whole."""
    if proof.bad_files:
        more = f" and {len(proof.bad_files) - 1} more" if len(proof.bad_files) > 1 else ""
        return f"damaged there: {proof.bad_files[0]}{more}"
    return "" if proof.files_checked else "not to be compared there: no file of it was hashed"


def _broken(old: str, facts: Facts, proof: Proof) -> str:
    """What is wrong with the release that a host runs, as it lies there; "" when nothing is, or nothing is known."""
    if old not in facts.releases:
        return f"{short(old)} is not there any more"
    words = damage(proof) if proof.linked == old else ""
    return f"{short(old)} is {words}" if words else ""


def _told(site: Site, release: str, olds: Mapping[str, str | None], proofs: Mapping[str, Proof]) -> WayBack:
    says, risks = [], []
    for old in sorted({old for old in olds.values() if old}):
        names = [name for name, other in olds.items() if other == old]
        unsure = [name for name in names if name in proofs and proofs[name].linked != old]
        found = clashes(site, release, old)
        said = f"{', '.join(names)} back to {short(old)}"
        says.append(said + (", which is brought again" if old == release else ", every file hashed there"))
        risks += [f"{said}: {clash}" for clash in found]
        if unsure:
            risks.append(f"{', '.join(unsure)} run {short(old)}, and their link leads elsewhere: whether it is whole is not known")
    if new := [name for name, old in olds.items() if old is None]:
        says.append(f"{', '.join(new)} back to nothing: no release runs there")
    return WayBack(tuple(says), tuple(risks))
