"""Turning a flag on (D06, D07): only where the whole fleet is proved to know it by the same meaning, in steps that bake, and
never past a step in which nothing went down the flag's path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tradeops.base.digest import short
from tradeops.base.errors import FlagConflict, Refused, TradeopsError
from tradeops.checks.finding import open_findings
from tradeops.checks.proof import Expected
from tradeops.contracts.agent import Facts
from tradeops.contracts.flags import active_flags
from tradeops.contracts.manifest import Release
from tradeops.contracts.metrics import flag_hits
from tradeops.contracts.status import Status
from tradeops.deploy import phases
from tradeops.deploy.crew import Crew, PhaseFailed
from tradeops.deploy.judging import Undecided
from tradeops.deploy.places import here
from tradeops.deploy.plan import Plan, StepPlan
from tradeops.deploy.site import Site
from tradeops.fleet.outcome import errors, values

PARITY = "parity"
EXERCISE = "exercise"


def going_on(site: Site, release: str, facts: Mapping[str, Facts]) -> tuple[str, ...]:
    """The flags that `release` turns on and that are not in force on every host that runs something now.

    Raises Refused unless, where there are any, every host runs one release that knows each by the same meaning; for a
    release that ends an overlay which is yet to come, or gives a flag another meaning than what runs now (D05).
    """
    predicate = site.releases.manifest(release).predicate
    _refuse_ahead(site, predicate)
    running = {name: old for name, fact in facts.items() if (old := here(fact)) is not None}
    if not running:
        return ()
    _refuse_reuse(site, predicate, running)
    wanted = active_flags(predicate.flags, site.flags_off)
    going = {flag for old in set(running.values()) for flag in _missing(site, old, wanted)}
    if going:
        _require_parity(site, facts, running, {flag: wanted[flag] for flag in sorted(going)})
        _require_told(predicate, sorted(going))
    return tuple(sorted(going))


def refuse_untried(plan: Plan) -> None:
    """A flag goes on in steps that bake, whose first is a canary, and on every host (D07). Raises Refused for a plan without."""
    if plan.turns_on and plan.excluded:
        raise Refused(
            f"{', '.join(plan.turns_on)} would go on while {', '.join(plan.excluded)} is excluded: nobody knows what it would mean there",
            holds="nothing was touched; the flag is off",
            next="bring every host to the release that knows the flag first",
        )
    if plan.turns_on and not (plan.steps[0].bake_s and len(plan.steps) > 1):
        raise Refused(
            f"{', '.join(plan.turns_on)} would go on under playbook {plan.playbook!r}, whose first step is no canary that bakes",
            holds="nothing was touched",
            next="`tradeops flags activate`, or --playbook activate-flag",
        )


def refuse_going_on(site: Site, release: str, facts: Mapping[str, Facts]) -> None:
    """Raises FlagConflict naming every host on which going back to `release` would turn a flag on: past canary, parity and exercise."""
    wanted = active_flags(site.releases.manifest(release).predicate.flags, site.flags_off)
    going = {name: gone for name, fact in facts.items() if (old := here(fact)) and (gone := sorted(_missing(site, old, wanted)))}
    if going:
        flags = sorted({flag for gone in going.values() for flag in gone})
        raise FlagConflict(
            f"going back would turn {', '.join(flags)} on, which is off there now, without a canary\n"
            + "\n".join(f"{name}: {', '.join(gone)} would go on" for name, gone in going.items()),
            where=", ".join(going),
            holds="nothing was touched; the flag is off",
            next=f"{_disabled(flags)} and roll back: it then stays off; or deploy forward: a new release that leaves it off",
        )


def _disabled(flags: Sequence[str]) -> str:
    return ", ".join(f'`tradeops flags disable {flag} --reason "..."`' for flag in flags)


def require_parity(crew: Crew) -> None:
    """Every host again proved to be what it should be, right before more of them get a flag. Raises PhaseFailed, KillArrived."""
    if not crew.plan.turns_on:
        return
    names = crew.plan_hosts()

    with crew.phase(PARITY, names):

        def wanted(name: str) -> Expected:
            return crew.expected(name) if crew.states[name].switched else crew.expected_before(name)

        outcomes = phases.prove_once(crew, names, expected=wanted, files=True)
        failures = errors(outcomes)
        for name, findings in values(outcomes).items():
            if said := "; ".join(f"{finding.check}: {finding.detail}" for finding in open_findings(findings)[:4]):
                failures[name] = TradeopsError(f"no flag goes on while this host is not proved: {said}", where=name)
        _tell(crew, PARITY, names, failures)


def require_exercised(crew: Crew, step: StepPlan) -> None:
    """Something went down the path of each flag on the hosts that have it: else nothing is known of it.

    Raises Undecided, PhaseFailed (somebody turned one off in the meantime), KillArrived.
    """
    if not crew.plan.turns_on:
        return
    with crew.phase(EXERCISE, step.reached):
        found = values(phases.statuses(crew, step.reached))
        off = {name: gone for name, status in found.items() if (gone := _not_in_force(status, crew.plan.turns_on))}
        _tell(crew, EXERCISE, step.reached, {name: TradeopsError(f"{gone} is off here", where=name) for name, gone in off.items()})
        if idle := unexercised(found, crew.plan.turns_on):
            raise Undecided([f"nothing went down the path of {', '.join(idle)}"], step.reached)


def _tell(crew: Crew, phase: str, names: Sequence[str], failures: Mapping[str, TradeopsError]) -> None:
    """Say of each host how it stands, then raise PhaseFailed if there is one that does not."""
    for name in names:
        crew.tell(phase, name, "failed" if name in failures else "done", failures[name].what if name in failures else "")
    if failures:
        raise PhaseFailed(phase, failures)


def _not_in_force(status: Status, flags: Sequence[str]) -> str:
    return ", ".join(flag for flag in flags if status.vitals and flag not in status.vitals.identity.flags)


def unexercised(statuses: Mapping[str, Status], flags: Sequence[str]) -> tuple[str, ...]:
    """The flags whose path no host has gone down since its process started. No data is no hit."""
    counters = [status.vitals.counters for status in statuses.values() if status.vitals]
    return tuple(flag for flag in flags if not any(counts.get(flag_hits(flag), 0) > 0 for counts in counters))


def _refuse_reuse(site: Site, predicate: Release, running: Mapping[str, str]) -> None:
    """Whatever a ledger says: on or off, an id that hosts know by another meaning is not used again."""
    meanings = {flag.id: flag.meaning for flag in predicate.flags}
    found = {
        name: sorted(flag.id for flag in site.releases.manifest(old).predicate.flags if meanings.get(flag.id, flag.meaning) != flag.meaning)
        for name, old in running.items()
    }
    reused = {name: ids for name, ids in found.items() if ids}
    if reused:
        raise Refused(
            f"the release gives {', '.join(sorted({flag for ids in reused.values() for flag in ids}))} another meaning than what runs now",
            where=", ".join(sorted(reused)),
            holds="nothing was touched",
            next="a new meaning takes a new id: `tradeops flags declare`",
        )


def _missing(site: Site, old: str, wanted: Mapping[str, str]) -> set[str]:
    """Wanted flags that are not in force, by the same meaning, under what runs now."""
    active = active_flags(site.releases.manifest(old).predicate.flags, site.flags_off)
    return {flag for flag, meaning in wanted.items() if active.get(flag) != meaning}


def _require_parity(site: Site, facts: Mapping[str, Facts], running: Mapping[str, str], going: Mapping[str, str]) -> None:
    problems = {name: "runs nothing" for name in facts if name not in running}
    common = max(running.values(), key=list(running.values()).count)
    problems |= {name: f"runs {short(old)}, most run {short(common)}" for name, old in running.items() if old != common}
    known = {flag.id: flag.meaning for flag in site.releases.manifest(common).predicate.flags}
    for flag, meaning in going.items():
        if known.get(flag) != meaning:
            knows = "means something else by it" if flag in known else "does not know it"
            problems |= {name: f"runs {short(common)}, which {knows}" for name in running if name not in problems}
    if problems:
        raise Refused(
            f"{', '.join(going)} would go on, and the fleet is not on one release that knows it\n"
            + "\n".join(f"{name}: {said}" for name, said in sorted(problems.items())),
            where=", ".join(sorted(problems)),
            holds="nothing was touched; the flag is off",
            next="deploy the code to every host with the flag off, then `tradeops flags activate`",
        )


def _require_told(predicate: Release, going: Sequence[str]) -> None:
    if predicate.start.identity != "vitals":
        raise Refused(
            f"{', '.join(going)} would go on in a service that does not tell how often its path is gone down",
            holds="nothing was touched",
            next="leave the flag out of service.yml and canary the change as a release of its own",
        )


def _refuse_ahead(site: Site, predicate: Release) -> None:
    ahead = [f"{flag.id} ends overlay {flag.ends}" for flag in predicate.flags if flag.ends > site.overlay_number]
    if ahead:
        raise Refused(
            f"{', '.join(ahead)}, and {site.overlay_number} is the newest here: a release ends no overlay that is yet to come",
            holds="nothing was touched",
            next="get the newer overlays, or write the right number into service.yml",
        )
