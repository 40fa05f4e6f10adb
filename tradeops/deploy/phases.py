"""The phases of a run that touch hosts, one function each: stage, drain, stop, switch, start, prove, smoke, resume, finish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter

from tradeops.base.errors import MixedFleet
from tradeops.checks.finding import Finding, Verdict
from tradeops.checks.proof import PROCESS, Expected, prove_host
from tradeops.checks.smoke import kills_on, smoke_host
from tradeops.contracts.agent import AgentVerb, Proof, Stopped
from tradeops.contracts.codec import convert
from tradeops.contracts.directive import DirectiveReply, Verb
from tradeops.contracts.status import MarkKind, Status
from tradeops.deploy.crew import Crew, KillArrived, PhaseFailed, as_envelope
from tradeops.deploy.leftout import strike_again
from tradeops.deploy.locks import confirm, lease, not_taken, renew
from tradeops.deploy.plan import HostPlan, binding_of
from tradeops.deploy.settle import settle, unproved
from tradeops.deploy.tighten import OVERLAY, hear, hear_guards
from tradeops.deploy.traffic import divert, give_back
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Outcome, errors, values

_STAGE_S = 900.0
SlotOf = Callable[[HostPlan], str]
"""Which slot of a host is meant."""
GOES: SlotOf = attrgetter("slot")
CAME: SlotOf = attrgetter("active")
BESIDE: SlotOf = attrgetter("beside")
END = "end-standby"


def stage(crew: Crew) -> None:
    """Bring the release, whole and verified by the host itself, to every host (A05). Nothing runs it yet."""
    names = crew.plan_hosts()
    with crew.phase("stage", names):
        crew.all("stage", names, lambda name: _stage_one(crew, name), deadline_s=_STAGE_S)


def _stage_one(crew: Crew, name: str) -> None:
    releases = crew.site.releases
    release = crew.plan.release
    state = crew.states[name]
    silence_s = crew.playbook.deadlines.silence
    announcement = releases.announcement(release)
    answer = state.session.stream(
        AgentVerb.MISSING, [announcement], len(announcement), run=crew.run, fence=state.fence, timeout_s=silence_s
    )
    missing: list[str] = answer["missing"]
    if missing:
        body, size = releases.parcel(release, missing)
        state.session.stream(AgentVerb.RECEIVE, body, size, run=crew.run, fence=state.fence, timeout_s=silence_s)
    crew.call(name, AgentVerb.ASSEMBLE, release=release)
    crew.call(name, AgentVerb.JOURNAL, append={"phase": "staged", "release": release})


def replace(crew: Crew, wave: Sequence[str], cap_ppm: int | None) -> None:
    """Put one wave on the release: drained, stopped, switched, started, proved, smoke-checked, trading again under a lease.

    A host that an earlier session of the run has proved there is not switched again. cap_ppm: what it takes of its flow.
    """
    watch(crew)
    if new := [name for name in wave if not crew.states[name].there]:
        divert(crew, new)
        if crew.kept:  # a halt or a hold would end it
            lease(crew, new, cap_ppm)
        else:
            drain(crew, new)
        stop(crew, new)
        switch(crew, new, crew.plan.release)
        start(crew, new)
        prove(crew, new, crew.expected)
    smoke(crew, wave)
    watch(crew)
    lease(crew, wave, cap_ppm)
    resume(crew, wave)
    give_back(crew, wave)


def watch(crew: Crew) -> None:
    """Raises KillArrived when a host that answers carries a kill that was not there before the run; takes a newer overlay over."""
    renew(crew)
    strike_again(crew)
    found = values(statuses(crew, crew.plan_hosts()))
    hear_guards(crew, found)
    fresh = {kill for name, status in found.items() for kill in kills_on(status) - crew.states[name].kills}
    if fresh:
        raise KillArrived(", ".join(sorted(fresh)))


def whole(crew: Crew, names: Sequence[str], release: str) -> None:
    """The release lies whole on these hosts, every byte hashed again: what they are taken back to (D13)."""
    with crew.phase("whole", names):
        crew.all("whole", names, lambda name: crew.call(name, AgentVerb.ASSEMBLE, release=release), deadline_s=_STAGE_S)


def drain(crew: Crew, wave: Sequence[str]) -> None:
    """Halt the wave and see no order working. A host on which nothing ever ran has nothing to drain."""
    with crew.phase("drain", wave):
        confirm(crew, wave)
        deadline_s = crew.playbook.deadlines.drain
        envelope = crew.directive(Verb.HALT, wave, f"{crew.plan.playbook} of {crew.plan.service} {crew.plan.number}")

        def poll(names: Sequence[str]) -> dict[str, Outcome[DirectiveReply]]:
            hosts = crew.hosts(names)
            return crew.site.controls.direct(hosts, envelope, deadline_s=crew.playbook.deadlines.control, wait_ms=500)

        def drained(name: str, reply: DirectiveReply) -> str:
            idle = crew.plan.part(name).old is None
            if reply.error:
                return reply.error
            if not reply.blocked:
                return "still able to send orders"
            return "" if idle or reply.clear else f"{_count(reply.working)} orders working"

        settle(crew, "drain", wave, poll, drained, deadline_s=deadline_s)


def stop(crew: Crew, wave: Sequence[str]) -> None:
    """Stop the service where the release goes and prove that no process of it is left there: what is started there is another."""
    _stop(crew, "stop", wave, partial(_stop_to_start, crew))


def end(crew: Crew, names: Sequence[str], slot: SlotOf) -> None:
    """The same in a slot in which nothing is started again."""
    _stop(crew, END, names, lambda name: _stop_one(crew, name, slot(crew.plan.part(name))))


def _stop(crew: Crew, phase: str, names: Sequence[str], stop_one: Callable[[str], None]) -> None:
    with crew.phase(phase, names):
        longest_s = max(_stop_s(crew, name) for name in names)
        crew.all(phase, names, stop_one, deadline_s=longest_s + crew.playbook.deadlines.stop)


def _stop_s(crew: Crew, name: str) -> float:
    """How long the process may take to end: what its own release asks for, or the playbook's time where that is longer."""
    old = crew.plan.part(name).old
    asked_s = crew.site.releases.manifest(old).predicate.start.stop_timeout_s if old else 0.0
    return max(asked_s, crew.playbook.deadlines.stop)


