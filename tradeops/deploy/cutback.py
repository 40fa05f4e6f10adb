"""The way back where slots take turns: the slot that traded before is given the token again, which it stands by for, warm; where it
does not, it is started first. Hosts that were never cut over go on trading; only what stood by there is ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from tradeops.base.errors import TradeopsError
from tradeops.checks.finding import open_findings
from tradeops.checks.proof import Expected
from tradeops.deploy import phases
from tradeops.deploy.attempt import attempt
from tradeops.deploy.conflict import conflict
from tradeops.deploy.crew import Crew
from tradeops.deploy.cutover import PROVE
from tradeops.deploy.phases import CAME, GOES
from tradeops.deploy.places import in_slot
from tradeops.deploy.settle import settle, words
from tradeops.deploy.token import give_token, stand_down
from tradeops.deploy.traffic import divert


def cut_back(crew: Crew, left: dict[str, TradeopsError]) -> None:
    """Every host on its old slot again, and nothing left in the other. left: takes the hosts for which that could not be proved.

    A host whose old slot cannot take over stays stood down: no slot of it writes.
    """
    over = [name for name, state in crew.states.items() if state.switched]
    attempt({}, partial(divert, crew), over)
    down = attempt(left, partial(stand_down, crew), over)
    refused = {name: clash for name in down if (clash := conflict(crew, name))}
    left.update(refused)
    warm = attempt(left, partial(_warm, crew), [name for name in down if name not in refused])
    attempt(left, lambda names: give_token(crew, names, CAME), warm)
    _empty(crew, [name for name, state in crew.states.items() if state.beside and name not in left], left)
    attempt(left, lambda names: phases.prove(crew, names, crew.expected_before), [name for name in crew.plan_hosts() if name not in left])


def _warm(crew: Crew, names: Sequence[str]) -> None:
    """The old slot stands by: as it did all the time, or started again from a release that is hashed first (D13)."""
    lives = crew.all("warm", names, lambda name: _lives(crew, name), deadline_s=crew.playbook.deadlines.verb)
    if cold := [name for name in names if not lives[name]]:
        for old in sorted({crew.plan.part(name).old or "" for name in cold}):
            phases.whole(crew, [name for name in cold if crew.plan.part(name).old == old], old)
        phases.start(crew, cold, CAME)
    with crew.phase(PROVE, names):
        poll = partial(phases.prove_once, crew, expected=_standby_before(crew), files=False)
        point = lambda _, found: words(open_findings(found))  # noqa: E731 as short as what it says
        settle(crew, PROVE, names, poll, point, deadline_s=crew.playbook.deadlines.prove, hopeless=phases.is_gone)


def _standby_before(crew: Crew) -> Callable[[str], Expected]:
    return lambda name: replace(crew.expected_before(name), standby=True)


def _lives(crew: Crew, name: str) -> bool:
    """Whether the slot that traded before has a process. Raises TradeopsError."""
    came = in_slot(crew.facts(name), crew.plan.part(name).active)
    return came is not None and came.pid is not None


def _empty(crew: Crew, names: Sequence[str], left: dict[str, TradeopsError]) -> None:
    """The release is gone from the slot beside, whose link leads again where it did."""
    stopped = attempt(left, partial(phases.end, crew, slot=GOES), names)
    for idle in sorted({crew.plan.part(name).idle or "" for name in stopped}):
        some = [name for name in stopped if (crew.plan.part(name).idle or "") == idle]
        attempt(left, partial(phases.switch, crew, release=idle or None), some)
    for name in stopped:
        crew.states[name].beside = False
