"""Is every host fit for a run? One verdict per host before anything is touched (promise 2). Pure but for `survey`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from tradeops.base.clock import NS_PER_S
from tradeops.base.digest import short
from tradeops.base.errors import ExitCode, LockHeld, PreflightFailed, Refused, TradeopsError, UsageError
from tradeops.checks.finding import Finding, Verdict, confirm, open_findings
from tradeops.contracts.agent import AgentVerb, Facts
from tradeops.contracts.codec import convert
from tradeops.contracts.directive import ADOPT, ADOPT_NEEDS, NEEDS, Verb
from tradeops.contracts.manifest import VITALS, Release
from tradeops.contracts.status import Status
from tradeops.deploy.asked import open_runs
from tradeops.deploy.blackout import blacked_out
from tradeops.deploy.journal import came_to
from tradeops.deploy.places import here
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.site import PhaseProgress, Progress, Site
from tradeops.deploy.traffic import see_proxies
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import errors, values
from tradeops.fleet.ports import AgentSession
from tradeops.release.flags import tombstones

_MB = 1_000_000
_MEND = "bring the hosts back, or see `tradeops doctor`"
PREFLIGHT = "preflight"
"""The name of this phase on a screen: it has no run yet, and nothing to journal."""


def open_all(site: Site, playbook: Playbook) -> dict[str, AgentSession]:
    """A session with the agent of every host, each the host that it should be. Raises PreflightFailed; then none is open."""
    waits = playbook.deadlines
    names = tuple(host.name for host in site.hosts)
    site.progress(PhaseProgress("", PREFLIGHT, names, "begun"))

    def open_one(host: Host) -> AgentSession:
        site.progress(Progress("", PREFLIGHT, host.name, "started"))
        session = site.agents.open(host, timeout_s=waits.connect)
        if (session.hello.host, session.hello.fleet) != (host.name, site.fleet):
            session.close()
            raise PreflightFailed(f"says it is {session.hello.host} of fleet {session.hello.fleet}", where=host.name)
        return session

    outcomes = site.fan_out.run(site.hosts, open_one, deadline_s=waits.connect * 2)
    if failures := errors(outcomes):
        close_all(values(outcomes))
        raise fleet_error("did not answer", failures, len(site.hosts))
    return values(outcomes)


def close_all(sessions: Mapping[str, AgentSession]) -> None:
    """End every session."""
    for session in sessions.values():
        session.close()


@dataclass(frozen=True)
class Skew:
    """By how much a host's clock is ahead of ours, and by how much that may be wrong: half of what its answer took."""

    offset_ns: int
    unsure_ns: int


@dataclass(frozen=True)
class Survey:
    """What every host says of itself, by its name."""

    facts: dict[str, Facts]
    skews: dict[str, Skew]


def survey(site: Site, sessions: Mapping[str, AgentSession], playbook: Playbook) -> Survey:
    """The facts of every host, and every proxy; guards must answer, and know the playbook's words. Raises PreflightFailed, naming each."""

    def ask(host: Host) -> tuple[Facts, Skew]:
        asked_ns = site.clock.wall_ns()
        facts = convert(sessions[host.name].call(AgentVerb.FACTS, timeout_s=playbook.deadlines.verb), Facts)
        half_ns = (site.clock.wall_ns() - asked_ns) // 2
        site.progress(Progress("", PREFLIGHT, host.name, "done"))
        return facts, Skew(facts.wall_ns - asked_ns - half_ns, half_ns)

    outcomes = site.fan_out.run(site.hosts, ask, deadline_s=playbook.deadlines.verb * 2)
    if failures := errors(outcomes):
        raise fleet_error("gave no facts", failures, len(site.hosts))
    guards = site.controls.statuses(site.hosts, deadline_s=playbook.deadlines.control)
    if failures := errors(guards):
        raise fleet_error("have a guard that does not answer", failures, len(site.hosts))
    refuse_deaf(playbook, values(guards))
    see_proxies(site)
    seen = values(outcomes)
    numbers = {name: facts.overlay_number for name, (facts, _) in seen.items()}
    site.overlays.hear(site.hosts, numbers, deadline_s=playbook.deadlines.control)
    site.progress(PhaseProgress("", PREFLIGHT, tuple(host.name for host in site.hosts), "done"))
    return Survey({name: facts for name, (facts, _) in seen.items()}, {name: skew for name, (_, skew) in seen.items()})