def _stop_to_start(crew: Crew, name: str) -> None:
    where = GOES(crew.plan.part(name))
    before = _proof(crew, name, where, rehash=False)
    crew.states[name].before |= {(process.pid, process.start_ticks) for process in (before.process, *before.others) if process}
    _stop_one(crew, name, where)


def _stop_one(crew: Crew, name: str, where: str) -> None:
    limit_s = _stop_s(crew, name)
    answer = crew.call(name, AgentVerb.STOP, timeout_s=limit_s + crew.playbook.deadlines.verb, slot=where, stop_timeout_s=limit_s)
    stopped = convert(answer, Stopped)
    if not stopped.stopped:
        pids = ", ".join(str(process.pid) for process in stopped.survivors)
        raise MixedFleet(f"the old process survives (pid {pids or 'unknown'}, unit {stopped.unit_state})", where=name)


def switch(crew: Crew, wave: Sequence[str], release: str | None) -> None:
    """Point the slot at `release` (None: at nothing), with the host's binding and the overlay in force."""
    with crew.phase("switch", wave):
        crew.all("switch", wave, lambda name: _switch_one(crew, name, release), deadline_s=crew.playbook.deadlines.verb * 2)


def _switch_one(crew: Crew, name: str, release: str | None) -> None:
    site = crew.site
    binding_of(site, name)
    part = crew.plan.part(name)
    crew.states[name].switched |= part.slot == part.active
    crew.call(
        name,
        AgentVerb.SWITCH,
        slot=part.slot,
        release=release,
        binding=as_envelope(site.bindings[name]),
        overlay=as_envelope(site.overlay) if site.overlay else None,
    )
    crew.call(name, AgentVerb.JOURNAL, append={"phase": "switched", "release": release})


def start(crew: Crew, wave: Sequence[str], slot: SlotOf = GOES) -> None:
    """Start the service in a slot. That it runs, and what, is for `prove` to say."""
    with crew.phase("start", wave):

        def start_one(name: str) -> None:
            crew.call(name, AgentVerb.START, slot=slot(crew.plan.part(name)))

        crew.all("start", wave, start_one, deadline_s=crew.playbook.deadlines.verb * 2)


def prove(crew: Crew, wave: Sequence[str], expected: Callable[[str], Expected]) -> None:
    """Read back what runs, from the host and from its guard, until both say what is expected (D01, D02).

    A process takes a while to come up: it is waited for first, and the release is re-hashed once, when it is there.
    """
    limit_s = crew.playbook.deadlines.prove
    with crew.phase("prove", wave):
        for files in (False, True):
            poll = partial(prove_once, crew, expected=expected, files=files)
            settle(crew, "prove", wave, poll, unproved, deadline_s=limit_s, hopeless=is_gone)
        for name in wave:
            proved = expected(name)
            crew.states[name].proved, crew.states[name].slot = proved.release, proved.slot


def prove_back(crew: Crew, names: Sequence[str]) -> None:
    """Prove what hosts ran before. Marks that no run set, and that came before this proof, say nothing against it: such a host is
    proved, halted. A kill is none of them: it ends the run.
    """
    for name, status in values(statuses(crew, names)).items():
        crew.states[name].marks |= {mark.id for mark in status.marks if mark.run is None and mark.kind is not MarkKind.KILL}
    prove(crew, names, crew.expected_before)


def prove_once(
    crew: Crew, names: Sequence[str], *, expected: Callable[[str], Expected], files: bool
) -> dict[str, Outcome[tuple[Finding, ...]]]:
    """What agents and guards say now, held against what is expected. files: every file re-hashed."""
    deadlines = crew.playbook.deadlines
    reports = values(crew.site.controls.identities(crew.hosts(names), deadline_s=deadlines.control))
    hear(crew, {name: report.identity.overlay for name, report in reports.items() if report.identity})
    unbelieved = crew.site.overlays.unbelieved

    def prove_one(host: Host) -> tuple[Finding, ...]:
        wanted = expected(host.name)
        odd = [Finding(host.name, OVERLAY, Verdict.NO, unbelieved[host.name])] if host.name in unbelieved else []
        return (*odd, *prove_host(host, wanted, _proof(crew, host.name, wanted.slot, rehash=files), reports.get(host.name), files=files))

    return crew.site.fan_out.run(crew.hosts(names), prove_one, deadline_s=deadlines.verb)


