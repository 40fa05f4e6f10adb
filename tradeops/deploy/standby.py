"""What stands by beside the slot that trades, and is ended when nothing needs it any more."""

from __future__ import annotations

from functools import partial

from tradeops.base.errors import TradeopsError
from tradeops.deploy import phases
from tradeops.deploy.attempt import attempt
from tradeops.deploy.crew import Crew
from tradeops.deploy.phases import BESIDE


def end_standbys(crew: Crew) -> dict[str, TradeopsError]:
    """Nothing lives beside the slot that trades, whichever run left it there. Returns the hosts where that did not come true, and why:
    it is told, and no reason to take back what trades. Raises KillArrived, Ousted.
    """
    left: dict[str, TradeopsError] = {}
    names = [name for name in crew.plan_hosts() if crew.states[name].beside]
    attempt(left, partial(phases.end, crew, slot=BESIDE), names)
    return left
