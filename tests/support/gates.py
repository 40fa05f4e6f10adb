"""Samples for gates: hosts that count by themselves, and readings of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.base.errors import Unreachable
from tradeops.contracts.identity import Identity
from tradeops.contracts.metrics import PREFIX, Counter, Gauge, Latency
from tradeops.contracts.status import STATUS_SCHEMA, Histogram, Status, Vitals
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Failed, Outcome
from tradeops.gates.arms import Arms
from tradeops.gates.samples import BadSample, Buckets, Sample
from tradeops.guard.exposition import exposition

OLD, NEW = "sha256:old", "sha256:new"
HOSTS = [f"host-{number}" for number in range(1, 9)]
CANARY, CONTROL = HOSTS[:1], HOSTS[1:]
ARMS = Arms(dict.fromkeys(CANARY, NEW), dict.fromkeys(CONTROL, OLD))
ALONE = Arms(dict.fromkeys(HOSTS, NEW))
EDGES = (0.01, 0.1, 0.5, 1.0, math.inf)
LATENCY = PREFIX + Latency.ORDER_PLACEMENT


@dataclass
class Daemon:
    """A trader as a gate sees it: what it has counted since its start."""

    host: str
    release: str
    started_s: float = 100.0
    counters: dict[str, float] = field(default_factory=lambda: {PREFIX + counter: 0.0 for counter in Counter})
    gauges: dict[str, float] = field(default_factory=lambda: {PREFIX + gauge: 0.0 for gauge in Gauge})
    latencies: list[float] = field(default_factory=lambda: [0.0] * len(EDGES))

    def count(self, *, signals: float = 0, errors: float = 0, rejects: float = 0, orders: float | None = None, slow: float = 0) -> None:
        """So much has happened. slow: orders of more than half a second; the others take less than 10 ms."""
        orders = signals if orders is None else orders
        for counter, by in (
            (Counter.SIGNALS, signals),
            (Counter.DECISIONS, signals),
            (Counter.ERRORS, errors),
            (Counter.ORDERS_REJECTED, rejects),
            (Counter.ORDERS_SENT, orders),
        ):
            self.counters[PREFIX + counter] += by
        self.latencies[0] += orders - slow
        self.latencies[3] += slow

    def restart(self) -> None:
        """Another process, which has counted nothing yet."""
        fresh = Daemon(self.host, self.release, self.started_s + 1)
        self.started_s, self.counters, self.latencies = fresh.started_s, fresh.counters, fresh.latencies

    def sample(self, at_s: float, *, age_s: float = 0.0) -> Sample:
        """As a source reads it."""
        cumulative = tuple(sum(self.latencies[: at + 1]) for at in range(len(EDGES)))
        gauges = {**self.gauges, PREFIX + Gauge.STARTED_AT_S: self.started_s, PREFIX + Gauge.VITALS_AGE_S: age_s}
        values = {**self.counters, **gauges}
        return Sample(self.host, self.release, self.started_s, at_s, age_s, values, {LATENCY: Buckets(EDGES, cumulative)})


def daemons(arms: Arms = ARMS) -> dict[str, Daemon]:
    """One of each host of the arms."""
    return {host: Daemon(host, release) for host, release in arms.releases.items()}


def reading(fleet: Mapping[str, Daemon], at_s: float, *, without: Iterable[str] = ()) -> dict[str, Outcome[Sample]]:
    """All of them at one time."""
    return {host: Done(daemon.sample(at_s)) for host, daemon in fleet.items() if host not in set(without)}


def exposed(daemon: Daemon, *, age_s: float = 0.0) -> str:
    """The /metrics of its guard."""
    identity = Identity("trader", daemon.release, "sha256:b", 0, "blue", 1, 2, int(daemon.started_s * NS_PER_S))
    histograms = {Latency.ORDER_PLACEMENT.value: Histogram(EDGES[:-1], tuple(map(int, daemon.latencies)), 0.0)}
    counters = {name.removeprefix(PREFIX): int(value) for name, value in daemon.counters.items()}
    gauges = {name.removeprefix(PREFIX): value for name, value in daemon.gauges.items()}
    vitals = Vitals(identity, 0, "ready", 0, 0, 0, 0, {}, {}, {}, counters, gauges, histograms, {})
    return exposition(Status(STATUS_SCHEMA, daemon.host, "f", True, (), "p", vitals, age_s * 1000, 1, False, False, 0, "", 0, 1, 1, 0))


class SimSource:
    """gates.sources.port.Source over daemons of a simulation. silent: hosts that do not answer."""

    def __init__(self, fleet: Mapping[str, Daemon], clock: Clock) -> None:
        self._fleet = fleet
        self._clock = clock
        self.silent: set[str] = set()

    def read(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Sample]]:
        """See gates.sources.port.Source."""
        return {host.name: self._one(host.name) for host in hosts}

    def _one(self, host: str) -> Outcome[Sample]:
        if host in self.silent:
            return Failed(Unreachable("it does not answer", where=host))
        if not self._fleet[host].release:
            return Failed(BadSample("its series do not say which release they are of", where=host))
        return Done(self._fleet[host].sample(self._clock.monotonic_ns() / NS_PER_S))
