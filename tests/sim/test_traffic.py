"""Whole runs with proxies before the service: no host is switched while it takes traffic, and what a run took it gives back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.sim.drive import ROLLING, assert_truth, try_abort, try_deploy
from tests.sim.traffic import SimProxy, SimTraffic
from tests.sim.world import OperatorDied, World
from tradeops.base.errors import ExitCode
from tradeops.deploy.deploy import deploy
from tradeops.deploy.leftout import LeaveOut
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.site import Progress, Told
from tradeops.fleet.share import Mode


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Eight hosts that trade release 1 behind two proxies; release 2 is built."""
    world = World(tmp_path)
    world.traffic = SimTraffic(world.truth, world.clock)
    world.old = world.release(1)
    assert try_deploy(world, world.old)[0] == ExitCode.PROVED
    world.new = world.release(2)
    world.pids = world.pids_now()
    return world


def proxies(world: World) -> list[SimProxy]:
    assert isinstance(world.traffic, SimTraffic)
    return world.traffic.proxies


def modes(world: World) -> set[Mode]:
    return {share.mode for proxy in proxies(world) for share in proxy.shares.values()}


class Witness(list[Told]):
    """Notes what the proxies say of each host at the moment it is stopped."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.stops: list[list[tuple[Mode, int]]] = []

    def append(self, step: Told) -> None:
        """A step of the run."""
        super().append(step)
        if isinstance(step, Progress) and (step.phase, step.state) == ("stop", "started"):
            shares = [proxy.shares[step.host] for proxy in proxies(self.world)]
            self.stops.append([(share.mode, share.sessions) for share in shares])


def test_no_host_is_stopped_while_it_takes_traffic(world: World) -> None:
    """Every stop finds its host drained at every proxy, with no connection open; at the end all are ready again."""
    world.seen = witness = Witness(world)
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.PROVED, ending
    assert witness.stops == [[(Mode.DRAIN, 0)] * 2] * 8
    assert modes(world) == {Mode.READY}


def test_a_proxy_that_is_gone_before_the_run(world: World) -> None:
    """Exit 3, nothing touched."""
    proxies(world)[1].faults.add("gone")
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.PREFLIGHT
    assert_truth(world, code, ending, world.old, world.new, world.pids)


@pytest.mark.parametrize("phase", ["divert", "drain", "prove", "return"])
@pytest.mark.parametrize("fault", ["gone", "lying"])
def test_a_proxy_that_goes_bad_in_the_middle(world: World, phase: str, fault: str) -> None:
    """Not one ends in 0 unless every host has its traffic; what is not known to have it is named."""
    world.when(phase, lambda: proxies(world)[0].faults.add(fault))
    code, ending = try_deploy(world, world.new)
    assert code in (ExitCode.MIXED, ExitCode.BROUGHT_BACK)
    if code == ExitCode.BROUGHT_BACK:
        assert modes(world) == {Mode.READY}
    assert_truth(world, code, ending, world.old, world.new, world.pids)


def test_connections_that_never_end_fail_the_wave(world: World) -> None:
    """The first host keeps its release and gets its traffic back."""
    proxies(world)[0].faults.add("sticky")
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.BROUGHT_BACK
    assert ending and "divert failed on h1" in ending.title and "2 connections open" in ending.causes["h1"]
    assert modes(world) == {Mode.READY}
    assert {host.runs() for host in world.truth.values()} == {world.old}


def test_a_host_that_the_proxy_finds_down_is_brought_back(world: World) -> None:
    """The release is up by its own word, and the proxy's health check says otherwise: the old one comes back."""
    faults = proxies(world)[0].faults
    world.when("return", lambda: faults.add("sick"))
    world.when("switch", lambda: world.when("switch", faults.clear))
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.BROUGHT_BACK
    assert ending and "found down by its health check" in ending.causes["h1"]
    assert modes(world) == {Mode.READY}


@pytest.mark.parametrize("phase", ["divert", "drain", "start", "return"])
def test_abort_gives_the_traffic_back(world: World, phase: str) -> None:
    """The operator died while hosts were drained."""
    world.when(phase, world.die)
    with pytest.raises(OperatorDied):
        try_deploy(world, world.new)
    world.revive()
    code, ending = try_abort(world)
    assert code == ExitCode.PROVED, ending
    assert modes(world) == {Mode.READY}


def test_maintenance_stays(world: World) -> None:
    """A host that a person took out is deployed to, and stays out."""
    for proxy in proxies(world):
        proxy.shares["h5"] = replace(proxy.shares["h5"], mode=Mode.MAINT, up=False, sessions=0)
    code, ending = try_deploy(world, world.new)
    assert code == ExitCode.PROVED, ending
    assert {proxy.shares["h5"].mode for proxy in proxies(world)} == {Mode.MAINT}


CANARY = Playbook.model_validate(
    {"schema": "tradeops/playbook/v1", "name": "canary", "steps": [{"hosts": "1", "flow": "5%", "bake": "10s"}, {"hosts": "100%"}]}
)


def percents(world: World) -> dict[str, set[int]]:
    return {name: {proxy.shares[name].percent for proxy in proxies(world)} for name in world.truth}


def test_a_canary_takes_its_share_and_then_all(world: World) -> None:
    """D08: one of eight gets five per cent of the traffic before it takes any, and all of its own in the last step."""
    seen: list[dict[str, set[int]]] = []
    world.when("return", lambda: seen.append(percents(world)))
    code, ending = try_deploy(world, world.new, CANARY)
    assert code == ExitCode.PROVED, ending
    assert seen == [{name: {36 if name == "h1" else 100} for name in world.truth}]
    assert percents(world) == {name: {100} for name in world.truth}


def test_a_canary_that_is_taken_back_has_its_weight_again(world: World) -> None:
    """It fails in its bake, after it was given traffic."""
    faults = world.truth["h1"].faults
    world.when("return", lambda: faults.add("feed_dead"))
    world.when("drain", lambda: world.when("drain", faults.clear))
    code, ending = try_deploy(world, world.new, CANARY)
    assert code == ExitCode.BROUGHT_BACK, ending
    assert percents(world) == {name: {100} for name in world.truth}
    assert modes(world) == {Mode.READY}


def test_an_excluded_host_gets_no_traffic(world: World) -> None:
    """It is drained at every proxy, and stays so when the others are given theirs back."""
    deploy(world.site(), world.new, ROLLING, leave_out=LeaveOut(("h8",), "the board is dead"))
    assert {proxy.shares["h8"].mode for proxy in proxies(world)} == {Mode.DRAIN}
    assert {share.mode for proxy in proxies(world) for name, share in proxy.shares.items() if name != "h8"} == {Mode.READY}
