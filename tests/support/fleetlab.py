"""An enrolled lab with releases, driven by the tool's own command line, as a person or a CI job drives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.wait import until
from tradeops.base.clock import SystemClock
from tradeops.contracts.status import Status
from tradeops.deploy.asked import asked
from tradeops.deploy.journal import list_runs
from tradeops.drills.releases import write_services
from tradeops.fleet.control import HttpControls
from tradeops.fleet.inventory import load_fleet
from tradeops.fleet.outcome import values
from tradeops.lab import up as lab_up
from tradeops.lab.faults import heal, inject
from tradeops.lab.state import LabState, StateFile
from tradeops.release.store import Store

CLOCK = SystemClock()
Act = Callable[["subprocess.Popen[str]"], None]
"""What is done to a command under way."""
COMMAND_S = 150.0


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document on stdout."""
        return json.loads(self.out)

    def host(self, name: str) -> dict[str, Any]:
        """One host's entry in the document."""
        entry: dict[str, Any] = next(host for host in self.document["hosts"] if host["host"] == name)
        return entry


@dataclass
class FleetLab:
    """A lab in `folder`. releases: version -> id."""

    folder: Path
    releases: dict[int, str] = field(default_factory=dict)

    @property
    def state(self) -> LabState:
        """As lab.json has it now."""
        return StateFile(self.folder).read()

    def names(self) -> list[str]:
        """The hosts."""
        return [host.name for host in self.state.hosts]

    def root(self, host: str) -> Path:
        """The host's tradeops root, as this machine sees its files: over /proc of its first process."""
        entry = self.state.host(host)
        if self.state.driver == "local":
            return Path(entry.root)
        assert entry.init is not None
        return Path(f"/proc/{_leader(entry.init.pid)}/root") / entry.root.lstrip("/")

    def argv(self, *words: str, person: str = "operator-1") -> list[str]:
        """A command line as that person."""
        return [sys.executable, "-m", "tradeops", *words, "--as", person]

    def run(self, *words: str, person: str = "operator-1", timeout_s: float = COMMAND_S) -> Ended:
        """Run one to its end; `--json` is added. Raises TimeoutExpired when it does not end."""
        done = subprocess.run(
            self.argv(*words, "--json", person=person),
            cwd=self.folder,
            env=_env(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def must(self, *words: str, person: str = "operator-1", code: int = 0) -> Ended:
        """Run one that ends with `code`."""
        ended = self.run(*words, person=person)
        assert ended.code == code, f"{' '.join(words)}: exit {ended.code}, {code} expected\n{ended.out[-3000:]}\n{ended.err[-3000:]}"
        return ended

    def interrupted(self, *words: str, at: str, how: signal.Signals) -> Ended:
        """Run one and send it a signal when its progress says `at`."""
        return self.midway(*words, at=at, act=lambda process: process.send_signal(how))

    def midway(self, *words: str, at: str, act: Act) -> Ended:
        """Run one and do something to it, or to the hosts, when its progress says `at`."""
        return self.watched(*words, acts={at: act})

    def watched(self, *words: str, acts: Mapping[str, Act]) -> Ended:
        """Run one, and do each act once, when its progress says so."""
        process = subprocess.Popen(
            self.argv(*words), cwd=self.folder, env=_env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        due = dict(acts)
        with process:
            assert process.stderr and process.stdout
            seen = []
            for line in process.stderr:
                seen.append(line)
                for at in [at for at in due if at in line]:
                    due.pop(at)(process)
            out = process.stdout.read()
        return Ended(process.returncode, out, "".join(seen))

    def build(self, version: int) -> str:
        """Build the release of that version, once, under the next number; its id."""
        if version not in self.releases:
            self.releases[version] = self.must("build", f"service-{version}").document["release"]
        return self.releases[version]

    def build_again(self, version: int) -> str:
        """The same under a newer number: hosts that have seen newer ones take no older one."""
        self.releases.pop(version, None)
        return self.build(version)

    def permit(self, cause: str = "test") -> None:
        """Two people let every host trade."""
        self.must("permit", "--all", "--cause", cause, "--and", "risk-1")

    def look(self) -> dict[str, Status]:
        """What the guards say that answer. `status` asks them the same; asked from here, no process has to start for it."""
        fleet = load_fleet(self.folder / "fleet.yml")
        return values(HttpControls(fleet.state.tls, CLOCK).statuses(fleet.hosts, deadline_s=fleet.deadlines.control))

    def trading(self) -> set[str]:
        """Hosts that say they trade."""
        return {host for host, status in self.look().items() if status.trading}

    def fault(self, host: str, kind: str, **settings: str) -> None:
        """Break something."""
        inject(self.folder, host, kind, settings, CLOCK)

    def heal_all(self) -> None:
        """Undo every fault."""
        for host in self.names():
            heal(self.folder, host, None, CLOCK)

    def pids(self) -> dict[str, int]:
        """Host -> pid of its trader, as its vitals tell."""
        return {host: status.vitals.identity.pid for host, status in self.look().items() if status.vitals}

    def open_runs(self) -> list[str]:
        """Runs without an end, newest first."""
        runs = list_runs(load_fleet(self.folder / "fleet.yml").state.runs)[::-1]
        return [journal.run for journal in runs if journal.end() is None]

    def make_whole(self) -> None:
        """Healed, no run open, every host on what it should run and trading: what every test begins with."""
        self.heal_all()
        if left := self.open_runs():
            assert until(lambda: self.run("runs", "abort", left[0]).code == 0, 60), "the open run cannot be aborted"
        if not self._trade() and not self._let_trade():
            runs = load_fleet(self.folder / "fleet.yml").state.runs
            self.must("deploy", short_id(next(iter(asked(runs).values()))))
            assert self._let_trade(), "not all hosts trade"

    def _trade(self) -> bool:
        return self.trading() == set(self.names())

    def _let_trade(self) -> bool:
        """End halts and kills; whether all trade then. What runs is not what should: no permit makes it trade."""
        self.run("resume", "--all", "--reason", "test")
        return self._trade() or (self.run("permit", "--all", "--cause", "test", "--and", "risk-1").code == 0 and self._trade())


def short_id(release: str) -> str:
    """As a person would type it."""
    return release.removeprefix("sha256:")[:12]


def bring_up(folder: Path, driver: str, hosts: int) -> FleetLab:
    """A lab with service folders and nothing deployed."""
    lab_up.up(folder, driver, hosts, CLOCK, lambda _line: None)
    write_services(folder, now_ns=CLOCK.wall_ns())
    return FleetLab(folder)


def take_down(lab: FleetLab) -> None:
    """The end of it."""
    lab_up.down(lab.folder, CLOCK, lambda _line: None)


def store_of(lab: FleetLab) -> Store:
    """The lab's releases."""
    return Store(load_fleet(lab.folder / "fleet.yml").state.releases)


def _env() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TRADEOPS_")}


def _leader(keeper: int) -> int:
    """The host's first process below the one that keeps it up."""
    pid = keeper
    for _ in range(4):
        children = _children(pid)
        if not children:
            return pid
        pid = children[0]
        if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
            return pid
    return pid


def _children(pid: int) -> Sequence[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
