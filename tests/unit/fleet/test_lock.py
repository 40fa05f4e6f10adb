"""Leases: all or none, in one order, renewed, given back; a lost one is known to be lost."""

from __future__ import annotations

import threading

import pytest

from tests.support.leasehost import LeaseHost
from tests.support.sshd import host
from tests.support.wait import until
from tradeops.base.clock import SystemClock, VirtualClock
from tradeops.base.errors import LockHeld, OutcomeUnknown, TradeopsError, Unreachable
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.signature import RunKey, verify
from tradeops.fleet.fanout import SequentialFanOut, ThreadFanOut
from tradeops.fleet.lock import Claim, Leases, Renewer, lock_all

NAMES = ("host-2", "host-3", "host-1")
KEY = RunKey.generate()


class World:
    """Three hosts on a virtual clock."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.log: list[tuple[str, str]] = []
        self.sessions = {name: LeaseHost(name, self.clock, self.log) for name in NAMES}
        self.hosts = [host(name, port=1) for name in NAMES]

    def lock(self, run: str = "r1", *, takeover: bool = False) -> Leases:
        claim = Claim(run, "operator-1", "release 8", 30.0, Envelope.of(b"{}", "armored"), KEY, takeover)
        return lock_all(self.hosts, self.sessions, claim, fan_out=SequentialFanOut(self.clock), clock=self.clock, timeout_s=5)


def test_hosts_are_locked_by_name_and_given_back_at_the_end() -> None:
    """One order for all runs, whatever order they were given in."""
    world = World()
    with world.lock() as leases:
        assert world.log == [("host-1", "lock"), ("host-2", "lock"), ("host-3", "lock")]
        assert leases.fence("host-2") == 4
    assert [one.run for one in world.sessions.values()] == [None, None, None]


def test_leases_are_given_back_when_the_run_breaks() -> None:
    world = World()
    with pytest.raises(ZeroDivisionError), world.lock():
        raise ZeroDivisionError
    assert {one.run for one in world.sessions.values()} == {None}


def test_a_held_host_gives_the_others_back_and_says_by_whom() -> None:
    """Two deploys at once: the second is told who, which run, why, how long yet; it leaves nothing locked."""
    world = World()
    world.lock("r0")
    with pytest.raises(LockHeld, match=r"host-1: held by operator-2 for run r0 \(release 7\), 12 s left"):
        world.lock("r1")
    world = World()
    held = world.sessions["host-3"]
    held.run, held.ends_ns = "r0", world.clock.monotonic_ns() + 10**12
    with pytest.raises(LockHeld) as caught:
        world.lock("r1")
    assert caught.value.holds == "nothing was touched, and run r1 holds no lock"
    assert [one.run for one in world.sessions.values()] == [None, "r0", None]


def test_a_lock_without_an_answer_gives_back_what_was_taken() -> None:
    """And names the host whose lease must run out by itself."""
    world = World()
    world.sessions["host-3"].trouble["lock"] = OutcomeUnknown("no answer", where="host-3")
    world.sessions["host-1"].trouble["unlock"] = Unreachable("gone", where="host-1")
    with pytest.raises(OutcomeUnknown) as caught:
        world.lock()
    assert "host-1 give theirs back when it ends" in str(caught.value.holds)
    assert world.sessions["host-2"].run is None


def test_the_nonce_is_signed_by_the_runs_key() -> None:
    seen: dict[str, str] = {}

    class Watching(LeaseHost):
        def call(self, verb, **args):  # type: ignore[no-untyped-def]  # passes everything on
            seen.update({"proof": args.get("proof", ""), "owner": args.get("owner", "")} if verb == "lock" else {})
            return super().call(verb, **args)

    world = World()
    world.sessions = {name: Watching(name, world.clock, world.log) for name in NAMES}
    world.lock()
    assert verify(seen["proof"], b"00ff", Purpose.SESSION) == KEY.public_line
    assert seen["owner"] == "operator-1"


def test_leases_are_renewed_when_a_third_is_gone() -> None:
    world = World()
    leases = world.lock()
    leases.renew_due()
    assert ("host-1", "renew") not in world.log
    for _ in range(10):
        world.clock.sleep_s(11)
        leases.renew_due()
    assert leases.lost() == {}
    assert world.log.count(("host-1", "renew")) == 10


def test_a_fenced_off_lease_is_lost_at_once() -> None:
    """A kill or a takeover raised the fence: nothing may be done there, and it is not unlocked from under the other."""
    world = World()
    leases = world.lock()
    world.sessions["host-2"].fence += 1
    world.clock.sleep_s(11)
    leases.renew_due()
    assert list(leases.lost()) == ["host-2"]
    assert leases.unlock() == {}
    assert world.sessions["host-2"].run == "r1"


def test_an_unreachable_host_is_lost_when_its_lease_must_have_ended() -> None:
    world = World()
    leases = world.lock()
    world.sessions["host-3"].trouble["renew"] = Unreachable("cut off", where="host-3")
    world.clock.sleep_s(11)
    leases.renew_due()
    assert leases.lost() == {}
    world.clock.sleep_s(20)
    leases.renew_due()
    assert list(leases.lost()) == ["host-3"]


def test_the_same_run_takes_its_hosts_over_under_a_higher_fence() -> None:
    world = World()
    first = world.lock()
    again = world.lock(takeover=True)
    assert again.fence("host-1") == first.fence("host-1") + 1
    world.clock.sleep_s(11)
    first.renew_due()
    assert sorted(first.lost()) == ["host-1", "host-2", "host-3"]


def test_an_answer_that_is_no_lock() -> None:
    class Lying(LeaseHost):
        def call(self, verb, **args):  # type: ignore[no-untyped-def]  # answers everything with nonsense
            return {"run": 7}

    world = World()
    world.sessions = {name: Lying(name, world.clock, world.log) for name in NAMES}
    with pytest.raises(TradeopsError, match="host-1: its agent's answer to `lock` is not a lock"):
        world.lock()


def test_the_renewer_works_beside_the_run_and_ends_with_it() -> None:
    """On the real clock, with a lease that would end in a moment."""
    clock = SystemClock()
    log: list[tuple[str, str]] = []
    sessions = {"host-1": LeaseHost("host-1", clock, log)}
    claim = Claim("r1", "operator-1", "release 8", 0.6, Envelope.of(b"{}", "armored"), KEY)
    leases = lock_all([host(port=1)], sessions, claim, fan_out=ThreadFanOut(clock), clock=clock, timeout_s=5)
    with leases, Renewer(leases, every_s=0.02):
        until(lambda: log.count(("host-1", "renew")) >= 4, 10)
        assert leases.lost() == {}
    assert sessions["host-1"].run is None
    assert not [thread for thread in threading.enumerate() if thread.name == "leases"]
