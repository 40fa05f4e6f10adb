"""One suite over both kinds of traffic: a real HAProxy by its runtime API, and the simulated one. Two proxies each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.sim.traffic import SimTraffic
from tests.support.haproxy import BACKEND, HAPROXY, haproxy, say
from tests.support.sshd import free_port
from tradeops.base.clock import SystemClock, VirtualClock
from tradeops.base.errors import PreflightFailed, Unreachable
from tradeops.fleet.haproxy import Haproxy, HaproxyTraffic
from tradeops.fleet.ports import Traffic
from tradeops.fleet.share import Mode

HOSTS = ("h1", "h2", "h3")


@dataclass(frozen=True)
class Kind:
    """maint: a person takes a host out at the first proxy.  end: the second proxy dies."""

    traffic: Traffic
    proxies: tuple[str, ...]
    maint: Callable[[str], None]
    end: Callable[[], None]

    def modes(self, *hosts: str) -> dict[str, set[Mode]]:
        """What all proxies say of each."""
        shares = self.traffic.read(hosts)
        return {host: {share.mode for share in shares if share.host == host} for host in hosts}


def _simulated() -> Kind:
    traffic = SimTraffic(HOSTS, VirtualClock())
    first, second = traffic.proxies

    def maint(host: str) -> None:
        share = first.shares[host]
        first.shares[host] = share.__class__(share.proxy, host, Mode.MAINT, share.weight, share.full, False, 0)

    return Kind(traffic, (first.name, second.name), maint, lambda: second.faults.add("gone"))


@pytest.fixture(params=["haproxy", "simulated"])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    if request.param == "simulated":
        yield _simulated()
        return
    if HAPROXY is None:
        pytest.skip("needs haproxy (Debian: apt-get install haproxy)")
    with ExitStack() as stack:
        servers = {f"s-{host}": f"127.0.0.1:{free_port()}" for host in HOSTS}
        first, second = (stack.enter_context(haproxy(servers)) for _ in range(2))
        named = {host: f"s-{host}" for host in HOSTS}
        traffic = HaproxyTraffic(Haproxy((first.admin, second.stats), BACKEND, named), SystemClock())

        def maint(host: str) -> None:
            say(first.admin, f"set server {BACKEND}/s-{host} state maint")

        yield Kind(traffic, (first.admin, second.stats), maint, second.end)


def test_every_proxy_tells_every_host(kind: Kind) -> None:
    """Ready at full weight, each named by its proxy."""
    shares = kind.traffic.read(HOSTS)
    assert [(share.proxy, share.host) for share in shares] == [(proxy, host) for proxy in kind.proxies for host in HOSTS]
    assert {(share.mode, share.weight, share.full, share.percent, share.up) for share in shares} == {(Mode.READY, 100, 100, 100, True)}


def test_a_host_is_drained_and_ready_again_at_all_proxies(kind: Kind) -> None:
    """The others are not touched; what holds already is not said again."""
    for _ in range(2):
        kind.traffic.drain(["h2"])
        assert kind.modes(*HOSTS) == {"h1": {Mode.READY}, "h2": {Mode.DRAIN}, "h3": {Mode.READY}}
    assert {share.sessions for share in kind.traffic.read(["h2"])} == {0}
    kind.traffic.ready(["h2"])
    assert kind.modes("h2") == {"h2": {Mode.READY}}


def test_weights_are_shares_of_the_configured_one(kind: Kind) -> None:
    """D09: a canary's share, and back to the whole."""
    kind.traffic.weigh(["h1", "h3"], 5)
    assert [share.percent for share in kind.traffic.read(HOSTS)] == [5, 100, 5] * 2
    kind.traffic.weigh(HOSTS, 100)
    assert {share.percent for share in kind.traffic.read(HOSTS)} == {100}


@pytest.mark.parametrize("percent", [0, 101, -5])
def test_a_weight_that_is_none_is_refused(kind: Kind, percent: int) -> None:
    """A weight of nothing is a drain by another name."""
    with pytest.raises(PreflightFailed, match="is no weight"):
        kind.traffic.weigh(["h1"], percent)
    assert {share.percent for share in kind.traffic.read(HOSTS)} == {100}


def test_maintenance_is_a_person_s(kind: Kind) -> None:
    """Neither drained nor made ready where a person took it out; the other proxy obeys."""
    kind.maint("h1")
    kind.traffic.drain(["h1"])
    assert kind.modes("h1") == {"h1": {Mode.MAINT, Mode.DRAIN}}
    kind.traffic.ready(["h1"])
    assert kind.modes("h1") == {"h1": {Mode.MAINT, Mode.READY}}


def test_a_host_that_no_proxy_knows_is_named(kind: Kind) -> None:
    """Nothing is changed for the others then."""
    for act in (kind.traffic.read, kind.traffic.drain, kind.traffic.ready):
        with pytest.raises(PreflightFailed, match="no server"):
            act(["h1", "h9"])
    assert kind.modes("h1") == {"h1": {Mode.READY}}


def test_one_proxy_of_two_is_not_enough(kind: Kind) -> None:
    """D01: a proxy that is gone is named; nothing is half done without a word."""
    kind.end()
    for act in (kind.traffic.read, kind.traffic.drain, kind.traffic.ready):
        with pytest.raises(Unreachable) as caught:
            act(["h1"])
        assert caught.value.where == kind.proxies[1]
