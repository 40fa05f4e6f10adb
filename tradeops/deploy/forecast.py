"""Before a run: can each gate of the plan decide, and how long will that take at the current rate? Reads, changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tradeops.base.clock import NS_PER_S
from tradeops.contracts.units import PPM
from tradeops.deploy.judging import arms_of, spec_of
from tradeops.deploy.plan import Plan
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.site import Site
from tradeops.fleet.host import Host
from tradeops.gates.estimate import Estimate, estimate
from tradeops.gates.past import Past

READINGS_MAX = 30
"""Of the fleet as it runs now; as soon as two rounds have closed it is enough."""


def forecast(site: Site, plan: Plan, playbook: Playbook) -> tuple[tuple[str, Estimate], ...]:
    """What each gated step says, and what its gate is reckoned to take. Empty where nothing runs yet, or nothing is judged.

    Raises UsageError when a host does not export what a gate asks for, or a gate will not decide and its playbook does not
    say `undecided: hold`.
    """
    running = {part.host: part.old for part in plan.hosts if part.old is not None}
    if playbook.gate is None or not running:
        return ()
    hosts = [host for host in site.hosts if host.name in running]
    past = Past(playbook.gate, running)
    source = site.source_for(playbook.gate)
    for _ in range(READINGS_MAX):
        past.feed(source.read(hosts, deadline_s=playbook.deadlines.control), site.clock.monotonic_ns() / NS_PER_S)
        if len(past.rounds) >= 2 or past.problems:
            break
        site.clock.sleep_s(playbook.gate.every)
    found = []
    for number, step in enumerate(plan.steps):
        if step.bake_s:
            arms = arms_of(plan, number)
            share = _share(arms.canary, step.cap_ppm, site.hosts)
            beside = _share(arms.control, step.cap_ppm if arms.peers else None, site.hosts)
            found.append((step.says, estimate(spec_of(playbook.gate, step), past, share=share, beside=beside, bake_s=step.bake_s)))
    return tuple(found)


def _share(names: Collection[str], cap_ppm: int | None, hosts: Sequence[Host]) -> float:
    """Of the fleet's exposure, by weight and cap."""
    whole = sum(host.weight for host in hosts)
    return sum(host.weight for host in hosts if host.name in names) / whole * (PPM if cap_ppm is None else cap_ppm) / PPM
