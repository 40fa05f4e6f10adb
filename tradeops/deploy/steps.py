"""The steps of a plan: waves switched, flow raised, time and events waited for, and what has passed let go."""

from __future__ import annotations

from collections.abc import Sequence

from tradeops.base.clock import utc
from tradeops.contracts.units import PPM
from tradeops.deploy import activation, cutover, phases
from tradeops.deploy.blackout import blacked_out
from tradeops.deploy.crew import Crew
from tradeops.deploy.judging import judge
from tradeops.deploy.locks import lease, let_go
from tradeops.deploy.past import note_passed
from tradeops.deploy.plan import StepPlan
from tradeops.deploy.traffic import share_out
from tradeops.deploy.watching import BAKE, refuse_odd

_POLL_S = 5.0


def advance(crew: Crew, passed: int) -> None:
    """Every step of the plan; those that passed in an earlier session are not baked again, and what is whole on the release there
    depends on the run no longer. Raises PhaseFailed, KillArrived, Ousted.
    """
    put = cutover.take_over if crew.plan.cutover else phases.replace
    free = _free(crew, passed)
    let_go(crew, free)
    before: tuple[str, ...] = ()
    for number, step in enumerate(crew.plan.steps):
        if number < passed and set(step.reached) <= set(free):
            before = step.reached
            continue
        if number >= passed:
            _wait_out(crew)
        if _tighter(crew, before, step.cap_ppm):
            _cap(crew, before, step.cap_ppm)
        share_out(crew, step)
        for wave in step.waves:
            if wave:
                activation.require_parity(crew)
            if new := [name for name in crew.plan.wave(wave) if name not in free]:
                put(crew, new, step.cap_ppm)
        _cap(crew, step.reached, step.cap_ppm)
        if number >= passed:
            _pass(crew, number, step)
            activation.require_exercised(crew, step)
            note_passed(crew, number)
        if step.cap_ppm is None:
            let_go(crew, step.reached)
        before = step.reached


def _free(crew: Crew, passed: int) -> list[str]:
    """Hosts that are on the release, and that a step has reached which passed with all of their flow."""
    reached = {name for step in crew.plan.steps[:passed] if step.cap_ppm is None for name in step.reached}
    return [name for name in crew.plan_hosts() if name in reached and crew.states[name].there]


def _wait_out(crew: Crew) -> None:
    """No step begins inside a blackout window: the run waits for its end, and watches."""
    windows, clock = crew.playbook.blackout, crew.site.clock
    while (until_ns := blacked_out(windows, clock.wall_ns())) is not None:
        for name in crew.plan_hosts():
            crew.tell("blackout", name, "started", f"until {utc(until_ns)} UTC")
        clock.sleep_s(_POLL_S)
        phases.watch(crew)


def _tighter(crew: Crew, names: Sequence[str], cap_ppm: int | None) -> bool:
    return any((PPM if cap_ppm is None else cap_ppm) < (crew.states[name].cap_ppm or PPM) for name in names)


def _cap(crew: Crew, names: Sequence[str], cap_ppm: int | None) -> None:
    """What hosts that have not passed take of their flow."""
    other = [name for name in names if crew.states[name].leased and crew.states[name].cap_ppm != cap_ppm]
    if other:
        lease(crew, other, cap_ppm)


def _pass(crew: Crew, number: int, step: StepPlan) -> None:
    """Under the gate, where there is one; else under the smoke checks."""
    gate = crew.playbook.gate
    if gate is not None and step.bake_s:
        judge(crew, number, gate)
    else:
        bake(crew, step)


def bake(crew: Crew, step: StepPlan) -> None:
    """Let the release run for the step's time, then check its hosts once more. Raises PhaseFailed, KillArrived, Ousted."""
    if not step.bake_s:
        return
    with crew.phase(BAKE, step.reached):
        left_s = step.bake_s
        while left_s > 0:
            part_s = min(left_s, _POLL_S)
            crew.site.clock.sleep_s(part_s)
            left_s -= part_s
            phases.watch(crew)
            refuse_odd(crew, step.reached)
    phases.smoke(crew, step.reached)
