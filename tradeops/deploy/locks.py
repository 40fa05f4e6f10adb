"""Who holds the hosts: the lock that agents keep, and the lease without whose renewal a host that has not passed is held.

Both are the run's alone, under the fence that the lock gave: whoever takes the run up again gets a higher one, and what the
earlier session still asks for is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import LockHeld, TradeopsError
from tradeops.contracts.agent import AgentVerb, Code, Lock
from tradeops.contracts.codec import convert
from tradeops.contracts.directive import DirectiveReply, Verb
from tradeops.contracts.envelope import Purpose
from tradeops.deploy.crew import Crew, PhaseFailed, as_envelope
from tradeops.fleet.outcome import Outcome, errors, values

LEASE, LET_GO = "lease", "let-go"
_REASON = "not passed yet"


def lock(crew: Crew, *, takeover: bool = False) -> None:
    """Take the lock of every host, in one order. Raises PhaseFailed with LockHeld for each that another run holds, or has had since
    this one looked at it: its plan is of a fleet that is no more.
    """
    names = crew.plan_hosts()
    with crew.phase("lock", names):
        crew.all("lock", names, lambda name: _lock_one(crew, name, takeover), deadline_s=crew.playbook.deadlines.verb * 2)
        moved = [name for name, state in crew.states.items() if state.fence != state.session.hello.fence + 1]
        if moved and not takeover:
            said = "another run had this host, or a kill was latched, after it was looked at"
            raise PhaseFailed("lock", {name: LockHeld(said, where=name) for name in moved})


def _lock_one(crew: Crew, name: str, takeover: bool) -> None:
    state = crew.states[name]
    nonce = state.session.hello.nonce
    answer = state.session.call(
        AgentVerb.LOCK,
        run=crew.run,
        timeout_s=crew.playbook.deadlines.verb,
        owner=crew.site.person,
        reason=f"{crew.plan.playbook} of {crew.plan.service} {crew.plan.number}",
        ttl_s=crew.playbook.lease,
        delegation=as_envelope(crew.delegation),
        proof=crew.key.sign(nonce.encode(), Purpose.SESSION),
        takeover=takeover,
    )
    state.fence = convert(answer, Lock).fence
    _note_held(crew, name)


def unlock(crew: Crew) -> None:
    """Give back every lock that is held. A host that does not answer gives it back when its time is over."""
    held = [name for name, state in crew.states.items() if state.fence is not None]
    if held:
        crew.each("unlock", held, lambda name: crew.call(name, AgentVerb.UNLOCK), deadline_s=crew.playbook.deadlines.verb)


def regain(crew: Crew) -> None:
    """Hold again every host whose session broke or whose lock was lost: by a reboot, or while the operator's machine stood still.

    A host that cannot be held again is found by its next verb. Raises KillArrived, Ousted.
    """
    names = crew.plan_hosts()
    with crew.phase("regain", names):
        crew.each("regain", names, lambda name: _regain_one(crew, name), deadline_s=crew.playbook.deadlines.verb * 3)


def _regain_one(crew: Crew, name: str) -> None:
    state = crew.states[name]
    try:
        facts = crew.facts(name)
    except TradeopsError:
        state.session.close()
        state.session = crew.site.agents.open(state.host, timeout_s=crew.playbook.deadlines.connect)
        facts, lost = crew.facts(name), True
    else:
        lost = facts.lock is None
    if facts.fence != state.fence:
        raise crew.fenced_by(name, facts)
    if lost:
        _lock_one(crew, name, takeover=True)


def lease(crew: Crew, names: Sequence[str], cap_ppm: int | None) -> None:
    """Let hosts that have not passed trade while the run is heard of, on `cap_ppm` of their flow (None: all of it).

    Ends a hold that this run's earlier session left. Raises PhaseFailed, KillArrived, Ousted.
    """
    with crew.phase(LEASE, names):
        for name in names:
            crew.states[name].leased, crew.states[name].cap_ppm = True, cap_ppm
        _require(crew, LEASE, crew.direct(Verb.LEASE, names, _REASON, args=lease_args(crew.playbook.lease, cap_ppm)))


def let_go(crew: Crew, names: Sequence[str]) -> None:
    """Hosts that depend on the run no longer: lease and cap end. Raises PhaseFailed, KillArrived, Ousted."""
    leased = [name for name in names if crew.states[name].leased]
    if not leased:
        return
    with crew.phase(LET_GO, leased):
        _require(crew, LET_GO, crew.direct(Verb.LEASE, leased, _REASON, args={"lease_s": 0}))
        for name in leased:
            crew.states[name].leased, crew.states[name].cap_ppm = False, None


def hold(crew: Crew, names: Sequence[str], reason: str) -> None:
    """These hosts take no new risk until the run is taken up again, or a person resumes them. Raises as `lease`."""
    with crew.phase("hold", names):
        confirm(crew, names)
        _require(crew, "hold", crew.direct(Verb.HOLD, names, reason, wait_ms=500))


def renew(crew: Crew) -> None:
    """Renew the locks and leases of which a third is gone. A host that does not answer is found by its next verb."""
    clock = crew.site.clock
    third_ns = int(crew.playbook.lease * NS_PER_S / 3)
    due = [name for name, state in crew.states.items() if state.fence is not None and clock.monotonic_ns() - state.locked_ns > third_ns]
    if not due:
        return
    renewed = crew.site.fan_out.run(crew.hosts(due), lambda host: _renew_one(crew, host.name), deadline_s=crew.playbook.deadlines.verb)
    failures = errors(renewed)
    crew.raise_stops(failures)
    for name in failures:
        crew.states[name].lapsed = failures[name].code == Code.LOCKED
    leased = [name for name in due if crew.states[name].leased]
    for cap_ppm in {crew.states[name].cap_ppm for name in leased}:
        capped = [name for name in leased if crew.states[name].cap_ppm == cap_ppm]
        crew.direct(Verb.LEASE, capped, _REASON, args=lease_args(crew.playbook.lease, cap_ppm))


def _renew_one(crew: Crew, name: str) -> None:
    crew.call(name, AgentVerb.RENEW, ttl_s=crew.playbook.lease)
    _note_held(crew, name)


def _note_held(crew: Crew, name: str) -> None:
    crew.states[name].locked_ns, crew.states[name].lapsed = crew.site.clock.monotonic_ns(), False


def confirm(crew: Crew, names: Sequence[str]) -> None:
    """Nobody else has these hosts: asked of agents before guards are told to halt, hold or resume, for which they ask no fence.

    An agent that does not answer does not keep its host from being halted. Raises KillArrived, Ousted.
    """
    outcomes = crew.site.fan_out.run(crew.hosts(names), lambda host: _renew_one(crew, host.name), deadline_s=crew.playbook.deadlines.verb)
    crew.raise_stops(errors(outcomes))


def lease_args(lease_s: float, cap_ppm: int | None) -> dict[str, int]:
    """What a lease says besides its fence."""
    return {"lease_s": math.ceil(lease_s)} | ({} if cap_ppm is None else {"flow_cap_ppm": cap_ppm})


def _require(crew: Crew, phase: str, replies: Mapping[str, Outcome[DirectiveReply]]) -> None:
    if failures := not_taken(replies):
        crew.raise_stops(failures)
        raise PhaseFailed(phase, failures)


def not_taken(replies: Mapping[str, Outcome[DirectiveReply]]) -> dict[str, TradeopsError]:
    """Hosts whose guard did not take a directive, and why."""
    failures = errors(replies)
    for name, reply in values(replies).items():
        if not reply.accepted:
            failures[name] = TradeopsError(reply.error or "the guard did not take it", where=name, next=reply.next or None)
            failures[name].code = reply.code
    return failures
