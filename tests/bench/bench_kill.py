"""The kill over a thousand guards: real TLS, real signatures, a socket each, the kill's own code, two cores."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from tests.bench.guards import ManyGuards, many_guards, memory_folder
from tests.bench.rounds import tell, timed
from tradeops.base.clock import SystemClock
from tradeops.base.errors import OutcomeUnknown
from tradeops.contracts.agent import Hello
from tradeops.contracts.directive import ALL_HOSTS, Verb
from tradeops.fleet.control import HttpControls
from tradeops.fleet.fanout import ThreadFanOut
from tradeops.fleet.host import Host
from tradeops.fleet.ports import AgentSession
from tradeops.safety.directives import read
from tradeops.safety.kill import KillReport, Roads, kill

COUNT = 1000
ROUNDS = 3


class NoSsh:
    """The second road is closed: what is measured is the first."""

    hello: Hello

    def open(self, host: Host, *, timeout_s: float) -> AgentSession:
        """Nobody is there."""
        raise OutcomeUnknown("no SSH in this measurement", where=host.name)


def _hosts(fleet: ManyGuards) -> list[Host]:
    root = PurePosixPath("/opt/tradeops")
    return [Host(name, "127.0.0.1", 22, "tradeops", "", port, "python3", root, "systemd") for name, port in fleet.ports.items()]


def _kill(fleet: ManyGuards) -> KillReport:
    clock = SystemClock()
    envelope = fleet.people.say(Verb.KILL, hosts=(ALL_HOSTS,))
    roads = Roads(HttpControls(fleet.tls.folder, clock), NoSsh(), ThreadFanOut(clock), clock)
    hosts = _hosts(fleet)
    # Clear is the drop copy's word, and these guards have no venue: the deadline ends the wait for it.
    return kill(roads, hosts, envelope, read(envelope, source="bench").id, deadline_s=20.0, told=lambda _: None)


def main() -> None:
    """Print the figures."""
    seconds = []
    for _ in range(ROUNDS):
        with TemporaryDirectory(dir=memory_folder()) as folder, many_guards(Path(folder), COUNT) as fleet:
            reports: list[KillReport] = []
            timed(lambda fleet=fleet, reports=reports: reports.append(_kill(fleet)))  # type: ignore[misc]  # the defaults bind this round's
            blocked = [host.blocked_ms for host in reports[0].hosts if host.blocked_ms is not None]
            sys.stdout.write(f"{len(blocked)} of {COUNT} blocked\n")
            seconds.append(max(blocked) / 1000)
    tell(f"kill of {COUNT} guards to the last one confirmed blocked", seconds)


if __name__ == "__main__":
    main()
