"""Starting again: a permit names the kills it ends, after every host is proved, and bears two people's signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tradeops.base.errors import MixedFleet, Refused, TradeopsError
from tradeops.checks.drift import FleetVerdict
from tradeops.checks.finding import open_findings
from tradeops.contracts.directive import DirectiveReply
from tradeops.contracts.status import MarkKind, Status
from tradeops.fleet.outcome import Done, Outcome, errors, values


def kills_to_end(statuses: Mapping[str, Outcome[Status]]) -> tuple[str, ...]:
    """Ids of every kill that stands on the hosts. Raises MixedFleet when a host does not answer: its kills are not known."""
    if failures := errors(statuses):
        raise MixedFleet(
            "the kills that stand there are not known: " + "; ".join(f"{name}: {error.what}" for name, error in failures.items()),
            where=", ".join(failures),
            holds="no permit was written; nothing trades that did not before",
            next="bring the hosts back, or permit the others by name",
        )
    found = values(statuses).values()
    return tuple(sorted({mark.id for status in found for mark in status.marks if mark.kind is MarkKind.KILL}))


def halts_to_end(statuses: Mapping[str, Outcome[Status]]) -> tuple[str, ...]:
    """Ids of every halt and hold on the hosts that answer."""
    kinds = (MarkKind.HALT, MarkKind.HOLD)
    return tuple(sorted({mark.id for status in values(statuses).values() for mark in status.marks if mark.kind in kinds}))


def require_proved(verdict: FleetVerdict) -> None:
    """No permit for a host that is not proved to run what was asked for (K07), or nothing at all. Raises Refused naming each."""
    bad = {name: left for name, found in verdict.findings.items() if (left := open_findings(found)) and name not in verdict.at_rest}
    if bad:
        words = "\n".join(f"{name}: {finding.check}: {finding.detail}" for name, found in bad.items() for finding in found[:3])
        raise Refused(
            f"{len(bad)} hosts are not proved\n{words}",
            where=", ".join(bad),
            holds="no permit was written; no host trades that did not before",
            next="`tradeops verify`, mend or deploy, then ask for the permit again",
        )


def refusals(replies: Mapping[str, Outcome[DirectiveReply]], hosts: Sequence[str], *, blocked: bool = False) -> dict[str, TradeopsError]:
    """Hosts that did not take a directive, and why. blocked: taking it means that no order can leave any more."""
    failures = dict(errors(replies))
    for name in hosts:
        outcome = replies.get(name)
        if isinstance(outcome, Done) and not outcome.value.accepted:
            failures[name] = Refused(outcome.value.error or "the guard did not take it", where=name, next=outcome.value.next or None)
        elif isinstance(outcome, Done) and blocked and not outcome.value.blocked:
            failures[name] = TradeopsError("it took the halt, and its trader has not stopped sending yet", where=name)
    return failures
