"""The nspawn driver: hosts that are hosts, side by side, and nothing left of them afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fleet.conftest import HOSTS, Lab, banner, quiet
from tests.support.wait import until
from tradeops.base.clock import SystemClock
from tradeops.lab import processes
from tradeops.lab.driver import Wish
from tradeops.lab.errors import LabError
from tradeops.lab.faults import inject
from tradeops.lab.keys import make_key
from tradeops.lab.nspawn import cgroups
from tradeops.lab.nspawn.driver import NspawnDriver
from tradeops.lab.state import LabState, StateFile

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]


def test_eight_hosts_are_hosts_of_their_own(lab: Lab) -> None:
    """Each has its own name, machine id, host key and address, systemd is `running`, and the pinned key is the one shown."""
    seen = [
        lab.ssh(host.name, "hostname; cat /etc/machine-id; systemctl is-system-running --wait; hostname -i").stdout.split()
        for host in lab.state.hosts
    ]
    assert [line[0] for line in seen] == [f"h{index}" for index in range(1, HOSTS + 1)]
    assert len({line[1] for line in seen}) == HOSTS
    assert {line[2] for line in seen} == {"running"}
    assert [line[3] for line in seen] == [host.address for host in lab.state.hosts]
    assert len({host.host_key for host in lab.state.hosts}) == HOSTS


def test_stopping_a_unit_kills_all_of_it(lab: Lab) -> None:
    """A cgroup of its own lets systemd end the children of a unit, on every host."""
    script = (
        "systemd-run --quiet --unit=family sh -c 'sleep 3601 & sleep 3602 & wait';sleep 0.2; systemctl stop family; pgrep -x sleep | wc -l"
    )
    counts = [lab.ssh(host.name, script).stdout.split() for host in lab.state.hosts]
    assert counts == [["0"]] * HOSTS


def test_exit_status_signal_and_streams_come_through(lab: Lab) -> None:
    """Plain OpenSSH executes as on any host."""
    done = lab.ssh("h1", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


def _left_of(state: LabState) -> list[str]:
    links = {link["ifname"] for link in json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)}
    left = [name for name in (state.bridge, *(host.veth for host in state.hosts)) if name in links]
    left += [host.netns for host in state.hosts if Path("/run/netns", host.netns).exists()]
    mounts = Path("/proc/self/mountinfo").read_text()
    left += [host.folder for host in state.hosts if host.folder in mounts or Path(host.folder).exists()]
    left += [group for host in state.hosts for group in host.cgroups if Path(group).exists()]
    left += [str(host.init) for host in state.hosts if host.init and processes.alive(host.init)]
    if state.folder in subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout:
        left.append("a loop device")
    return left


def test_two_labs_side_by_side_and_down_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    """A second lab has other addresses and names; its end leaves no mount, namespace, process, bridge, nor a scratch on the first."""
    driver = NspawnDriver(tmp_path, SystemClock())
    second = driver.up(Wish(tmp_path, 2, make_key(tmp_path / "admin")), quiet)
    assert second.network != lab.state.network
    assert banner(second.hosts[1], 2) == "ssh"
    for kind in ("guard-freeze", "trader-kill", "changed-file", "extra-process", "clock"):
        with pytest.raises(LabError, match="not enrolled"):
            inject(tmp_path, "h1", kind, {}, SystemClock())
    with pytest.raises(LabError, match="a lab here already"):
        driver.up(Wish(tmp_path, 2, make_key(tmp_path / "admin")), quiet)
    driver.down(quiet)
    assert _left_of(second) == []
    assert not StateFile(tmp_path).exists()
    assert [banner(host, 2) for host in lab.state.hosts] == ["ssh"] * HOSTS


_UP = """
import sys
from collections.abc import Callable
from pathlib import Path
from tradeops.base.clock import SystemClock
from tradeops.lab.driver import Wish
from tradeops.lab.nspawn.driver import NspawnDriver
folder = Path(sys.argv[1])
NspawnDriver(folder, SystemClock()).up(Wish(folder, 3, sys.argv[2]), lambda line: print(line, flush=True))
"""


def _bridge(state: LabState) -> bool:
    return Path("/sys/class/net", state.bridge).exists()


def _disk(state: LabState) -> bool:
    return any(host.folder in Path("/proc/self/mountinfo").read_text() for host in state.hosts)


def _processes(state: LabState) -> bool:
    return any(cgroups.members(host.cgroups) for host in state.hosts)


@pytest.mark.parametrize("made", [_bridge, _disk, _processes])
def test_an_operator_killed_while_bringing_up_leaves_what_down_removes(tmp_path: Path, made: Callable[[LabState], bool]) -> None:
    """SIGKILL in the middle of `up`: the state file names everything that was made by then."""
    argv = [sys.executable, "-c", _UP, str(tmp_path), make_key(tmp_path / "admin")]
    operator = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])})
    file = StateFile(tmp_path)
    until(file.exists, 20)
    until(lambda: made(file.read()), 20, 0.001)
    operator.send_signal(signal.SIGKILL)
    operator.wait()
    state = file.read()
    NspawnDriver(tmp_path, SystemClock()).down(quiet)
    assert _left_of(state) == []


def test_down_twice_says_there_is_no_lab(tmp_path: Path) -> None:
    """Nothing is guessed at: no state file, no lab."""
    with pytest.raises(LabError, match="there is no lab here"):
        NspawnDriver(tmp_path, SystemClock()).down(quiet)


def test_power_cut_ends_everything_of_one_host_at_once(lab: Lab) -> None:
    """All processes of the host are in its cgroups, and none outlives the cut."""
    host = lab.host("h7")
    assert len(cgroups.members(host.cgroups)) > 5
    driver = NspawnDriver(lab.folder, SystemClock())
    driver.power_cut(host)
    assert cgroups.members(host.cgroups) == []
    assert banner(host, 1) in {"timeout", "refused", "OSError"}
    driver.boot(host)
    assert banner(lab.host("h7"), 2) == "ssh"


def test_a_loop_device_that_was_never_mounted_goes_too(tmp_path: Path) -> None:
    """The operator died between attaching the disk and mounting it."""
    driver = NspawnDriver(tmp_path, SystemClock())
    state = driver.up(Wish(tmp_path, 1, make_key(tmp_path / "admin")), quiet)
    subprocess.run(["losetup", "-f", f"{state.hosts[0].folder}/disk.img"], check=True)
    driver.down(quiet)
    assert _left_of(state) == []
