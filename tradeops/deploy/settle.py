"""Waiting in a run: ask hosts again until nothing is left to say against any of them, or the time is up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import TradeopsError
from tradeops.checks.finding import Finding, open_findings
from tradeops.deploy.crew import Crew, PhaseFailed
from tradeops.deploy.leftout import strike_again
from tradeops.deploy.locks import renew
from tradeops.fleet.outcome import Done, Outcome

_POLL_S, _POLL_MAX_S = 0.1, 1.0
_PATIENCE = 0.1
"""Of the time waited so far: what takes long is asked for less often, and is still noticed soon after it came."""


def settle(
    crew: Crew,
    phase: str,
    wave: Sequence[str],
    poll: Callable[[Sequence[str]], Mapping[str, Outcome[object]]],
    open_point: Callable[..., str],
    *,
    deadline_s: float,
    hopeless: Callable[..., bool] = lambda _value: False,
) -> None:
    """Poll the hosts until `open_point` has nothing left to say of any.

    Raises PhaseFailed with what is left at the deadline; or, as soon as a value is `hopeless`, with those hosts alone: for the
    others nothing is said yet, and whoever brings hosts back goes on waiting for them.
    """
    clock = crew.site.clock
    began_ns = clock.monotonic_ns()
    until_ns = began_ns + int(deadline_s * NS_PER_S)
    pending = list(wave)
    while True:
        renew(crew)
        strike_again(crew)
        outcomes = poll(pending)
        failures = _left(outcomes, open_point)
        for name in pending:
            crew.tell(phase, name, "started" if name in failures else "done", failures[name].what if name in failures else "")
        pending = [name for name in pending if name in failures]
        if not pending:
            return
        crew.raise_stops(failures)
        lost = {name: failures[name] for name in pending if isinstance(seen := outcomes[name], Done) and hopeless(seen.value)}
        if lost:
            raise PhaseFailed(phase, lost)
        if clock.monotonic_ns() >= until_ns:
            raise PhaseFailed(phase, failures)
        waited_s = (clock.monotonic_ns() - began_ns) / NS_PER_S
        clock.sleep_s(min(_POLL_MAX_S, max(_POLL_S, waited_s * _PATIENCE)))


def _left(outcomes: Mapping[str, Outcome[object]], open_point: Callable[..., str]) -> dict[str, TradeopsError]:
    failures: dict[str, TradeopsError] = {}
    for name, outcome in outcomes.items():
        if not isinstance(outcome, Done):
            failures[name] = outcome.error
        elif words := open_point(name, outcome.value):
            failures[name] = TradeopsError(words, where=name)
    return failures


def unproved(_host: str, findings: Sequence[Finding]) -> str:
    """What a proof leaves open of a host, for `settle`."""
    return words(open_findings(findings))


def words(findings: Sequence[Finding]) -> str:
    """The first few findings, for a person."""
    return "; ".join(f"{finding.check}: {finding.detail}" for finding in findings[:4])
