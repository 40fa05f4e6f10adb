"""Halt, resume, permit: signed, recorded before they are sent, and read back from every host. Kill has its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tradeops.base.errors import KillIncomplete, MixedFleet, Refused, TradeopsError
from tradeops.checks.drift import FleetVerdict
from tradeops.contracts.directive import Directive, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.status import Status
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Outcome
from tradeops.fleet.ports import Controls
from tradeops.record.audit import Log, paired
from tradeops.safety.permit import refusals, require_proved

WAIT_MS = 2000
"""How long a guard may wait for its gate to acknowledge before it answers."""
START_WAIT_MS = 8000
"""How long it may wait for a trader or venue that is on its way, or for positions to be compared, before it refuses to let trading
start.
"""


@dataclass(frozen=True)
class Desk:
    """Where directives go out from. log: what only stops is recorded when it can be.  deadline_s: of one request to all hosts."""

    controls: Controls
    log: Log
    deadline_s: float


@dataclass(frozen=True)
class Taken:
    """What became of a directive. problems: hosts that did not take it.  statuses: read back afterwards."""

    directive: Directive
    problems: Mapping[str, TradeopsError]
    statuses: Mapping[str, Outcome[Status]]

    def trading(self) -> tuple[str, ...]:
        """Hosts read back as trading."""
        return tuple(name for name, outcome in self.statuses.items() if isinstance(outcome, Done) and outcome.value.trading)

    def permitted(self) -> tuple[str, ...]:
        """Hosts read back with a permit and without a mark."""
        answered = [(name, outcome.value) for name, outcome in self.statuses.items() if isinstance(outcome, Done)]
        return tuple(name for name, status in answered if status.permit and not status.marks)

    def not_trading(self) -> tuple[str, ...]:
        """Hosts read back as not trading, or not heard of."""
        return tuple(name for name in self.statuses if name not in self.trading())


def order(desk: Desk, hosts: Sequence[Host], directive: Directive, envelope: Envelope, *, verdict: FleetVerdict | None = None) -> Taken:
    """Record, send, and read back a halt, resume, or permit.

    verdict: with a permit, that every host is proved (K07). Raises Refused when it is not; NotRecorded when the desk's log
    cannot be written and is not an urgent one (A03): then nothing was sent. Hosts that did not take it are in the answer, not raised.
    """
    if directive.verb is Verb.PERMIT:
        if verdict is None:
            raise Refused("no proof of the fleet was made", holds="no permit was sent", next="`tradeops verify`")
        require_proved(verdict)
    names = [host.name for host in hosts]
    detail = {"id": directive.id, "reason": directive.reason, "ends": list(directive.ends), "scope": directive.scope}
    with paired(desk.log, directive.verb.value, hosts=names, detail=detail) as pair:
        wait_ms = START_WAIT_MS if directive.verb in (Verb.PERMIT, Verb.RESUME) else WAIT_MS
        replies = desk.controls.direct(hosts, envelope, deadline_s=desk.deadline_s + wait_ms / 1000, wait_ms=wait_ms)
        whole_halt = directive.verb is Verb.HALT and directive.scope.everything()
        problems = refusals(replies, names, blocked=whole_halt)
        pair.result = "done" if not problems else "incomplete"
        pair.detail |= {"problems": {name: error.what for name, error in problems.items()}}
    return Taken(directive, problems, desk.controls.statuses(hosts, deadline_s=desk.deadline_s))


def require_taken(taken: Taken, declared: int) -> None:
    """Raises MixedFleet, KillIncomplete (a halt) or Refused (nobody took it) naming each host that did not take it."""
    if not taken.problems:
        return
    words = "\n".join(f"{name}: {error.what}" for name, error in taken.problems.items())
    verb, missing = taken.directive.verb.value, len(taken.problems)
    where = ", ".join(taken.problems)
    if taken.directive.verb is Verb.HALT:
        raise KillIncomplete(
            f"{missing} of {declared} hosts did not confirm the halt\n{words}",
            where=where,
            holds="the others are halted",
            next=f'`tradeops kill-switch --reason "..." --host {next(iter(taken.problems))}`: it has further roads',
        )
    if missing == declared and all(isinstance(error, Refused) for error in taken.problems.values()):
        raise Refused(f"no host took the {verb}\n{words}", where=where, holds="every host stays as it was", next=_advice(taken))
    raise MixedFleet(
        f"{missing} of {declared} hosts did not take the {verb}\n{words}",
        where=where,
        holds="the others took it",
        next=_advice(taken) or "`tradeops status`, then give the same command again",
    )


def _advice(taken: Taken) -> str | None:
    return next((error.next for error in taken.problems.values() if error.next), None)