def refuse_deaf(playbook: Playbook, guards: Mapping[str, Status]) -> None:
    """Raises PreflightFailed naming every guard that would refuse what the playbook has to say to it."""
    verbs = (Verb.STANDBY, Verb.ACTIVATE) if playbook.cutover else ()
    adopts = playbook.cutover is not None and playbook.cutover.orders == ADOPT
    needed = max((NEEDS[verb] for verb in verbs), default=0) if not adopts else ADOPT_NEEDS
    deaf = {
        name: TradeopsError(f"platform {short(status.platform)} speaks {status.speaks}, {' and '.join(verbs)} need {needed}", where=name)
        for name, status in guards.items()
        if status.speaks < needed
    }
    if deaf:
        raise fleet_error("have a guard that is too old for the playbook", deaf, len(guards), "`tradeops fleet enroll` renews the platform")


def fleet_error(what: str, failures: Mapping[str, TradeopsError], declared: int, mend: str = _MEND) -> PreflightFailed:
    """One error that names every host and its reason. mend: what puts it right."""
    reasons = "\n".join(f"{name}: {error.what}" for name, error in failures.items())
    return PreflightFailed(
        f"{len(failures)} of {declared} hosts {what}\n{reasons}",
        where=", ".join(failures),
        holds="nothing was touched on any host",
        next=f"{mend}; then deploy again",
    )


def judge(site: Site, release: str, playbook: Playbook, seen: Survey, *, back: bool = False) -> None:
    """Raises LockHeld, Refused (roster, policy, tombstone, older release) or PreflightFailed unless every host is fit.

    back: a rollback, whose target is older on purpose and must lie whole on every host.
    """
    facts = seen.facts
    predicate = site.releases.manifest(release).predicate
    _refuse_newer(site, facts)
    refuse_tombstones(site, release)
    _refuse_locked(facts)
    if predicate.start.kept:
        _refuse_unpermitted(facts)
    if back:
        _refuse_absent(site, release, facts)
    else:
        _refuse_older(site, release, predicate, facts)
    findings = {name: fit(name, predicate, playbook, fact, seen.skews[name]) for name, fact in facts.items()}
    unfit = {name: open_findings(found) for name, found in findings.items() if open_findings(found)}
    if unfit:
        reasons = "\n".join(f"{name}: {finding.check}: {finding.detail}" for name, found in unfit.items() for finding in found)
        raise PreflightFailed(
            f"{len(unfit)} of {len(facts)} hosts are not fit\n{reasons}",
            where=", ".join(unfit),
            holds="nothing was touched on any host",
            next="mend what is named, then deploy again",
        )


def refuse_tombstones(site: Site, release: str) -> None:
    """Raises Refused when the release carries a flag that is retired on this fleet: each of its traders would start halted (D05)."""
    if dead := tombstones(site.releases.manifest(release).predicate, site.flags_retired):
        raise Refused(
            f"release {short(release)} carries what is retired on this fleet: flag {', '.join(dead)}; it would trade nowhere",
            where=release,
            holds="nothing was touched",
            next="build and deploy a release that does not declare it: a new meaning takes a new id, and a tombstone stays",
        )


