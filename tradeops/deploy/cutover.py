"""Two slots taking turns (O09): the release stands by beside the slot that trades, is tried there, is given the token wave by wave;
then the slot that it took over from stays warm for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import TradeopsError
from tradeops.checks.smoke import smoke_standby
from tradeops.contracts.status import Status
from tradeops.deploy import phases
from tradeops.deploy.crew import Crew, PhaseFailed
from tradeops.deploy.journal import WARM
from tradeops.deploy.judging import SHADOW, Trial, decide
from tradeops.deploy.locks import lease, regain
from tradeops.deploy.past import Past, note_shadowed
from tradeops.deploy.phases import GOES
from tradeops.deploy.playbook import Shadow
from tradeops.deploy.settle import settle, unproved
from tradeops.deploy.token import give_token
from tradeops.deploy.traffic import divert, give_back
from tradeops.deploy.watching import refuse_odd
from tradeops.fleet.outcome import values
from tradeops.gates.arms import Arms

PROVE, SMOKE = "prove-standby", "smoke-standby"
_POLL_S = 5.0


def begin(crew: Crew, past: Past) -> None:
    """Every host's release beside the slot that trades, proved and fit there, and tried against it. Nothing trades otherwise yet.

    Raises PhaseFailed, judging.Undecided, KillArrived, Ousted.
    """
    cutover = crew.playbook.cutover
    if cutover is None:
        return
    for number in range(crew.plan.waves()):
        if wave := [name for name in crew.plan.wave(number) if not crew.states[name].switched]:
            _stand_up(crew, wave)
    if not past.shadowed:
        _try(crew, cutover.shadow)
        note_shadowed(crew)


def _stand_up(crew: Crew, wave: Sequence[str]) -> None:
    phases.watch(crew)
    if new := [name for name in wave if not crew.states[name].standing]:
        for name in new:
            crew.states[name].beside = True
        phases.stop(crew, new)
        phases.switch(crew, new, crew.plan.release)
        phases.start(crew, new)
    prove_standby(crew, wave)
    with crew.phase(SMOKE, wave):
        fit = partial(_fitness, crew)
        settle(crew, SMOKE, wave, lambda names: phases.statuses(crew, names), fit, deadline_s=crew.playbook.deadlines.prove)


def prove_standby(crew: Crew, wave: Sequence[str]) -> None:
    """Read back what stands by, from the host and from its guard, until both say what is expected (D01, D02)."""
    with crew.phase(PROVE, wave):
        for files in (False, True):
            poll = partial(phases.prove_once, crew, expected=crew.expected_beside, files=files)
            settle(crew, PROVE, wave, poll, unproved, deadline_s=crew.playbook.deadlines.prove, hopeless=phases.is_gone)


def _fitness(crew: Crew, name: str, status: Status) -> str:
    return unproved(name, smoke_standby(name, status, crew.plan.part(name).slot))


def _try(crew: Crew, shadow: Shadow) -> None:
    """Under the gate of standbys: what they decide, held against what the slot that trades has done. No decisions are no pass."""
    names = crew.plan_hosts()
    arms = Arms(dict.fromkeys(names, crew.plan.release))
    look = partial(_refuse_fallen, crew, names)
    decide(crew, Trial(SHADOW, SHADOW, shadow.gate, arms, shadow.bake, shadow.decisions, look))


def _refuse_fallen(crew: Crew, names: Sequence[str]) -> tuple[()]:
    """Raises PhaseFailed when a standby is gone or another than the run's."""
    fallen = {}
    for name, status in values(phases.statuses(crew, names)).items():
        identity = status.standby.identity if status.standby else None
        if identity is None or identity.release != crew.plan.release:
            fallen[name] = TradeopsError(f"no standby of the release lives in slot {crew.plan.part(name).slot}", where=name)
    if fallen:
        raise PhaseFailed(SHADOW, fallen)
    return ()


def take_over(crew: Crew, wave: Sequence[str], cap_ppm: int | None) -> None:
    """Give the token of one wave to the release, which stands by there: proved, smoke-checked, trading under a lease.

    What `phases.replace` is where a release is replaced in its place.
    """
    phases.watch(crew)
    if new := [name for name in wave if not crew.states[name].there]:
        divert(crew, new)
        lease(crew, new, cap_ppm)
        for name in new:
            crew.states[name].switched = True
        give_token(crew, new, GOES, crew.plan.orders())
        phases.prove(crew, new, crew.expected)
    phases.smoke(crew, wave)
    phases.watch(crew)
    lease(crew, wave, cap_ppm)
    phases.resume(crew, wave)
    give_back(crew, wave)


def stay_warm(crew: Crew, past: Past) -> None:
    """Keep the slots that were taken over from ready for their time, which goes on while nobody is there.

    Hosts trade without the run now, so a lock that lapsed is taken again; what is wrong with what trades takes them back at once.
    Raises PhaseFailed, KillArrived, Ousted.
    """
    if crew.plan.cutover is None:
        return
    names, clock = crew.plan_hosts(), crew.site.clock
    began_ns = clock.wall_ns() if past.warm_ns is None else past.warm_ns
    with crew.phase(WARM, names):
        until_ns = clock.monotonic_ns() + began_ns - clock.wall_ns() + int(crew.plan.cutover.warm_s * NS_PER_S)
        while (left_s := (until_ns - clock.monotonic_ns()) / NS_PER_S) > 0:
            _tell_warm(crew, names, f"another {left_s / 60:.0f} min")
            clock.sleep_s(min(left_s, _POLL_S))
            phases.watch(crew)
            if any(state.lapsed for state in crew.states.values()):
                regain(crew)
            refuse_odd(crew, names)
    regain(crew)


def _tell_warm(crew: Crew, names: Sequence[str], left: str) -> None:
    """Whether the old slot of each host is ready to take over again. Where it is not, a way back begins by starting it."""
    for name, status in values(phases.statuses(crew, names)).items():
        state, slot = crew.states[name], crew.plan.part(name).active
        gone = status.standby is None or status.standby.identity.slot != slot
        state.cold |= gone
        crew.tell(WARM, name, "started", f"{left}; nothing stands by in slot {slot}" if gone else left)
