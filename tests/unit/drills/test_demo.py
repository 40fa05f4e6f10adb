"""The demo as data and as judged by its stage; `make demo` plays it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from tests.support.console import write_fleet
from tradeops.base.clock import VirtualClock
from tradeops.base.errors import ExitCode
from tradeops.cli.app import command_line
from tradeops.deploy.playbook import load_playbook
from tradeops.drills.demo import acts, prepare
from tradeops.drills.playbooks import FIRST, TEXTS
from tradeops.drills.story import RUN, Act, Stage, on_a_lab
from tradeops.fleet.inventory import load_fleet


class Scripted(Stage):
    """A stage whose commands end as written: the first word of a command -> its exit code [0]."""

    def __init__(self, folder: Path, codes: dict[str, int]) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.codes = codes
        super().__init__(folder, VirtualClock(), lambda _line: None)

    def run(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Note what is asked."""
        self.asked.append(tuple(argv))
        return subprocess.CompletedProcess(argv, self.codes.get(" ".join(argv[:2]), 0), "h8 did not answer", "")


def _play(stage: Stage, *, keep: bool = False, prepared: list[Path] | None = None) -> Any:
    story = (Act("one", "First.", ("verify", "--one")), Act("two", "Then.", ("verify", "--two"), names="h8"))
    return on_a_lab(stage, 8, (prepared if prepared is not None else []).append, story, keep=keep)


def test_every_act_is_a_command_of_the_tool_and_the_story_has_its_turns() -> None:
    """Refused with nothing touched, brought back, caught by the gate, held without data, found out; everything else ends well."""
    root: Any = typer.main.get_command(command_line())
    for act in acts():
        assert root.get_command(None, act.argv[0]) is not None, act.name
    turns = [act.expected for act in acts() if act.expected is not ExitCode.PROVED]
    assert turns == [ExitCode.PREFLIGHT, ExitCode.BROUGHT_BACK, ExitCode.ROLLED_BACK, ExitCode.INCONCLUSIVE, ExitCode.DRIFT]


def test_its_canaries_are_judged_by_playbooks_that_lie_beside_its_fleet(tmp_path: Path) -> None:
    """D10, D11: by time and events, beside a control group; held when nothing comes, and by no other name than the acts say."""
    write_fleet(tmp_path)
    prepare(tmp_path, now_ns=1)
    asked = {act.argv[act.argv.index("--playbook") + 1] for act in acts() if "--playbook" in act.argv}
    assert asked == TEXTS.keys()
    for name in asked - {FIRST}:
        book = load_playbook(tmp_path / "playbooks" / f"{name}.yml")
        first = book.steps[0]
        assert (book.name, first.hosts, first.flow, book.on_inconclusive.then) == (name, "1", "10%", "hold")
        assert first.bake > 0 and first.events > 0 and book.gate is not None


def test_an_act_may_name_the_newest_run(tmp_path: Path) -> None:
    """What a held canary is ended by."""
    stage = Scripted(tmp_path, {})
    write_fleet(tmp_path)
    runs = load_fleet(tmp_path / "fleet.yml").state.runs
    for run in ("20260101000000-aaaaaa", "20260102000000-bbbbbb"):
        (runs / run).mkdir(parents=True)
        (runs / run / "plan.json").write_text("{}")
    stage.play([Act("end", "End it.", ("runs", "abort", RUN))])
    assert stage.asked == [("runs", "abort", "20260102000000-bbbbbb")]


def test_an_act_is_told_as_it_is_promised(tmp_path: Path) -> None:
    """Of every act what was asked, expected and seen."""
    told = [each.document() for each in _play(Scripted(tmp_path, {}))]
    assert [act["name"] for act in told] == ["lab", "one", "two", "lab down"]
    assert all({"name", "command", "expected_exit", "exit", "seconds", "ok"} <= act.keys() and act["ok"] for act in told)


def test_an_act_that_is_not_as_expected_ends_the_story_and_the_lab_is_taken_down(tmp_path: Path) -> None:
    """What follows is not played; nothing is left up."""
    stage = Scripted(tmp_path, {"verify --one": 10})
    done = _play(stage)
    assert [(each.act.name, each.ok) for each in done] == [("lab", True), ("one", False), ("lab down", True)]
    assert done[1].problem == "exit 10, 0 expected"


def test_words_that_should_name_a_host_and_do_not_are_not_as_expected(tmp_path: Path) -> None:
    """An exit code alone does not tell an operator which host it was."""
    stage = Scripted(tmp_path, {})
    assert stage.play([Act("x", "X.", ("verify",), names="h7")])[0].problem == "it does not name h7"
    assert stage.play([Act("x", "X.", ("verify",), names="h8")])[0].ok


def test_a_lab_that_does_not_come_up_has_no_story_and_one_that_is_kept_stays(tmp_path: Path) -> None:
    """Nothing is prepared or played on a lab that is not there."""
    prepared: list[Path] = []
    stage = Scripted(tmp_path, {"lab up": 1})
    _play(stage, prepared=prepared)
    assert prepared == [] and ("verify", "--one") not in stage.asked
    kept = Scripted(tmp_path, {})
    assert [each.act.name for each in _play(kept, keep=True)] == ["lab", "one", "two"]


def test_a_real_command_is_run_as_a_person_runs_it(tmp_path: Path) -> None:
    """A process of its own, with its words and exit code."""
    stage = Stage(tmp_path, VirtualClock(), lambda _line: None)
    assert stage.play([Act("docs", "Docs.", ("docs", "fleet"), names="hosts_declared")])[0].ok
    assert stage.play([Act("none", "None.", ("no-such-command",), ExitCode.USAGE)])[0].ok