def is_gone(findings: Sequence[Finding]) -> bool:
    """A process that was started and is no more does not come up by waiting."""
    return any(finding.check == PROCESS and finding.verdict is Verdict.NO for finding in findings)


def _proof(crew: Crew, name: str, slot: str, *, rehash: bool) -> Proof:
    answer = crew.call(name, AgentVerb.PROVE, slot=slot, release=crew.plan.release, rehash=rehash)
    return convert(answer, Proof)


def smoke(crew: Crew, wave: Sequence[str]) -> None:
    """Ask each guard whether its host is fit to trade."""
    with crew.phase("smoke", wave):
        limit_s = crew.playbook.deadlines.control

        def poll(names: Sequence[str]) -> dict[str, Outcome[tuple[Finding, ...]]]:
            hosts = crew.hosts(names)
            healths = values(crew.site.controls.healths(hosts, deadline_s=limit_s))
            found = values(statuses(crew, names))
            return {name: Done(smoke_host(name, healths.get(name), found.get(name))) for name in names}

        settle(crew, "smoke", wave, poll, unproved, deadline_s=crew.playbook.deadlines.prove)


def resume(crew: Crew, wave: Sequence[str]) -> None:
    """End the halts that this run set, and see the hosts that have no other mark trade again."""
    with crew.phase("resume", wave):
        confirm(crew, wave)
        found = statuses(crew, wave)
        if failures := errors(found):
            raise PhaseFailed("resume", failures)
        own = {name: own_halts(crew, status) for name, status in values(found).items()}
        halted = [name for name in wave if own[name]]
        if halted:
            _lift(crew, halted, tuple(sorted({halt for name in halted for halt in own[name]})))
        running = [name for name in wave if crew.states[name].proved]
        poll, resumed, barred = partial(statuses, crew), partial(_resumed, crew), partial(_barred, crew)
        settle(crew, "resume", running, poll, resumed, deadline_s=crew.playbook.deadlines.prove, hopeless=barred)
        for name, status in values(statuses(crew, wave)).items():
            crew.states[name].trading = status.trading


def _lift(crew: Crew, halted: Sequence[str], halts: tuple[str, ...]) -> None:
    envelope = crew.directive(Verb.RESUME, halted, "proved and smoke-checked", ends=halts)
    replies = crew.site.controls.direct(crew.hosts(halted), envelope, deadline_s=crew.playbook.deadlines.control)
    if failures := not_taken(replies):
        raise PhaseFailed("resume", failures)


def _resumed(crew: Crew, name: str, status: Status) -> str:
    """A host trades again, or bears a mark that it bore before the run, or before the proof of what it is taken back to. A mark that
    came since is a failure of what runs there.
    """
    if status.trading:
        return ""
    fresh = [mark for mark in status.marks if mark.id not in crew.states[name].marks]
    if fresh:
        return "; ".join(f"{mark.kind} by {mark.by}: {mark.reason}" for mark in fresh)
    own = status.vitals.own_halts() if status.vitals else ()
    return "" if status.marks else "; ".join(own) or "no mark, and yet it does not trade"


def _barred(crew: Crew, status: Status) -> bool:
    """A halt that another set is not the run's to end, and does not end by waiting."""
    known = crew.states[status.host].marks
    return any(mark.kind is MarkKind.HALT and mark.run != crew.run and mark.id not in known for mark in status.marks)


def finish(crew: Crew, names: Sequence[str]) -> None:
    """Leave the audit chain's head with hosts (A02), drop old releases. What comes last is the proof, not this."""
    chain, seq, head = crew.site.ledger.head()

    def finish_one(name: str) -> None:
        crew.call(name, AgentVerb.WITNESS, chain=chain, seq=seq, head=head)
        crew.call(name, AgentVerb.PRUNE, keep=crew.playbook.keep)
        crew.call(name, AgentVerb.JOURNAL, append={"phase": "finished", "release": crew.plan.release})

    with crew.phase("finish", names):
        crew.all("finish", names, finish_one, deadline_s=crew.playbook.deadlines.verb * 3)


def own_halts(crew: Crew, status: Status) -> tuple[str, ...]:
    """Ids of the halts that this run set on a host."""
    return tuple(mark.id for mark in status.marks if mark.kind is MarkKind.HALT and mark.run == crew.run)


def statuses(crew: Crew, names: Sequence[str]) -> dict[str, Outcome[Status]]:
    """What each guard says."""
    return crew.site.controls.statuses(crew.hosts(names), deadline_s=crew.playbook.deadlines.control)


def _count(working: int | None) -> str:
    return "an unknown number of" if working is None else str(working)
