"""Whom else a kill must reach: hosts that a newer roster, kept by the fleet's own hosts, names and this machine does not know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from tradeops.base.errors import TradeopsError
from tradeops.contracts.agent import AgentVerb
from tradeops.contracts.codec import convert
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.policy import Policy
from tradeops.contracts.roster import Roster
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Outcome, errors, values
from tradeops.fleet.ports import Agents, Controls, FanOut
from tradeops.fleet.roster import open_roster

KEEPERS_MAX = 3
"""How many of the hosts that keep a newer roster are asked for it: it is the same document everywhere."""


@dataclass(frozen=True)
class Muster:
    """policy: what a roster must be signed by.  number: of the newest roster here. None and 0: none that can be read."""

    policy: Policy | None
    number: int


def newest(
    muster: Muster, keepers: Sequence[Host], controls: Controls, agents: Agents, fan_out: FanOut, *, timeout_s: float
) -> tuple[Host, Roster]:
    """The newest roster that any keeper has, and which one; asked over HTTPS, then over SSH.

    Raises TradeopsError, saying of each keeper why not, when none is newer, whole, and signed as the policy says.
    """
    problems: list[str] = []
    for ask in (
        lambda: controls.rosters(keepers[:KEEPERS_MAX], deadline_s=timeout_s),
        lambda: _over_ssh(keepers, agents, fan_out, timeout_s),
    ):
        found = sorted(_verified(muster, keepers, ask, problems), key=lambda each: each[1].number)
        if found:
            return found[-1]
    raise TradeopsError("; ".join(dict.fromkeys(problems)))


def _verified(
    muster: Muster, keepers: Sequence[Host], ask: Callable[[], dict[str, Outcome[Envelope]]], problems: list[str]
) -> Iterator[tuple[Host, Roster]]:
    outcomes = ask()
    problems += [f"{name}: {error.what}" for name, error in errors(outcomes).items()]
    for name, envelope in values(outcomes).items():
        if muster.policy is None:
            problems.append(f"{name}: no roster can be believed without the policy")
            continue
        try:
            roster = open_roster(envelope, muster.policy)
        except TradeopsError as error:
            problems.append(f"{name}: {error}")
            continue
        if roster.number > muster.number:
            yield next(host for host in keepers if host.name == name), roster
        else:
            problems.append(f"{name}: keeps roster {roster.number} after all")


def _over_ssh(keepers: Sequence[Host], agents: Agents, fan_out: FanOut, timeout_s: float) -> dict[str, Outcome[Envelope]]:
    def read(host: Host) -> Envelope:
        session = agents.open(host, timeout_s=timeout_s)
        try:
            answer = session.call(AgentVerb.ROSTER, timeout_s=timeout_s, read=True)
        finally:
            session.close()
        try:
            return convert(answer.get("roster"), Envelope)
        except msgspec.ValidationError:
            raise TradeopsError("it keeps no roster", where=host.name) from None

    return fan_out.run(keepers[:KEEPERS_MAX], read, deadline_s=timeout_s * 2)
