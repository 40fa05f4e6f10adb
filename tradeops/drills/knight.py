"""1 August 2012 once more (SEC 34-70694), on a local lab: refused at every door; forced by hand, found, named and ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tradeops.base.clock import NS_PER_MS, NS_PER_S, Clock
from tradeops.base.errors import ExitCode
from tradeops.drills.demo import HOSTS, permit_acts
from tradeops.drills.releases import FLAG, MEANING, flag_lines, write_service
from tradeops.drills.story import RELEASE, Act, Done, Stage, on_a_lab
from tradeops.lab.powerpeg import FIRST_CHILD
from tradeops.lab.state import StateFile

ANOTHER = "Routes retail orders to the new liquidity programme."
ODD = "h8"
HALTED_NS_MAX = NS_PER_S
"""The guard of the odd host acts by itself within this, from the first child order on (R06)."""
_LOOK_S_MAX = 30.0
_LEDGER = ("--flags", "flags.json")
_FORGED = ("--flags", "forged.json")
_AS = ("--as", "operator-1")
_PLAYBOOK = """\
# A canary of seconds instead of hours, for a drill alone.
schema: tradeops/playbook/v1
name: activate-quickly
steps:
  - {hosts: "1", flow: 10%, bake: 3s}
  - {hosts: 100%, bake: 1s}
"""


def prepare(folder: Path) -> None:
    """Services and a playbook beside the lab's fleet file: the code without the flag, with it off, and with its id reused."""
    write_service(folder, "service-1", 1)
    write_service(folder, "service-2", 2, flag_lines(MEANING, active=False))
    write_service(folder, "reused", 3, flag_lines(ANOTHER, active=False))
    (folder / "playbooks").mkdir(exist_ok=True)
    (folder / "playbooks" / "activate-quickly.yml").write_text(_PLAYBOOK, encoding="utf-8")


def acts() -> tuple[Act, ...]:
    """In order. The lab names its hosts h1 to h8, its people operator-1 and risk-1."""
    refused = ExitCode.REFUSED
    return (
        Act("declare", "A flag gets its meaning, once, for ever.", ("flags", "declare", FLAG, "--meaning", MEANING, *_LEDGER, *_AS)),
        Act("release 1", "The code that does not know the flag.", ("build", "service-1", *_LEDGER, *_AS)),
        Act("deploy 1", "It goes to eight new hosts.", ("deploy", RELEASE, *_AS), release=1, trading=0),
        *permit_acts("permit", "Two people with two keys permit trading."),
        Act("release 2", "The code that knows the flag, off.", ("build", "service-2", *_LEDGER, *_AS)),
        Act("deploy 2", "It replaces the first while the fleet trades.", ("deploy", RELEASE, *_AS), release=2, trading=HOSTS),
        *_doors(refused),
        Act(
            "activate",
            "Every host is proved: the flag goes on, one host first, which goes down its path.",
            ("flags", "activate", FLAG, "--playbook", "activate-quickly", *_AS),
            trading=HOSTS,
        ),
        Act(
            "back to old code",
            "While the flag is on, nobody goes back to code that takes it for something else.",
            ("rollback", "--to", RELEASE, *_AS),
            refused,
            release=1,
            names=f"{FLAG} is active",
        ),
        Act(
            "Power Peg",
            f"By hand: old code on {ODD} takes 27 of 212 parents and sends children without end. Its guard ends that by itself.",
            ("lab", "fault", ODD, "power-peg"),
            check=ended_by_its_guard,
        ),
        Act("status", f"The fleet is looked at: {ODD} comes first.", ("status",), names=ODD, check=_odd_one_first),
        Act(
            "back once more",
            "The incident is no reason to go back while the flag is on: on that day seven good servers were made bad so.",
            ("rollback", "--to", RELEASE, *_AS),
            refused,
            release=1,
            names=f"{FLAG} is active",
        ),
        Act(
            "kill",
            "One command ends it: every host confirmed.",
            ("kill-switch", "--all", "--reason", "Power Peg", *_AS),
            names=f"{HOSTS} of {HOSTS} HOSTS BLOCKED",
            trading=0,
        ),
    )


def _doors(refused: ExitCode) -> tuple[Act, ...]:
    """Every way in that the tool itself has."""
    return (
        Act("reuse", "The old flag with a new meaning.", ("flags", "declare", FLAG, "--meaning", ANOTHER, *_LEDGER, *_AS), refused),
        Act("build it", "A release with that meaning.", ("build", "reused", *_LEDGER, *_AS), refused, names="another meaning"),
        Act("forge", "By hand: another ledger.", ("flags", "declare", FLAG, "--meaning", ANOTHER, *_FORGED, *_AS)),
        Act("build it all the same", "The forged ledger lets it pass.", ("build", "reused", *_FORGED, *_AS)),
        Act(
            "deploy it",
            "The hosts know the flag by its old meaning: refused.",
            ("deploy", RELEASE, *_AS),
            refused,
            release=3,
            names="another meaning than what runs now",
        ),
        Act("tamper", f"By hand: a file of the running release on {ODD} is another.", ("lab", "fault", ODD, "changed-file")),
        Act(
            "activate in a mixed fleet",
            "Seven of eight is no parity: refused.",
            ("flags", "activate", FLAG, "--playbook", "activate-quickly", *_AS),
            refused,
            names=ODD,
        ),
        Act("put it right", "The file is put right.", ("lab", "heal", ODD)),
    )


def ended_by_its_guard(stage: Stage) -> str:
    """Why it is not true that the odd host's guard killed it within the time; empty when it is."""
    until_ns = stage.clock.monotonic_ns() + int(_LOOK_S_MAX * NS_PER_S)
    while stage.clock.monotonic_ns() < until_ns:
        marks = [mark for host in _status(stage) if host["host"] == ODD for mark in host.get("marks", ())]
        if killed := [mark for mark in marks if mark["kind"] == "kill" and mark["by"] == "out-versus-in"]:
            return _too_late(stage, killed[0])
    return f"the guard of {ODD} did nothing"


def _too_late(stage: Stage, mark: dict[str, Any]) -> str:
    log = Path(StateFile(stage.folder).read().host(ODD).folder) / "logs" / "spawned.log"
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith(FIRST_CHILD)]
    if not lines:
        return "when the first child left is not known"
    took_ns = mark["since_wall_ns"] - int(lines[-1].removeprefix(FIRST_CHILD))
    stage.tell(f"  {ODD} was killed by its own guard {took_ns / NS_PER_MS:.0f} ms after the first child: {mark['reason']}")
    return "" if took_ns <= HALTED_NS_MAX else f"it took {took_ns / NS_PER_MS:.0f} ms"


def _odd_one_first(stage: Stage) -> str:
    hosts = [host["host"] for host in _status(stage)]
    return "" if hosts and hosts[0] == ODD else f"the order is {', '.join(hosts)}"


def _status(stage: Stage) -> list[dict[str, Any]]:
    try:
        hosts: list[dict[str, Any]] = json.loads(stage.run(["status", "--json"]).stdout)["hosts"]
    except (ValueError, KeyError):
        return []
    return hosts


def knight(folder: Path, clock: Clock, tell: Callable[[str], None], *, screen: int | None, keep: bool) -> tuple[Done, ...]:
    """Play it in `folder`; the lab is taken down at the end unless `keep`."""
    return on_a_lab(Stage(folder, clock, tell, screen), HOSTS, prepare, acts(), keep=keep)
