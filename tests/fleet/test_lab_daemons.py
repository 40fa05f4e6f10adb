"""Faults of the daemons of a whole lab: two enrolled hosts with real systemd, brought up as `tradeops lab up` does."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from functools import partial

import pytest

from tests.fleet.conftest import Lab, quiet
from tests.support.wait import until
from tradeops.base.clock import SystemClock
from tradeops.base.errors import UsageError
from tradeops.lab.errors import LabError
from tradeops.lab.faults import heal, inject
from tradeops.lab.fleet_folder import OPERATOR, key_file
from tradeops.lab.nspawn.driver import why_not
from tradeops.lab.restart import restart
from tradeops.lab.up import down, up

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

CLOCK = SystemClock()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Up once, and all of it down at the end."""
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("two")
    up(folder, "nspawn", 2, CLOCK, quiet)
    yield Lab(folder, key_file(folder, OPERATOR))
    down(folder, CLOCK, quiet)
    assert {path.name for path in folder.iterdir()} <= {"known_hosts"}


@pytest.fixture
def lab(two: Lab) -> Iterator[Lab]:
    """The same; faults that a test left are healed after it."""
    yield two
    for host in two.state.hosts:
        heal(two.folder, host.name, None, CLOCK)


def _inject(lab: Lab, host: str, kind: str, **settings: str) -> None:
    inject(lab.folder, host, kind, settings, CLOCK)


def test_a_folder_in_use_is_left_alone(lab: Lab) -> None:
    """A second `up` there, and faults of a trader that does not run, are refused."""
    with pytest.raises(UsageError, match="holds"):
        up(lab.folder, "nspawn", 2, CLOCK, quiet)
    for kind in ("trader-kill", "changed-file"):
        with pytest.raises(LabError, match="no trader runs"):
            _inject(lab, "h1", kind)
    with pytest.raises(LabError, match="no release"):
        _inject(lab, "h1", "extra-process")


def _guard(lab: Lab, host: str) -> bool:
    """Whether the guard's port takes connections."""
    where = lab.host(host)
    try:
        with socket.create_connection((where.address, where.control_port), timeout=1):
            return True
    except OSError:
        return False


def test_killed_guard_stays_dead_until_healed(lab: Lab) -> None:
    """Although its unit says Restart=always; healed, it serves again."""
    assert _guard(lab, "h1")
    _inject(lab, "h1", "guard-kill")
    assert lab.ssh("h1", "systemctl is-active tradeops-guard").stdout.strip() == "failed"
    assert not _guard(lab, "h1")
    heal(lab.folder, "h1", "guard-kill", CLOCK)
    assert until(lambda: _guard(lab, "h1"), 20)


def test_frozen_guard_stands_still(lab: Lab) -> None:
    """All of its processes."""
    _inject(lab, "h1", "guard-freeze")
    ask = "cat /proc/$(systemctl show -P MainPID tradeops-guard)/stat"
    assert until(lambda: lab.ssh("h1", ask).stdout.rpartition(")")[2].split()[0] == "T", 10)
    heal(lab.folder, "h1", "guard-freeze", CLOCK)
    assert until(lambda: lab.ssh("h1", ask).stdout.rpartition(")")[2].split()[0] != "T", 10)


def test_clock_offset_reaches_the_host_file_and_goes_again(lab: Lab) -> None:
    """The guard is restarted with it, as the user it runs as."""
    ask = "cat /opt/tradeops/etc/host.json"
    _inject(lab, "h2", "clock", ms="-2500")
    assert json.loads(lab.ssh("h2", ask).stdout)["clock_offset_ns"] == -2_500_000_000
    assert until(lambda: _guard(lab, "h2"), 20)
    heal(lab.folder, "h2", "clock", CLOCK)
    assert json.loads(lab.ssh("h2", ask).stdout)["clock_offset_ns"] == 0


def test_enrolled_host_guards_again_after_a_power_cut(lab: Lab) -> None:
    """The unit is enabled: nobody has to start it."""
    _inject(lab, "h2", "power-cut")
    assert not _guard(lab, "h2")
    heal(lab.folder, "h2", "power-cut", CLOCK)
    assert until(lambda: _guard(lab, "h2"), 20)


def test_restart_of_all_daemons(lab: Lab) -> None:
    """What runs is restarted, what does not run stays so."""
    assert restart(lab.folder, CLOCK, quiet) == tuple(f"{host.name}:tradeops-guard.service" for host in lab.state.hosts)
    assert all(until(partial(_guard, lab, host.name), 20) for host in lab.state.hosts)
