"""One suite over both fan-outs: threads on the system's clock, and one after the other on a virtual one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.support.sshd import host
from tradeops.base.clock import Clock, SystemClock, VirtualClock
from tradeops.base.errors import OutcomeUnknown, TradeopsError, Unreachable, UsageError
from tradeops.fleet.fanout import SequentialFanOut, ThreadFanOut
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Failed, Unknown, errors, values
from tradeops.fleet.ports import FanOut

HOSTS = [host(f"host-{number}", port=number + 1) for number in range(8)]


@dataclass(frozen=True)
class Kind:
    fan_out: FanOut
    clock: Clock
    pause: Callable[[float], None]


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


@pytest.fixture(params=["threads", "sequential"])
def kind(request: pytest.FixtureRequest) -> Kind:
    if request.param == "threads":
        clock: Clock = SystemClock()
        return Kind(ThreadFanOut(clock), clock, _wait)
    virtual = VirtualClock()
    return Kind(SequentialFanOut(virtual), virtual, virtual.sleep_s)


def test_every_host_has_an_outcome_in_the_order_asked(kind: Kind) -> None:
    """Done with the value and how long it took."""
    outcomes = kind.fan_out.run(HOSTS, lambda one: one.port, deadline_s=5)
    assert list(outcomes) == [one.name for one in HOSTS]
    assert values(outcomes) == {one.name: one.port for one in HOSTS}


def test_failures_and_unknowns_are_told_apart_and_named(kind: Kind) -> None:
    """D01: seven of eight is never eight."""

    def act(one: Host) -> str:
        if one.name == "host-1":
            raise Unreachable("refused")
        if one.name == "host-2":
            raise OutcomeUnknown("sent, no answer", where="host-2")
        return "ok"

    outcomes = kind.fan_out.run(HOSTS, act, deadline_s=5)
    assert isinstance(outcomes["host-1"], Failed)
    assert isinstance(outcomes["host-2"], Unknown)
    assert sorted(errors(outcomes)) == ["host-1", "host-2"]
    assert str(errors(outcomes)["host-1"]) == "host-1: refused"


def test_a_host_past_its_deadline_is_unknown_and_not_waited_for(kind: Kind) -> None:
    """The others are as they are; the whole takes no longer than the deadline."""
    start_ns = kind.clock.monotonic_ns()

    def act(one: Host) -> str:
        kind.pause(30 if one.name == "host-7" else 0)
        return "ok"

    outcomes = kind.fan_out.run(HOSTS, act, deadline_s=0.3)
    assert isinstance(outcomes["host-7"], Unknown)
    assert len(values(outcomes)) == 7
    assert kind.clock.monotonic_ns() - start_ns < 3_000_000_000


def test_a_hung_host_gives_its_place_to_the_next(kind: Kind) -> None:
    """With one at a time, the seven behind it are still asked."""

    def act(one: Host) -> str:
        kind.pause(30 if one.name == "host-0" else 0)
        return "ok"

    outcomes = kind.fan_out.run(HOSTS, act, deadline_s=0.2, concurrency=1)
    assert isinstance(outcomes["host-0"], Unknown)
    assert len(values(outcomes)) == 7


def test_no_more_than_asked_run_at_once(kind: Kind) -> None:
    """Time shows it: eight acts of a tenth, two at a time, take four tenths and not eight."""
    start_ns = kind.clock.monotonic_ns()

    def act(one: Host) -> None:
        kind.pause(0.05)

    kind.fan_out.run(HOSTS, act, deadline_s=5, concurrency=2)
    assert 0.2 <= (kind.clock.monotonic_ns() - start_ns) / 1e9 < 0.4


def test_a_bug_is_raised_after_all_ended(kind: Kind) -> None:
    """It is not taken for a host's failure, and no host is left out for it."""
    seen: list[str] = []

    def act(one: Host) -> None:
        seen.append(one.name)
        if one.name == "host-0":
            raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        kind.fan_out.run(HOSTS, act, deadline_s=5)
    assert sorted(seen) == [one.name for one in HOSTS]


@pytest.mark.parametrize(("hosts", "concurrency"), [([HOSTS[0], HOSTS[0]], None), (HOSTS, 0)])
def test_a_set_that_means_nothing_is_refused(kind: Kind, hosts: list[Host], concurrency: int | None) -> None:
    """A host twice, a concurrency of none."""
    with pytest.raises(UsageError):
        kind.fan_out.run(hosts, lambda one: one.name, deadline_s=1, concurrency=concurrency)


def test_an_error_keeps_the_place_it_names(kind: Kind) -> None:
    def act(one: Host) -> None:
        raise TradeopsError("no", where="elsewhere")

    outcomes = kind.fan_out.run(HOSTS[:1], act, deadline_s=1)
    assert errors(outcomes)["host-0"].where == "elsewhere"


def test_no_hosts_have_no_outcomes(kind: Kind) -> None:
    """Whether that is an error is for whoever chose them."""
    assert kind.fan_out.run([], lambda one: one.name, deadline_s=1) == {}


def test_different_works_run_side_by_side(kind: Kind) -> None:
    """All end, though one fails; its error is raised then. The whole takes as long as the longest."""
    start_ns = kind.clock.monotonic_ns()
    ended: list[str] = []

    def fail() -> None:
        raise Unreachable("no")

    def long() -> None:
        kind.pause(0.2)
        ended.append("long")

    with pytest.raises(Unreachable):
        kind.fan_out.together([fail, long, lambda: kind.pause(0.2)])
    assert ended == ["long"]
    assert 0.2 <= (kind.clock.monotonic_ns() - start_ns) / 1e9 < 0.4
