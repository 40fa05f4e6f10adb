"""Stops on eight real hosts: every road of the kill, damaged permits and pages, dead and hung daemons."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fleetlab import CLOCK, FleetLab
from tests.support.wait import until
from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import ExitCode
from tradeops.contracts.layout import HostLayout
from tradeops.contracts.pages import read_vitals
from tradeops.contracts.status import Vitals

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]


def kill(fleet: FleetLab, *, code: int) -> dict[str, dict[str, object]]:
    """Kill everything; the hosts' entries by name."""
    ended = fleet.must("kill-switch", "--all", "--reason", "test", code=code)
    return {host["host"]: host for host in ended.document["hosts"]}


def test_every_host_is_blocked_and_clear(fleet: FleetLab) -> None:
    """K03, K08: over the first road, no order working, within the deadline."""
    hosts = kill(fleet, code=ExitCode.PROVED)
    assert {host["road"] for host in hosts.values()} == {"https"}
    assert {host["working"] for host in hosts.values()} == {0}
    assert fleet.trading() == set()


@pytest.mark.parametrize("kind", ["guard-kill", "guard-freeze"])
def test_a_host_without_its_guard_is_latched(fleet: FleetLab, kind: str) -> None:
    """K04: SSH blocks it, the venue says it is clear; nobody needed the guard."""
    fleet.fault("h6", kind)
    hosts = kill(fleet, code=ExitCode.PROVED)
    assert str(hosts["h6"]["road"]).startswith("ssh")
    fleet.heal_all()
    assert until(lambda: fleet.run("status").code == 0, 30)
    assert fleet.trading() == set()


def test_a_hung_trader_is_stopped(fleet: FleetLab) -> None:
    """K02: a trader that cannot acknowledge is not blocked until its process is gone."""
    fleet.fault("h2", "trader-freeze")
    hosts = kill(fleet, code=ExitCode.PROVED)
    assert hosts["h2"]["blocked_ms"] is not None
    assert fleet.trading() == set()


def test_hosts_that_cannot_be_reached_are_named(fleet: FleetLab) -> None:
    """K04, promise 3: two partitioned hosts: six confirmed, two named with what to do, exit 8, in time."""
    for host in ("h3", "h4"):
        fleet.fault(host, "partition")
    began_ns = CLOCK.monotonic_ns()
    hosts = kill(fleet, code=ExitCode.KILL_INCOMPLETE)
    assert CLOCK.monotonic_ns() - began_ns < 60 * 10**9
    assert {name for name, host in hosts.items() if host["blocked_ms"] is None} == {"h3", "h4"}
    fleet.heal_all()
    assert until(lambda: fleet.run("kill-switch", "--all", "--reason", "again").code == 0, 60)


def _stop_page(root: Path) -> Path:
    return HostLayout(root).stop_page


def _delete(root: Path) -> None:
    _stop_page(root).unlink()


def _replace(root: Path) -> None:
    page = _stop_page(root)
    copy = page.with_name("copy")
    copy.write_bytes(page.read_bytes())
    copy.replace(page)


def _truncate(root: Path) -> None:
    _stop_page(root).write_bytes(b"")


def _corrupt(root: Path) -> None:
    with _stop_page(root).open("r+b") as page:
        page.seek(64)
        page.write(b"\xff" * 8)


def _lose_permit(root: Path) -> None:
    (HostLayout(root).guard_state / "state.json").unlink()


def _corrupt_permit(root: Path) -> None:
    (HostLayout(root).guard_state / "state.json").write_bytes(b"{}")


@pytest.mark.parametrize(
    "damage", [_delete, _replace, _truncate, _corrupt, _lose_permit, _corrupt_permit], ids=lambda damage: damage.__name__[1:]
)
def test_damage_while_trading_halts_that_host(fleet: FleetLab, damage: object) -> None:
    """K06: the stop page or the permit deleted, replaced, truncated or corrupted: that host stops, the others trade."""
    assert callable(damage)
    damage(fleet.root("h5"))
    assert until(lambda: "h5" not in fleet.trading(), 15)
    assert fleet.trading() == set(fleet.names()) - {"h5"}


@pytest.mark.parametrize("kind", ["guard-kill", "guard-freeze"])
def test_a_guard_that_falls_silent_halts_its_trader(fleet: FleetLab, kind: str) -> None:
    """K13: the trader lives and beats, has taken its orders back, and sends no more; the fleet's status ends 6 and names the host."""
    fleet.fault("h1", kind)
    assert until(lambda: fleet.run("status").code == ExitCode.MIXED, 20)
    assert until(lambda: _vitals(fleet, "h1").working == 0, 10)
    first = _vitals(fleet, "h1")
    assert until(lambda: _vitals(fleet, "h1").beat_ns > first.beat_ns + 3 * NS_PER_S, 10), "the trader does not beat"
    assert _vitals(fleet, "h1").counters["orders_sent_total"] == first.counters["orders_sent_total"]
    fleet.heal_all()
    assert until(lambda: fleet.run("status").code == 0, 30)


def _vitals(fleet: FleetLab, host: str) -> Vitals:
    vitals = read_vitals(HostLayout(fleet.root(host)).vitals_page("blue"))
    assert vitals is not None
    return vitals


def test_a_halt_stops_and_a_resume_starts(fleet: FleetLab) -> None:
    """D18: one host is halted without a count; seven need the count typed."""
    fleet.must("halt", "--host", "h2", "--reason", "test")
    assert fleet.trading() == set(fleet.names()) - {"h2"}
    fleet.must("resume", "--host", "h2", "--reason", "test")
    assert until(lambda: fleet.trading() == set(fleet.names()), 10)
    seven = [word for name in fleet.names()[:7] for word in ("--host", name)]
    assert fleet.run("halt", *seven, "--reason", "test").code == ExitCode.REFUSED
    assert fleet.trading() == set(fleet.names())
