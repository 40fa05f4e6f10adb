"""A run that stops in between and is left to a person: held without a verdict, or halted after one."""

from __future__ import annotations

from tradeops.base.errors import TradeopsError
from tradeops.contracts.directive import Verb
from tradeops.deploy import ending, phases
from tradeops.deploy.attempt import attempt
from tradeops.deploy.crew import Crew
from tradeops.deploy.ending import Ending
from tradeops.deploy.judging import Undecided
from tradeops.deploy.locks import confirm, hold, lease_args, not_taken, unlock


def wait(crew: Crew, why: Undecided) -> Ending | None:
    """Leave the hosts that have not passed as the playbook says: held, or trading for a while under a lease that then ends.

    None where it wants them taken back. Raises KillArrived, Ousted.
    """
    after = crew.playbook.on_inconclusive
    open_hosts = [name for name in crew.plan_hosts() if crew.states[name].open]
    problems: dict[str, TradeopsError] = {}
    if after.then == "back":
        return None
    if not any(state.switched for state in crew.states.values()):
        unlock(crew)
        return ending.held(crew, why, "no host was cut over; the release stands by", {})
    if after.then == "hold":
        attempt(problems, lambda names: hold(crew, names, f"no verdict: {why.why[0]}"[:500]), open_hosts)
        state = "held: takes no new risk"
    else:
        confirm(crew, open_hosts)
        problems |= _lend(crew, open_hosts, after.trade_on)
        state = f"trades on for {after.trade_on / 60:g} min, then its guard holds it"
    unlock(crew)
    return ending.held(crew, why, state, problems)


def _lend(crew: Crew, names: list[str], seconds: float) -> dict[str, TradeopsError]:
    """A lease that nobody renews: the signed, finite leave to trade on."""
    failures: dict[str, TradeopsError] = {}
    for cap_ppm in {crew.states[name].cap_ppm for name in names}:
        capped = [name for name in names if crew.states[name].cap_ppm == cap_ppm]
        failures |= not_taken(crew.direct(Verb.LEASE, capped, "no verdict yet", args=lease_args(seconds, cap_ppm)))
    return failures


def stay_halted(crew: Crew) -> dict[str, TradeopsError]:
    """The new release's hosts halted, no order working, and left there for a person, as the playbook says; the others proved on
    what they ran before. Returns those that are not.
    """
    switched = [name for name, state in crew.states.items() if state.switched]
    left: dict[str, TradeopsError] = {}
    attempt(left, lambda names: phases.drain(crew, names), switched)
    said = "halted on the new release, as the playbook says"
    left = {name: left.get(name) or TradeopsError(said, where=name) for name in switched}
    others = [name for name in crew.plan_hosts() if name not in left and crew.plan.part(name).old]
    attempt(left, lambda names: phases.prove(crew, names, crew.expected_before), others)
    return left
