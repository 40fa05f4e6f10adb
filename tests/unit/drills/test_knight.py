"""The Knight drill as data: what it says is what the tool has, and its judgement of the guard is sound."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from tradeops.base.clock import NS_PER_S, VirtualClock
from tradeops.base.errors import ExitCode
from tradeops.cli.app import command_line
from tradeops.drills import knight
from tradeops.drills.releases import FLAG, MEANING
from tradeops.drills.story import Stage
from tradeops.lab.kinds import checked
from tradeops.lab.powerpeg import FIRST_CHILD, PROGRAM
from tradeops.lab.state import SCHEMA, LabHost, LabState, StateFile
from tradeops.trader.flags import KNOWN


def test_every_act_is_a_command_of_the_tool() -> None:
    """Each names a command that there is; every door ends in 9."""
    root: Any = typer.main.get_command(command_line())
    acts = knight.acts()
    for act in acts:
        assert root.get_command(None, act.argv[0]) is not None, act.name
    assert [act.name for act in acts if act.expected is ExitCode.REFUSED] == [
        "reuse",
        "build it",
        "deploy it",
        "activate in a mixed fleet",
        "back to old code",
        "back once more",
    ]


def test_its_flag_is_the_traders_own_and_its_fault_is_known() -> None:
    """The meaning is word for word the trader's; the program is Python."""
    assert KNOWN[FLAG] == MEANING
    compile(PROGRAM, "power-peg", "exec")
    assert checked("power-peg", {})[1]["parents"] == "27"


class Watched(Stage):
    """A stage on which `status` says what the test says."""

    def __init__(self, folder: Path, marks: list[dict[str, Any]]) -> None:
        self.said: list[str] = []
        self.marks = marks
        super().__init__(folder, VirtualClock(), self.said.append)

    def run(self, argv: Any) -> subprocess.CompletedProcess[str]:
        """`status --json`, ten seconds later."""
        self.clock.sleep_s(10)
        hosts = [{"host": "h8", "marks": self.marks}, {"host": "h1", "marks": []}]
        return subprocess.CompletedProcess(argv, 0, json.dumps({"hosts": hosts}), "")


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A lab's folder with the log of host 8, whose first child left at second 100."""
    host = LabHost("h8", "127.0.0.1", 1, 2, "key", "/opt", str(tmp_path / "h8"), "admin", "python3", "supervisord")
    state = LabState(SCHEMA, "0abcde", "local", str(tmp_path), "", "", "", (host,))
    (tmp_path / "h8" / "logs").mkdir(parents=True)
    (tmp_path / "h8" / "logs" / "spawned.log").write_text(f"{FIRST_CHILD}{100 * NS_PER_S}\n")
    StateFile(tmp_path).create(state)
    return tmp_path


@pytest.mark.parametrize(
    ("by", "at_s", "said"),
    [("out-versus-in", 100.4, ""), ("out-versus-in", 101.5, "it took 1500 ms"), ("operator-1", 100.4, "did nothing")],
)
def test_only_the_guards_own_kill_in_time_counts(lab: Path, by: str, at_s: float, said: str) -> None:
    """R06: within a second of the first child, by the control itself and by nobody else."""
    mark = {"kind": "kill", "by": by, "reason": "r", "since_wall_ns": int(at_s * NS_PER_S)}
    found = knight.ended_by_its_guard(Watched(lab, [mark]))
    assert said in found
    assert bool(found) == bool(said)
