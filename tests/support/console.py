"""The real command line over a simulated fleet: real files, keys, policy and audit chain; only the ports are simulated."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from tests.sim.samples import SPEC
from tests.sim.world import FLEET, SimReleases, World
from tradeops.base.errors import ExitCode
from tradeops.cli.app import command_line, hoist, run
from tradeops.cli.context import Context, Options
from tradeops.cli.render import Printer
from tradeops.contracts.codec import decode
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.manifest import Manifest
from tradeops.contracts.signature import RunKey
from tradeops.lab.keys import make_key

ACTIVATE = Path(__file__).parents[2] / "playbooks" / "activate-flag.yml"
PEOPLE = {"operator-1": "operator", "risk-1": "risk", "sentinel": "sentinel"}


@dataclass
class SimStore(SimReleases):
    """The operator's store as commands ask it."""

    def get(self, reference: str) -> Any:
        """By id or its beginning."""
        found = next(name for name in self.manifests if name.removeprefix("sha256:").startswith(reference.removeprefix("sha256:")))
        return SimpleNamespace(id=found, manifest=self.manifests[found])

    def list(self) -> list[Any]:
        """All of them."""
        return [self.get(name) for name in self.manifests]

    def newest(self, service: str) -> Any:
        """The one with the highest number."""
        return max(self.list(), key=lambda one: one.manifest.predicate.number)

    def adopt(self, envelope: Envelope) -> Any:
        """One more, whose files are here."""
        made = decode(envelope.body(), Manifest, source="sim")
        self.manifests[made.id()] = made
        return self.get(made.id())


@dataclass(frozen=True)
class Said:
    """What a command line came to."""

    code: ExitCode
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """stdout as the one JSON document."""
        found: dict[str, Any] = json.loads(self.out)
        return found


def write_fleet(folder: Path, *, environment: str = "lab") -> None:
    """fleet.yml of the simulated hosts, initialised and signed; a key for each person; activate-flag with a gate of what they export."""
    hosts = [
        {"name": name, "address": f"192.0.2.{index}", "host_key": RunKey.generate().public_line, "tags": [f"t{index % 2}"]}
        for index, name in enumerate(World(folder / "world").truth, 1)
    ]
    fleet = {"fleet": FLEET, "environment": environment, "ssh_config": None, "known_hosts": None}
    (folder / "fleet.yml").write_text(yaml.safe_dump(fleet | {"hosts_declared": len(hosts), "hosts": hosts}))
    (folder / "playbooks").mkdir()
    (folder / "playbooks" / ACTIVATE.name).write_text(yaml.safe_dump(yaml.safe_load(ACTIVATE.read_text()) | {"gate": SPEC}))
    for person in PEOPLE:
        make_key(folder / person)
    named = [word for person, role in PEOPLE.items() for word in ("--person", f"{person}={folder / person}:{role}")]
    console = Console(folder)
    assert console.run("init", *named).code == ExitCode.PROVED
    assert console.run("fleet", "sign").code == ExitCode.PROVED


class Console:
    """A folder made by `write_fleet`. run: a command line, as `operator-1` unless it says who.

    clock: what commands read time from [the world's].
    """

    clock: Any = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = World(folder / "world")
        self.store = SimStore(self.world.manifests)

    def run(self, *argv: str) -> Said:
        """Carry out a command line."""
        who = () if "--as" in argv else ("--as", "operator-1")
        words = hoist(["--fleet", str(self.folder / "fleet.yml"), *who, *argv])
        out, err = io.StringIO(), io.StringIO()
        code = run(
            words, Printer(as_json="--json" in argv, out=out, err=err), command_line(lambda options, _: self._compose(options, out, err))
        )
        return Said(code, out.getvalue(), err.getvalue())

    def _compose(self, options: Options, out: io.StringIO, err: io.StringIO) -> Context:
        context = Context(options, Printer(as_json=options.as_json, out=out, err=err))
        site = self.world.site()
        ports = {
            "clock": self.clock or site.clock,
            "agents": site.agents,
            "controls": site.controls,
            "fan_out": site.fan_out,
            "store": self.store,
        }
        context.__dict__.update(ports, ssh=SimpleNamespace(close=lambda: None))
        return context

    def trading(self) -> list[str]:
        """The truth: hosts that orders can leave."""
        return [name for name, host in self.world.truth.items() if host.trading()]

    def new_release(self, number: int, **kind: Any) -> str:
        """One more in the store; the beginning of its id."""
        return self.world.release(number, **kind).removeprefix("sha256:")[:12]
