"""Is every host what it should be, and are all the same? Reads only; the odd host is told first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tradeops.base.digest import short
from tradeops.base.errors import ExitCode
from tradeops.checks.finding import Finding, Verdict, confirm, odd_first
from tradeops.checks.proof import Expected, prove_host
from tradeops.contracts.agent import AgentVerb, Facts, Proof, Running
from tradeops.contracts.codec import convert
from tradeops.contracts.identity import IdentityReport
from tradeops.contracts.status import Status
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Outcome, values
from tradeops.fleet.ports import Agents, FanOut

OWN_WORD = "trader does not halt itself"


@dataclass(frozen=True)
class Reading:
    """What a host's agent says of itself and of what runs there."""

    facts: Facts
    proof: Proof


@dataclass(frozen=True)
class FleetVerdict:
    """The findings of every host, the odd ones first.

    at_rest: hosts whose service is not ours and does not run: what a permit would let start is proved by the deploy that starts it.
    """

    findings: Mapping[str, tuple[Finding, ...]]
    at_rest: frozenset[str] = frozenset()

    def exit_code(self) -> ExitCode:
        """Unknown anywhere: 6. Else a no anywhere: 10. Else 0 (design: exit codes)."""
        verdicts = {finding.verdict for found in self.findings.values() for finding in found}
        if Verdict.UNKNOWN in verdicts:
            return ExitCode.MIXED
        return ExitCode.DRIFT if Verdict.NO in verdicts else ExitCode.PROVED


def read_hosts(
    hosts: Sequence[Host], agents: Agents, fan_out: FanOut, *, timeout_s: float, deadline_s: float | None = None
) -> dict[str, Outcome[Reading]]:
    """Ask every agent of the slot in force, over a session of its own. timeout_s: of each connect and of each answer.

    deadline_s: of everything that one host is asked [three answers].
    """

    def read(host: Host) -> Reading:
        session = agents.open(host, timeout_s=timeout_s)
        try:
            facts = convert(session.call(AgentVerb.FACTS, timeout_s=timeout_s), Facts)
            answer = session.call(AgentVerb.PROVE, timeout_s=timeout_s, slot=facts.active, release=None, rehash=True)
            return Reading(facts, convert(answer, Proof))
        finally:
            session.close()

    return fan_out.run(hosts, read, deadline_s=timeout_s * 3 if deadline_s is None else deadline_s)


def verify(
    hosts: Sequence[Host],
    expected: Mapping[str, Expected],
    readings: Mapping[str, Outcome[Reading]],
    reports: Mapping[str, Outcome[IdentityReport]],
    statuses: Mapping[str, Outcome[Status]],
) -> FleetVerdict:
    """Compare every host with what was asked for, where that is known, and with the others. Pure."""
    identities, seen = values(reports), values(statuses)
    common = _common_release(values(readings))
    findings = {
        host.name: (
            *_host_findings(host, expected.get(host.name), readings[host.name], identities.get(host.name), common),
            _own_halt(host.name, seen.get(host.name)),
        )
        for host in hosts
    }
    rest = frozenset(name for name, reading in values(readings).items() if _at_rest(reading))
    return FleetVerdict({name: findings[name] for name in odd_first(findings)}, rest)


def _at_rest(reading: Reading) -> bool:
    idle = all(running.pid is None for running in reading.facts.running)
    return reading.facts.identity == "url" and idle and reading.proof.process is None and not reading.proof.others


def _host_findings(
    host: Host, expected: Expected | None, outcome: Outcome[Reading], report: IdentityReport | None, common: str | None
) -> tuple[Finding, ...]:
    if not isinstance(outcome, Done):
        return (Finding(host.name, "agent answers", Verdict.UNKNOWN, outcome.error.what),)
    reading = outcome.value
    findings = [
        confirm(host.name, "is itself", reading.facts.host == host.name, f"says it is {reading.facts.host}"),
        _same_as_fleet(host.name, reading.proof, common),
    ]
    findings += [_standby(host.name, running) for running in reading.facts.running if _stands_by(running, reading.facts)]
    findings += [Finding(host.name, "host", Verdict.NO, problem) for problem in (*reading.facts.problems, *reading.proof.problems)]
    if expected is None:
        findings.append(Finding(host.name, "asked for", Verdict.UNKNOWN, "no finished run says what should run here"))
    else:
        findings += prove_host(host, expected, reading.proof, report)
    return tuple(findings)


def _own_halt(name: str, status: Status | None) -> Finding:
    """A trader that halts itself runs what was asked for, and trades nothing (D05)."""
    if status is None:
        return Finding(name, OWN_WORD, Verdict.UNKNOWN, "the guard did not answer")
    said = status.vitals.own_halts() if status.vitals else ()
    return confirm(name, OWN_WORD, not said, "; ".join(said) or "not halted")


def _stands_by(running: Running, facts: Facts) -> bool:
    return running.slot != facts.active and running.pid is not None


def _standby(name: str, running: Running) -> Finding:
    """A process in the slot that does not hold the token is declared by what that slot is linked to."""
    runs = short(running.release) if running.release else "no release"
    return confirm(name, "standby", running.release is not None and running.release == running.linked, f"slot {running.slot} runs {runs}")


def _same_as_fleet(name: str, proof: Proof, common: str | None) -> Finding:
    here = short(proof.linked) if proof.linked else "no release"
    return confirm(name, "same as the fleet", proof.linked == common, f"{here}; most hosts run {short(common) if common else 'none'}")


def _common_release(readings: Mapping[str, Reading]) -> str | None:
    counts = Counter(reading.proof.linked for reading in readings.values())
    return counts.most_common(1)[0][0] if counts else None