def refuse_held(site: Site, *, back: bool = False) -> None:
    """One canary at a time in a fleet (D08): raises LockHeld while a run is held without a verdict. back: see `ends_of`."""
    for journal in open_runs(site.runs, back=back):
        if came_to(journal.end()) == ExitCode.INCONCLUSIVE:
            raise LockHeld(
                f"run {journal.run} is held without a verdict: one canary at a time",
                where=journal.run,
                holds="nothing was touched",
                next=f"`tradeops runs resume {journal.run}` or `tradeops runs abort {journal.run}` first",
            )


def refuse_blackout(playbook: Playbook, now_ns: int) -> None:
    """Raises Refused inside one of the playbook's windows. Going back is never held up by one."""
    until_ns = blacked_out(playbook.blackout, now_ns)
    if until_ns is not None:
        raise Refused(
            f"playbook {playbook.name} deploys nothing for another {(until_ns - now_ns) / NS_PER_S / 60:.0f} min (blackout)",
            holds="nothing was touched",
            next="wait, or choose a playbook without this window",
        )


def fit(name: str, release: Release, playbook: Playbook, facts: Facts, skew: Skew) -> tuple[Finding, ...]:
    """Every preflight fact of one host."""
    need = playbook.preflight
    size_mb = sum(file.size for file in release.files) // _MB
    free_mb = facts.disk_free_bytes // _MB
    return (
        confirm(name, "disk", free_mb >= need.disk_free_mb + 2 * size_mb, f"{free_mb} MB free, {need.disk_free_mb + 2 * size_mb} needed"),
        confirm(name, "inodes", facts.inodes_free >= need.inodes_free, f"{facts.inodes_free} free, {need.inodes_free} needed"),
        confirm(
            name,
            "memory",
            facts.memory_available_bytes >= need.memory_available_mb * _MB,
            f"{facts.memory_available_bytes // _MB} MB available, {need.memory_available_mb} needed",
        ),
        _clock(name, skew, need.clock_offset),
        confirm(name, "writable", facts.writable, "the root folder can be written" if facts.writable else "read-only"),
        _abi(name, release, facts),
        _kind(name, release, facts),
        *(Finding(name, "platform", Verdict.NO, problem) for problem in facts.problems),
    )


def _clock(name: str, skew: Skew, allowed_s: float) -> Finding:
    """An answer that took longer than twice what is allowed says nothing of the clock: unknown is not fit."""
    offset_s, unsure_s = skew.offset_ns / NS_PER_S, skew.unsure_ns / NS_PER_S
    detail = f"{offset_s:+.3f} s from ours, give or take {unsure_s:.3f} s; {allowed_s} s allowed"
    if unsure_s > allowed_s:
        return Finding(name, "clock", Verdict.UNKNOWN, detail)
    return confirm(name, "clock", abs(offset_s) - unsure_s <= allowed_s, detail)


def _abi(name: str, release: Release, facts: Facts) -> Finding:
    if release.python is None:
        return confirm(name, "python", True, "the release brings no Python code")
    have = (facts.python_abi, facts.python_platform)
    need = (release.python.abi, release.python.platform)
    return confirm(name, "python", have == need, f"{' '.join(have)} on the host, {' '.join(need)} in the release")


def _kind(name: str, release: Release, facts: Facts) -> Finding:
    """Whether the host was enrolled for such a service: no release decides by itself whether it obeys a gate."""
    need = "url" if release.start.kept else VITALS
    return confirm(name, "service", facts.identity == need, f"enrolled with identity `{facts.identity}`, the release needs `{need}`")


def _refuse_unpermitted(facts: Mapping[str, Facts]) -> None:
    """A service without a gate runs or does not: where a mark stands it could not be started, nor proved."""
    marked = {name: "; ".join(f"{mark.kind} by {mark.by}" for mark in fact.marks) for name, fact in facts.items() if fact.marks}
    if marked:
        raise Refused(
            f"{len(marked)} hosts bear a mark, and the service has no gate that would hold it halted\n"
            + "\n".join(f"{name}: {words}" for name, words in marked.items()),
            where=", ".join(marked),
            holds="nothing was touched",
            next="`tradeops permit --all`: two people, two keys; or `tradeops resume` where a halt alone stands; then deploy",
        )


