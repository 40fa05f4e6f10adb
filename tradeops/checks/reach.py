"""Can every host be worked with? Login, agent, guard, room on the disk, clock; and how to mend what is not so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.checks.finding import Verdict
from tradeops.contracts.agent import AgentVerb, Facts
from tradeops.contracts.codec import convert
from tradeops.contracts.status import Status
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Outcome
from tradeops.fleet.ports import Agents, Controls, FanOut

DISK_FREE_BYTES_MIN = 512_000_000
CLOCK_OFFSET_NS_MAX = 2 * NS_PER_S


@dataclass(frozen=True)
class Advice:
    """One thing that was looked at. where: a host, or `here`.  fix: what to do when it is not as it should be."""

    where: str
    check: str
    verdict: Verdict
    detail: str
    fix: str = ""


@dataclass(frozen=True)
class Heard:
    """What an agent said, and this machine's clock half way through its answer."""

    facts: Facts
    wall_ns: int


def reach(hosts: Sequence[Host], agents: Agents, controls: Controls, fan_out: FanOut, clock: Clock, *, timeout_s: float) -> list[Advice]:
    """Everything about every host. timeout_s: of each connect and of each answer."""

    def ask(host: Host) -> Heard:
        session = agents.open(host, timeout_s=timeout_s)
        try:
            before_ns = clock.wall_ns()
            facts = convert(session.call(AgentVerb.FACTS, timeout_s=timeout_s), Facts)
            return Heard(facts, (before_ns + clock.wall_ns()) // 2)
        finally:
            session.close()

    heard = fan_out.run(hosts, ask, deadline_s=timeout_s * 2)
    statuses = controls.statuses(hosts, deadline_s=timeout_s)
    return [advice for host in hosts for advice in _host(host.name, heard, statuses)]


def _host(name: str, heard: Mapping[str, Outcome[Heard]], statuses: Mapping[str, Outcome[Status]]) -> list[Advice]:
    answer, status = heard[name], statuses[name]
    found = _agent(name, answer.value) if isinstance(answer, Done) else [_silent(name, "agent", answer.error.what, answer.error.next)]
    if isinstance(status, Done):
        found.append(_judge(name, "guard", not status.value.problems, "; ".join(status.value.problems) or "answers", "`tradeops status`"))
    else:
        found.append(_silent(name, "guard", status.error.what, status.error.next))
    return found


def _silent(name: str, check: str, what: str, fix: str | None) -> Advice:
    return Advice(
        name, check, Verdict.NO, what, fix or f"`tradeops docs host-unreachable`; a new host: `tradeops fleet enroll --host {name}`"
    )


def _agent(name: str, heard: Heard) -> list[Advice]:
    facts = heard.facts
    offset_ns = facts.wall_ns - heard.wall_ns
    free = facts.disk_free_bytes
    return [
        _judge(name, "agent", facts.host == name, f"answers as {facts.host}", "the address leads to another host: correct the fleet file"),
        _judge(name, "disk", free >= DISK_FREE_BYTES_MIN, f"{free // 10**6:,} MB free", f"free {DISK_FREE_BYTES_MIN // 10**6} MB"),
        _judge(
            name, "writable", facts.writable, "its folders take files" if facts.writable else "they take no file", "remount it for writing"
        ),
        _judge(name, "clock", abs(offset_ns) <= CLOCK_OFFSET_NS_MAX, f"{offset_ns / NS_PER_S:+.3f} s from here", "mend its time service"),
        _judge(name, "host", not facts.problems, "; ".join(facts.problems) or "no problem told", f"`tradeops fleet enroll --host {name}`"),
    ]


def _judge(name: str, check: str, holds: bool, detail: str, fix: str) -> Advice:
    return Advice(name, check, Verdict.YES if holds else Verdict.NO, detail, "" if holds else fix)
