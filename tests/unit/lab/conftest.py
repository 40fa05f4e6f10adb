"""Two local hosts that are up, brought up once per module that asks for them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tradeops.base.clock import SystemClock
from tradeops.lab.driver import Wish
from tradeops.lab.faults import heal
from tradeops.lab.keys import make_key
from tradeops.lab.local.driver import LocalDriver
from tradeops.lab.state import LabHost, LabState, StateFile

CLOCK = SystemClock()


def quiet(_line: str) -> None:
    """Progress that nobody reads."""


@dataclass(frozen=True)
class Lab:
    """Two hosts that are up."""

    folder: Path
    driver: LocalDriver

    @property
    def state(self) -> LabState:
        """As lab.json has it now."""
        return StateFile(self.folder).read()

    def host(self, name: str) -> LabHost:
        """As lab.json has it now."""
        return self.state.host(name)

    def ssh(
        self, name: str, command: str, user: str = "admin", *, key: str = "admin", data: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Plain OpenSSH with the pinned key."""
        return subprocess.run(self.argv(name, command, user, key), input=data, capture_output=True, timeout=20, check=False)

    def argv(self, name: str, command: str, user: str = "admin", key: str = "admin") -> list[str]:
        """Its command line."""
        host = self.host(name)
        known = self.folder / f"known-{key}"
        known.write_text(f"[{host.address}]:{host.port} {host.host_key}\n")
        argv = ["ssh", "-F", "none", "-i", str(self.folder / key), "-p", str(host.port)]
        for option in ("BatchMode=yes", "IdentitiesOnly=yes", f"UserKnownHostsFile={known}", "StrictHostKeyChecking=yes", "LogLevel=ERROR"):
            argv += ["-o", option]
        return [*argv, f"{user}@{host.address}", command]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Brought up once."""
    folder = tmp_path_factory.mktemp("local")
    driver = LocalDriver(folder, CLOCK)
    key = make_key(folder / "admin")
    driver.up(Wish(folder, 2, key, (key,)), quiet)
    make_key(folder / "stranger")
    yield Lab(folder, driver)
    driver.down(quiet)


@pytest.fixture
def lab(two: Lab) -> Iterator[Lab]:
    """The same; faults that a test left are healed."""
    yield two
    for host in two.state.hosts:
        heal(two.folder, host.name, None, CLOCK)
