"""Eight real hosts with systemd and sshd, brought up once per session."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support.fleetlab import FleetLab, bring_up, short_id, take_down
from tradeops.base.clock import SystemClock
from tradeops.lab.driver import Wish
from tradeops.lab.faults import heal
from tradeops.lab.keys import make_key
from tradeops.lab.nspawn.driver import NspawnDriver, why_not
from tradeops.lab.state import LabHost, LabState, StateFile

HOSTS = 8
GROUPS = dict.fromkeys(("test_blue_green", "test_canary", "test_stops"), "stops")
"""Test files that share a fleet that trades; the others bring hosts up for themselves, or share bare ones."""
OLD, NEW, BROKEN = 1, 2, 4


class ByHosts(LoadScopeScheduling):  # type: ignore[misc]  # the library has no types
    """What shares hosts goes to one worker. (`--dist loadgroup` does nothing under pytest 9.2, which keeps the ids of tests to itself.)"""

    def _split_scope(self, nodeid: str) -> str:
        file = PurePath(nodeid.partition("::")[0]).stem
        return GROUPS.get(file, file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByHosts:
    """Asked when there are several workers."""
    return ByHosts(config, log)


@dataclass(frozen=True)
class Lab:
    """A lab that is up. key: the admin's private key."""

    folder: Path
    key: Path

    @property
    def state(self) -> LabState:
        """As lab.json has it now."""
        return StateFile(self.folder).read()

    def host(self, name: str) -> LabHost:
        """As lab.json has it now."""
        return self.state.host(name)

    def ssh(self, name: str, *command: str, timeout_s: float = 10.0) -> subprocess.CompletedProcess[str]:
        """Run a command on a host. Raises TimeoutExpired."""
        return subprocess.run(self.ssh_argv(name, *command), capture_output=True, text=True, timeout=timeout_s, check=False)

    def ssh_argv(self, name: str, *command: str) -> list[str]:
        """Plain OpenSSH as the host's admin, its key pinned."""
        host = self.host(name)
        known = self.folder / "known_hosts"
        known.write_text("".join(f"[{each.address}]:{each.port},{each.address} {each.host_key}\n" for each in self.state.hosts))
        options = ["BatchMode=yes", "IdentitiesOnly=yes", f"UserKnownHostsFile={known}", "StrictHostKeyChecking=yes", "LogLevel=ERROR"]
        argv = ["ssh", "-F", "none", "-i", str(self.key), "-p", str(host.port)]
        for option in options:
            argv += ["-o", option]
        return [*argv, f"{host.admin_user}@{host.address}", *command]


def quiet(_line: str) -> None:
    """Progress that nobody reads."""


def banner(host: LabHost, timeout_s: float) -> str:
    """What a connect comes to: ssh, timeout, refused, silent, closed, or the error's name."""
    try:
        with socket.create_connection((host.address, host.port), timeout=timeout_s) as connection:
            try:
                return "ssh" if connection.recv(4) == b"SSH-" else "closed"
            except TimeoutError:
                return "silent"
    except TimeoutError:
        return "timeout"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return type(error).__name__


@pytest.fixture(scope="session")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Bare hosts that fleet tests share; whoever breaks one heals it."""
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("eight")
    driver = NspawnDriver(folder, SystemClock())
    driver.up(Wish(folder, HOSTS, make_key(folder / "admin")), quiet)
    yield Lab(folder, folder / "admin")
    driver.down(quiet)


@pytest.fixture
def lab(eight: Lab) -> Iterator[Lab]:
    """The same; faults that a test left are healed after it."""
    yield eight
    for host in eight.state.hosts:
        heal(eight.folder, host.name, None, SystemClock())


@pytest.fixture(scope="session")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetLab]:
    """Eight hosts that trade release OLD; NEW (good) and BROKEN (does not come up) are built."""
    if reason := why_not():
        pytest.skip(reason)
    lab = bring_up(tmp_path_factory.mktemp("fleet"), "nspawn", HOSTS)
    try:
        lab.build(OLD)
        lab.must("deploy", short_id(lab.releases[OLD]))
        assert lab.trading() == set()
        lab.permit("first start")
        lab.build(NEW)
        lab.build(BROKEN)
        yield lab
    finally:
        take_down(lab)


@pytest.fixture
def fleet(enrolled: FleetLab) -> Iterator[FleetLab]:
    """The same, whole before each test and healed after it."""
    enrolled.make_whole()
    yield enrolled
    enrolled.heal_all()
