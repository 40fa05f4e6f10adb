"""Take the whole fleet back to a release that it ran before: the rollback guard first (D13), then an ordinary run.

It passes no gate, so it is no way in: the target was proved on the fleet and stands in no quarantine, and it turns no flag on (D06).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tradeops.base.digest import short
from tradeops.base.errors import FlagConflict, Refused, UsageError
from tradeops.contracts.agent import Facts, Proof
from tradeops.deploy.activation import refuse_going_on
from tradeops.deploy.asked import settled_runs, warm_run
from tradeops.deploy.ending import Ending
from tradeops.deploy.journal import Damaged, Journal
from tradeops.deploy.leftout import LeaveOut, put_out, without
from tradeops.deploy.places import here, lives
from tradeops.deploy.plan import Plan, make_plan
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.preflight import close_all, judge, open_all, refuse_held, refuse_tombstones, survey
from tradeops.deploy.run import carry_out
from tradeops.deploy.site import Site
from tradeops.deploy.takeup import abort
from tradeops.deploy.wayback import clashes, damage, hashed_there
from tradeops.fleet.outcome import errors, values
from tradeops.fleet.ports import AgentSession


def rollback(site: Site, release: str, playbook: Playbook, *, leave_out: LeaveOut | None = None) -> Ending:
    """Halt, drain, switch, prove every host on `release`; exit 0 when proved. Where it still stands by in the slots that the newest
    run took over from, they take over again, in no time: that run is aborted. leave_out: as in a deploy, and always in place.

    Needs no approval, whatever the policy wants of a deploy: one person takes back what two let in.

    Raises FlagConflict while a live flag means something else to `release`, or one would go on; Refused when it is not whole on every
    host, carries a retired flag, was never proved on the fleet or is in quarantine; PreflightFailed; LockHeld, also while a run is held:
    its abort ends the hold. Nothing is touched then.
    """
    refuse_held(site, back=True)
    playbook = playbook.model_copy(update={"blackout": ()})  # going back is never held up
    site = without(site, leave_out.hosts) if leave_out else site
    sessions = open_all(site, playbook)
    try:
        seen = survey(site, sessions, playbook)
        facts, warm = seen.facts, None if leave_out else _warm(site, release)
        if warm is None:
            _refuse_unproved(site, release)
            judge(site, release, playbook, seen, back=True)
        else:
            refuse_tombstones(site, release)
            _refuse_cold(site, warm.plan(), playbook, sessions, facts)
        refuse_conflicts(site, release, facts)
        if warm is not None:
            close_all(sessions)
            return abort(site, warm)
        refuse_going_on(site, release, facts)
        drawn = msgspec.structs.replace(make_plan(site, release, playbook, facts), approvals=0)
        if leave_out:
            put_out(site, leave_out.reason)
    except BaseException:
        close_all(sessions)
        raise
    return carry_out(site, drawn, playbook, sessions, facts)


def release_before(site: Site) -> str:
    """The release that the whole fleet ran before the one in force: one for all hosts, and an older one, so that a second
    rollback does not go forward again. Raises UsageError when there is none, LockHeld while a run is held.
    """
    refuse_held(site)
    if warm := warm_run(site.runs):
        return warm.plan().hosts[0].old or ""
    history = (set(proved.values()) for _, proved in settled_runs(site.runs) if proved)
    now = max((site.releases.manifest(release).predicate.number for release in next(history, ())), default=0)
    for ran in history:
        if len(ran) == 1 and site.releases.manifest(next(iter(ran))).predicate.number < now:
            return next(iter(ran))
    raise UsageError("no earlier release ran on the whole fleet", next="name one: `tradeops rollback --to ID`")


def _refuse_unproved(site: Site, release: str) -> None:
    """A canary that failed was staged everywhere too: what lies on every host has not therefore run there."""
    site.quarantine.refuse(release)
    if not any(set(proved.values()) == {release} for _, proved in settled_runs(site.runs, back=True)):
        raise Refused(
            "no run has proved this release on the whole fleet: that is no way back",
            where=short(release),
            holds="nothing was touched",
            next=f"`tradeops runs list` tells what ran; a new release goes through its gates: `tradeops deploy {short(release)}`",
        )


def _warm(site: Site, release: str) -> Journal | None:
    """The run to abort. Of one whose journal is damaged nothing is known: the hosts are taken back as from a run that has ended."""
    try:
        return warm_run(site.runs, release)
    except Damaged:
        return None


def _refuse_cold(site: Site, plan: Plan, playbook: Playbook, sessions: Mapping[str, AgentSession], facts: Mapping[str, Facts]) -> None:
    """Raises Refused where a slot that was taken over from would have to be started again and what it leads to is not whole."""
    slots = {part.host: part.active for part in plan.hosts if part.host in facts and not lives(facts[part.host], part.active)}
    proofs = hashed_there(site, sessions, playbook, slots)
    broken = {name: error.what for name, error in errors(proofs).items()}
    broken |= {name: said for name, proof in values(proofs).items() if (said := _unsound(proof, plan.part(name).old))}
    if broken:
        raise Refused(
            f"the slot to go back to has died on {len(broken)} hosts, and could not be started\n"
            + "\n".join(f"{name}: {said}" for name, said in broken.items()),
            where=", ".join(broken),
            holds="nothing was touched",
            next="`tradeops runs abort RUN` takes back the others, and leaves these stood down",
        )


def _unsound(proof: Proof, old: str | None) -> str:
    if proof.linked != old:
        return "its link leads elsewhere"
    return f"its release is {words}" if (words := damage(proof)) else ""


def refuse_conflicts(site: Site, release: str, facts: Mapping[str, Facts]) -> None:
    """Raises FlagConflict naming every host whose live flags `release` would read differently."""
    found = {name: "; ".join(words) for name, fact in facts.items() if (now := here(fact)) and (words := clashes(site, now, release))}
    if found:
        raise FlagConflict(
            f"{len(found)} hosts run what the target would take for something else\n"
            + "\n".join(f"{name}: {words}" for name, words in found.items()),
            where=", ".join(found),
            holds="nothing was touched; the fleet stays as it is",
            next="`tradeops halt --all`, `tradeops flags disable` what is named, then roll back",
        )
