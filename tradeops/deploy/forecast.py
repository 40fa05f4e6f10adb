"""Before a run: can each gate of the plan decide, and how long will that take at the current rate? Reads, changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import UsageError
from tradeops.contracts.units import PPM
from tradeops.deploy.judging import GATE, SHADOW, arms_of
from tradeops.deploy.plan import Plan
from tradeops.deploy.playbook import Playbook, Shadow
from tradeops.deploy.site import Site
from tradeops.fleet.host import Host
from tradeops.gates.estimate import Asked, Estimate, estimate, of_live
from tradeops.gates.past import Past
from tradeops.gates.spec import GateSpec

READINGS_MAX = 30
"""Of the fleet as it runs now; as soon as two rounds have closed it is enough. One that cannot be judged is waited out."""


def forecast(site: Site, plan: Plan, playbook: Playbook) -> tuple[tuple[str, Estimate], ...]:
    """Each gate's name, and what it is reckoned to take. Empty where nothing runs yet, or nothing is judged.

    Raises UsageError when a host does not export what a gate asks for, or a gate will not decide and its playbook does not
    say `undecided: hold`; PreflightFailed for hosts that cannot be read now.
    """
    running = {part.host: part.old for part in plan.hosts if part.old is not None}
    shadow = playbook.cutover.shadow if playbook.cutover else None
    specs = {SHADOW: of_live(shadow.gate)} if shadow else {}
    specs |= {GATE: playbook.gate} if playbook.gate else {}
    if not running or not specs:
        return ()
    pasts = _observe(site, playbook, specs, running)
    found = [("the standbys", _beside(specs[SHADOW], pasts[SHADOW], shadow))] if shadow else []
    if playbook.gate:
        found += _steps(site, plan, playbook.gate, pasts[GATE])
    return tuple(found)


def _observe(site: Site, playbook: Playbook, specs: Mapping[str, GateSpec], running: Mapping[str, str]) -> dict[str, Past]:
    """The fleet as it runs now, as each gate sees it."""
    hosts = [host for host in site.hosts if host.name in running]
    pasts = {name: Past(spec, running) for name, spec in specs.items()}
    sources = {name: site.source_for(spec) for name, spec in specs.items()}
    waiting = pasts
    for _ in range(READINGS_MAX):
        for name, past in waiting.items():
            past.feed(sources[name].read(hosts, deadline_s=playbook.deadlines.control), site.clock.monotonic_ns() / NS_PER_S)
        waiting = {name: past for name, past in waiting.items() if len(past.rounds) < 2 and not past.missing}
        if not waiting:
            break
        site.clock.sleep_s(max(spec.every for spec in specs.values()))
    return pasts


def _beside(spec: GateSpec, past: Past, shadow: Shadow) -> Estimate:
    """Of what there is nothing to read of yet: that what trades tells too little is no more than a gate that may be held."""
    try:
        return estimate(spec, past, Asked((), share=1.0, beside=0.0, bake_s=shadow.bake, exposure_min=shadow.decisions))
    except UsageError as error:
        if spec.undecided == "refuse":
            raise
        return Estimate(None, (), (error.what,))


def _steps(site: Site, plan: Plan, gate: GateSpec, past: Past) -> list[tuple[str, Estimate]]:
    found = []
    for number, step in enumerate(plan.steps):
        if step.bake_s:
            arms = arms_of(plan, number)
            share = _share(arms.canary, step.cap_ppm, site.hosts)
            beside = _share(arms.control, step.cap_ppm if arms.peers else None, site.hosts)
            asked = Asked(tuple(arms.canary), share=share, beside=beside, bake_s=step.bake_s, exposure_min=step.events)
            found.append((f"step {step.says}", estimate(gate, past, asked)))
    return found


def _share(names: Collection[str], cap_ppm: int | None, hosts: Sequence[Host]) -> float:
    """Of the fleet's exposure, by weight and cap."""
    whole = sum(host.weight for host in hosts)
    return sum(host.weight for host in hosts if host.name in names) / whole * (PPM if cap_ppm is None else cap_ppm) / PPM