def _refuse_newer(site: Site, facts: Mapping[str, Facts]) -> None:
    for name, fact in facts.items():
        if fact.roster_number > site.roster_number or fact.policy_number > site.policy.number:
            raise Refused(
                f"knows roster {fact.roster_number}, policy {fact.policy_number}; ours are {site.roster_number}, {site.policy.number}",
                where=name,
                holds="nothing was touched",
                next="get the newer fleet files before you deploy: hosts may be missing from yours",
            )
        if fact.overlay_number > site.overlay_number:
            raise Refused(
                f"has overlay {fact.overlay_number}; ours is {site.overlay_number}, and would loosen what it tightens. Its own is not "
                f"taken over: {site.overlays.unbelieved.get(name, 'it is not the newest of the fleet')}",
                where=name,
                holds="nothing was touched",
                next="see who laid it; lay a newer one: `tradeops flags disable`",
            )


def _refuse_older(site: Site, release: str, predicate: Release, facts: Mapping[str, Facts]) -> None:
    """A07: a replayed old release is not a deploy. What runs now may be started anew, whatever was staged since."""
    for name, fact in facts.items():
        running = here(fact)
        newest = site.releases.manifest(running).predicate.number if running else 0
        unseen = release not in fact.releases and predicate.number < fact.highest_number
        if predicate.number < newest or unseen:
            raise Refused(
                f"release {predicate.number} is older than {max(newest, fact.highest_number)}, which the host has",
                where=name,
                holds="nothing was touched",
                next="`tradeops rollback --to ID` goes back to a release that ran before",
            )


def _refuse_absent(site: Site, release: str, facts: Mapping[str, Facts]) -> None:
    absent = sorted(name for name, fact in facts.items() if release not in fact.releases)
    if absent:
        whole = ", ".join(short(other) for other in _could_go_back_to(site, facts))
        raise Refused(
            f"release {short(release)} is not whole on {len(absent)} hosts, so going back to it cannot be safe everywhere",
            where=", ".join(absent),
            holds="nothing was touched",
            next=(f"`tradeops rollback --to` one that is whole on every host: {whole}; or " if whole else "")
            + "build the old code again under a new number and deploy it",
        )


def _could_go_back_to(site: Site, facts: Mapping[str, Facts]) -> list[str]:
    """Releases that lie whole on every host, older than the newest that runs, and that may trade here; the newest first."""
    running = {old for fact in facts.values() if (old := here(fact))}
    whole = set.intersection(*({*fact.releases} for fact in facts.values()))
    known = _known(site, whole | running)
    now = max((known[release].number for release in running & known.keys()), default=0)
    older = [
        release for release in whole & known.keys() if known[release].number < now and not tombstones(known[release], site.flags_retired)
    ]
    return sorted(older, key=lambda release: known[release].number, reverse=True)


def _known(site: Site, releases: Iterable[str]) -> dict[str, Release]:
    """Those of them that are in the store here: a host may have others."""
    found = {}
    for release in releases:
        with suppress(UsageError):
            found[release] = site.releases.manifest(release).predicate
    return found


def _refuse_locked(facts: Mapping[str, Facts]) -> None:
    for name, fact in facts.items():
        if fact.lock is not None:
            raise lock_error(name, f"run {fact.lock.run} of {fact.lock.owner}: {fact.lock.reason}", fact.lock.expires_in_s)


def lock_error(host: str, who: str, expires_in_s: float) -> LockHeld:
    """Who holds a host, and until when."""
    return LockHeld(
        f"locked by {who}; the lease ends in {expires_in_s:.0f} s",
        where=host,
        holds="nothing was touched",
        next="wait for that run, or `tradeops runs list` and `tradeops runs abort RUN`",
    )
