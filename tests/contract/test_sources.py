"""One suite over all metric sources: the guards' own /metrics over TLS, a real Prometheus, and the simulated one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.gates import EDGES, HOSTS, LATENCY, NEW, OLD, Daemon, SimSource, exposed
from tests.support.prometheus import PROGRAM, running_prometheus
from tests.support.sshd import host
from tests.support.tlsguard import Answer, Heard, http, make_tls, tls_guards
from tests.support.wait import until
from tradeops.base.clock import NS_PER_S, SystemClock, VirtualClock
from tradeops.contracts.metrics import PREFIX, Counter, Gauge
from tradeops.fleet.control import HttpControls
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Outcome, errors, values
from tradeops.gates.samples import Sample
from tradeops.gates.sources.choose import source_of
from tradeops.gates.sources.port import Source
from tradeops.gates.spec import GateSpec

NAMES = HOSTS[:3]
CLOCK = SystemClock()


class Room:
    """Three daemons and a source that reads them. silent: names of those that hang."""

    def __init__(self, source: Source | None = None, hosts: list[Host] | None = None) -> None:
        self.fleet = {name: Daemon(name, NEW if name == NAMES[0] else OLD) for name in NAMES}
        self.silent: set[str] = set()
        self.released = threading.Event()
        self.hosts = hosts or [host(name, port=1) for name in NAMES]
        self._source = source

    def use(self, source: Source) -> Room:
        """Read through this one."""
        self._source = source
        return self

    def read(self) -> dict[str, Outcome[Sample]]:
        """One reading."""
        assert self._source is not None
        return self._source.read(self.hosts, deadline_s=1.0)

    def until(self, what: Callable[[dict[str, Outcome[Sample]]], bool]) -> dict[str, Outcome[Sample]]:
        """The first reading of which this is true: a Prometheus needs a scrape to notice."""
        outcomes: dict[str, Outcome[Sample]] = {}

        def found() -> bool:
            outcomes.update(self.read())
            return what(outcomes)

        until(found, 20)
        return outcomes

    def text(self, name: str) -> str:
        """What its guard exports; waits when it is silent."""
        if name in self.silent:
            self.released.wait(20)
        return exposed(self.fleet[name])


@contextmanager
def scraping(folder: Path) -> Iterator[Room]:
    room = Room()
    files = make_tls(folder / "tls", *NAMES)

    def guard(name: str) -> Answer:
        async def answer(heard: Heard) -> bytes | None:
            return None if name in room.silent else http(exposed(room.fleet[name]).encode())

        return answer

    with tls_guards(files, {name: guard(name) for name in NAMES}) as guards:
        room.hosts = [guards[name].host() for name in NAMES]
        yield room.use(source_of(GateSpec(), HttpControls(files.folder, CLOCK), CLOCK))


@contextmanager
def prometheus(folder: Path) -> Iterator[Room]:
    room = Room()
    targets = {name: lambda path, body, name=name: (200, room.text(name).encode()) for name in NAMES}
    with running_prometheus(folder, targets) as url:
        source = {"kind": "prometheus", "url": url, "match": 'job="tradeops"'}
        spec = GateSpec.model_validate({"fresh": "2s", "source": source})
        yield room.use(source_of(spec, HttpControls(folder / "none", CLOCK), CLOCK))
        room.released.set()


@contextmanager
def simulated(folder: Path) -> Iterator[Room]:
    room, clock = Room(), VirtualClock()
    source = SimSource(room.fleet, clock)
    source.silent = room.silent

    class Ticking:
        def read(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Sample]]:
            clock.sleep_s(1)
            return source.read(hosts, deadline_s=deadline_s)

    yield room.use(Ticking())


KINDS = {"scrape": scraping, "prometheus": prometheus, "simulated": simulated}


_NEEDS_PROMETHEUS = pytest.mark.skipif(PROGRAM is None, reason="needs prometheus (Debian: apt-get install prometheus)")


@pytest.fixture(
    params=[
        "scrape",
        pytest.param("prometheus", marks=_NEEDS_PROMETHEUS),
        "simulated",
    ]
)
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    with KINDS[request.param](tmp_path) as room:
        yield room


def test_every_host_is_read_whole_and_none_for_another(room: Room) -> None:
    """Releases, process starts, counters, gauges, histograms; a later reading is newer; a silent host is the only one missing."""  # D11
    for name in NAMES:
        room.fleet[name].count(signals=40, errors=2, slow=1)
        room.fleet[name].gauges[PREFIX + Gauge.PNL] = -1.5
    outcomes = room.until(lambda found: len(values(found)) == 3)
    assert list(outcomes) == NAMES
    first = values(outcomes)
    assert {name: sample.release for name, sample in first.items()} == {NAMES[0]: NEW, NAMES[1]: OLD, NAMES[2]: OLD}
    for name, sample in first.items():
        assert (sample.host, sample.started_s) == (name, 100.0)
        assert 0 <= sample.age_s <= 2
        assert sample.values[PREFIX + Counter.SIGNALS] == 40
        assert sample.values[PREFIX + Gauge.PNL] == -1.5
        assert sample.histograms[LATENCY].upper == EDGES
        assert sample.histograms[LATENCY].counts == (39, 39, 39, 40, 40)
    room.fleet[NAMES[1]].count(signals=1)
    room.fleet[NAMES[2]].restart()
    room.until(lambda found: _signals(found, NAMES[1]) == 41 and _signals(found, NAMES[2]) == 0)
    later = values(room.until(lambda found: _all_newer(values(found), first)))
    assert later[NAMES[2]].started_s == 101.0
    room.fleet[NAMES[1]].release = ""
    outcomes = room.until(lambda found: NAMES[1] in errors(found))
    assert str(errors(outcomes)[NAMES[1]]) == f"{NAMES[1]}: its series do not say which release they are of"
    room.fleet[NAMES[1]].release = OLD
    room.silent.add(NAMES[0])
    start_ns = CLOCK.monotonic_ns()
    outcomes = room.until(lambda found: list(errors(found)) == [NAMES[0]])
    assert len(values(outcomes)) == 2
    assert CLOCK.monotonic_ns() - start_ns < 15 * NS_PER_S


def _all_newer(later: dict[str, Sample], first: dict[str, Sample]) -> bool:
    return len(later) == len(first) and all(later[name].taken_s > first[name].taken_s for name in first)


def _signals(outcomes: dict[str, Outcome[Sample]], name: str) -> float | None:
    outcome = outcomes[name]
    return outcome.value.values[PREFIX + Counter.SIGNALS] if isinstance(outcome, Done) else None
