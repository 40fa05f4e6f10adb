"""The way back where slots take turns: the slot that traded before is given the token again, which it stands by for, warm; where it
does not, it is started first, beside what trades. Hosts that were never cut over go on trading; only what stood by there is ended.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from tradeops.base.errors import TradeopsError
from tradeops.checks.drift import OWN_WORD
from tradeops.checks.finding import Finding, Verdict, confirm, open_findings
from tradeops.checks.proof import Expected
from tradeops.contracts.directive import CANCEL
from tradeops.contracts.status import Status
from tradeops.deploy import phases
from tradeops.deploy.attempt import attempt
from tradeops.deploy.conflict import conflicts
from tradeops.deploy.crew import Crew
from tradeops.deploy.cutover import PROVE
from tradeops.deploy.phases import CAME, GOES
from tradeops.deploy.places import lives
from tradeops.deploy.settle import settle, unproved
from tradeops.deploy.token import give_token, stand_down
from tradeops.deploy.traffic import divert
from tradeops.fleet.outcome import Done, Outcome, values


def cut_back(crew: Crew, condemned: Collection[str], left: dict[str, TradeopsError]) -> None:
    """Every host on its old slot again, and nothing left in the other. left: takes the hosts for which that could not be proved.

    A host trades until its old slot is seen to stand by, unless it is condemned: then nothing of it trades from here on. One whose
    old slot cannot take over stays stood down: no slot of it writes. What a release that was condemned anywhere has at work is adopted
    nowhere.
    """
    over = [name for name, state in crew.states.items() if state.switched]
    attempt({}, partial(divert, crew), over)
    attempt(left, partial(stand_down, crew), [name for name in over if name in condemned])
    refused = conflicts(crew, over)
    left.update(refused)
    attempt(left, partial(stand_down, crew), [name for name in refused if name not in condemned])
    _hand_back(crew, [name for name in over if name not in left], CANCEL if condemned else crew.plan.orders(), left)
    _empty(crew, [name for name, state in crew.states.items() if state.beside and name not in left], left)
    attempt(left, partial(phases.prove_back, crew), [name for name in crew.plan_hosts() if name not in left])


def _hand_back(crew: Crew, names: Sequence[str], orders: str, left: dict[str, TradeopsError]) -> None:
    """Each host's token to its old slot as soon as that is proved to stand by, whatever becomes of the others."""
    cold: dict[str, TradeopsError] = {}
    handed: set[str] = set()

    def poll(some: Sequence[str]) -> Mapping[str, Outcome[tuple[Finding, ...]]]:
        found = _ready(crew, some)
        warm = [name for name, findings in values(found).items() if not open_findings(findings)]
        handed.update(warm)
        attempt(left, partial(give_token, crew, slot=CAME, orders=orders), warm)
        return found

    def prove(some: Sequence[str]) -> None:
        waiting = [name for name in some if name not in handed]
        with crew.phase(PROVE, waiting):
            settle(crew, PROVE, waiting, poll, unproved, deadline_s=crew.playbook.deadlines.prove, hopeless=phases.is_gone)

    attempt(cold, prove, attempt(cold, partial(_warm, crew), names))
    attempt({}, partial(stand_down, crew), list(cold))
    left.update(cold)


def _ready(crew: Crew, names: Sequence[str]) -> dict[str, Outcome[tuple[Finding, ...]]]:
    """What the old slot lacks to take over: proved to stand by, and not halting itself, or its host would trade no more."""
    found = phases.prove_once(crew, names, expected=partial(_standby_before, crew), files=False)
    seen = values(phases.statuses(crew, names))
    return {
        name: Done((*outcome.value, *_fitness(crew, name, seen.get(name)))) if isinstance(outcome, Done) else outcome
        for name, outcome in found.items()
    }


def _fitness(crew: Crew, name: str, status: Status | None) -> tuple[Finding, ...]:
    """Of a slot that stands by; one that has the token already is asked when all are to trade."""
    if status is None:
        return (Finding(name, OWN_WORD, Verdict.UNKNOWN, "the guard did not answer"),)
    said = status.standby.own_halts() if status.standby and status.active != crew.plan.part(name).active else ()
    return (confirm(name, OWN_WORD, not said, "; ".join(said) or "not halted"),)


def _warm(crew: Crew, names: Sequence[str]) -> None:
    """The old slot has a process: the one that it had all the time, or one started from a release that is hashed first (D13)."""
    facts = crew.all("warm", names, crew.facts, deadline_s=crew.playbook.deadlines.verb)
    if cold := [name for name in names if not lives(facts[name], crew.plan.part(name).active)]:
        for old in sorted({crew.plan.part(name).old or "" for name in cold}):
            phases.whole(crew, [name for name in cold if crew.plan.part(name).old == old], old)
        phases.start(crew, cold, CAME)


def _standby_before(crew: Crew, name: str) -> Expected:
    return replace(crew.expected_before(name), standby=True)


def _empty(crew: Crew, names: Sequence[str], left: dict[str, TradeopsError]) -> None:
    """The release is gone from the slot beside, whose link leads again where it did."""
    stopped = attempt(left, partial(phases.end, crew, slot=GOES), names)
    for idle in sorted({crew.plan.part(name).idle or "" for name in stopped}):
        some = [name for name in stopped if (crew.plan.part(name).idle or "") == idle]
        attempt(left, partial(phases.switch, crew, release=idle or None), some)
    for name in stopped:
        crew.states[name].beside = False
