"""A run and what stands before the service's port: hosts are drained there before they are switched, and given traffic again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

from tradeops.base.errors import PreflightFailed, TradeopsError
from tradeops.contracts.units import PPM
from tradeops.deploy.crew import Crew, PhaseFailed
from tradeops.deploy.plan import StepPlan
from tradeops.deploy.settle import settle
from tradeops.deploy.site import Site
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Failed, Outcome
from tradeops.fleet.ports import Traffic
from tradeops.fleet.share import Mode, Share

DIVERT, RETURN, WEIGH = "divert", "return", "weigh"


def see_proxies(site: Site) -> None:
    """Every proxy answers and knows every host. Raises PreflightFailed before anything is touched."""
    if site.traffic is None:
        return
    try:
        site.traffic.read([host.name for host in site.hosts])
    except TradeopsError as error:
        raise PreflightFailed(error.what, where=error.where, holds="nothing was touched on any host", next=error.next) from None


def divert(crew: Crew, wave: Sequence[str]) -> None:
    """No new connections to the wave, and the open ones waited for. Raises PhaseFailed."""
    traffic = crew.site.traffic
    if traffic is not None:
        _change(crew, DIVERT, wave, traffic.drain, _not_diverted)


def give_back(crew: Crew, wave: Sequence[str]) -> None:
    """Traffic again, which every proxy sends to a host that it finds up. A host in maintenance stays there. Raises PhaseFailed."""
    traffic = crew.site.traffic
    if traffic is not None and wave:
        _change(crew, RETURN, wave, traffic.ready, _not_given)


def share_out(crew: Crew, step: StepPlan) -> None:
    """The hosts of a step get the share of the traffic that its flow cap gives them, or all of theirs. Raises PhaseFailed."""
    weigh(crew, step.reached, percent_of(step, [state.host for state in crew.states.values()]))


def weigh(crew: Crew, wave: Sequence[str], percent: int) -> None:
    """The wave's weight, in percent of the configured one, in a run that caps the flow anywhere. Raises PhaseFailed."""
    traffic = crew.site.traffic
    if traffic is not None and wave and any(step.cap_ppm is not None for step in crew.plan.steps):
        _change(crew, WEIGH, wave, lambda hosts: traffic.weigh(hosts, percent), lambda _: "")


def percent_of(step: StepPlan, hosts: Sequence[Host]) -> int:
    """The weight, in percent and rounded down to no less than 1, with which a step's hosts take their capped share beside the others."""
    capped = sum(host.weight for host in hosts if host.name in step.reached)
    others = sum(host.weight for host in hosts) - capped
    if step.cap_ppm is None or not others:
        return 100
    share = Fraction(step.cap_ppm, PPM) * Fraction(capped, capped + others)
    return max(1, int(100 * share * others / ((1 - share) * capped)))


def _change(
    crew: Crew, phase: str, wave: Sequence[str], change: Callable[[Sequence[str]], None], open_point: Callable[[Share], str]
) -> None:
    with crew.phase(phase, wave):
        traffic = crew.site.traffic
        assert traffic is not None
        try:
            change(wave)
        except TradeopsError as error:
            raise PhaseFailed(phase, dict.fromkeys(wave, error)) from None

        def left(_: str, shares: Sequence[Share]) -> str:
            return "; ".join(f"{share.proxy}: {words}" for share in shares if (words := open_point(share)))

        settle(crew, phase, wave, lambda names: _shares(traffic, names), left, deadline_s=crew.playbook.deadlines.drain)


def _shares(traffic: Traffic, names: Sequence[str]) -> Mapping[str, Outcome[tuple[Share, ...]]]:
    try:
        shares = traffic.read(names)
    except TradeopsError as error:
        return dict.fromkeys(names, Failed(error))
    return {name: Done(tuple(share for share in shares if share.host == name)) for name in names}


def _not_diverted(share: Share) -> str:
    if share.mode is Mode.READY:
        return "takes new connections"
    return f"{share.sessions} connections open" if share.sessions else ""


def _not_given(share: Share) -> str:
    if share.mode is Mode.DRAIN:
        return "drained"
    return "" if share.up or share.mode is Mode.MAINT else "found down by its health check"
