"""A story is a list of acts; an act is one command line of the tool with the exit code it must end in.

The commands are run as a person would run them, as processes of their own, so that nothing is proved by a shortcut.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.base.digest import short
from tradeops.base.errors import ExitCode
from tradeops.deploy.journal import list_runs
from tradeops.drills.screen import run_on
from tradeops.fleet.control import HttpControls
from tradeops.fleet.inventory import Fleet, load_fleet
from tradeops.fleet.outcome import errors, values
from tradeops.release.store import Store

ACT_TIMEOUT_S = 180.0
RELEASE = "RELEASE"
"""Stands in an act's argv for the id of the release with the act's number."""
RUN = "RUN"
"""Stands in an act's argv for the id of the newest run."""
_TAIL_LINES = 16
_COLUMNS = 80
_INDENT = "  "
_STATUS_S = 5.0


@dataclass(frozen=True)
class Act:
    """name, says: for the person.  argv: after `tradeops`.  trading: how many hosts must trade afterwards, None: not asked.

    release: number of the release that RELEASE stands for.  names: what the command's words must contain, as the odd host.
    check: what must hold afterwards besides; it says why it does not, or nothing.
    """

    name: str
    says: str
    argv: tuple[str, ...]
    expected: ExitCode = ExitCode.PROVED
    trading: int | None = None
    release: int | None = None
    names: str = ""
    check: Callable[[Stage], str] | None = None


@dataclass(frozen=True)
class Done:
    """What an act came to. problem: why it is not as expected, "" when it is."""

    act: Act
    command: str
    exit_code: int
    seconds: float
    problem: str

    @property
    def ok(self) -> bool:
        """Whether all was as expected."""
        return not self.problem

    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "name": self.act.name,
            "command": self.command,
            "expected_exit": int(self.act.expected),
            "exit": self.exit_code,
            "seconds": round(self.seconds, 2),
            "ok": self.ok,
            "problem": self.problem,
        }


def spell(argv: Sequence[str]) -> str:
    """A command line as a person would type it."""
    return "tradeops " + " ".join(f'"{word}"' if " " in word else word for word in argv)


class Stage:
    """Where acts are played: a folder with a fleet file. tell: one line for the person who watches.

    screen: file descriptor of the terminal that is watched, on which commands draw as they would alone; None: nobody watches.
    """

    def __init__(self, folder: Path, clock: Clock, tell: Callable[[str], None], screen: int | None = None) -> None:
        self.folder = folder
        self.clock = clock
        self.tell = tell
        self.screen = screen

    def play(self, acts: Sequence[Act]) -> list[Done]:
        """Every act in turn; the first that is not as expected is the last."""
        done: list[Done] = []
        for act in acts:
            done.append(self._play(act))
            if not done[-1].ok:
                break
        return done

    def run(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """One command line of the tool, in the folder. A command that hangs ends with exit code 1."""
        command = [sys.executable, "-m", "tradeops", *argv]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TRADEOPS_")}
        environment["COLUMNS"] = str(_COLUMNS - len(_INDENT))
        try:
            if self.screen is not None:
                return run_on(self.screen, command, folder=self.folder, environment=environment, timeout_s=ACT_TIMEOUT_S)
            return subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=ACT_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 1, "", f"no end within {ACT_TIMEOUT_S:.0f} s")

    def _play(self, act: Act) -> Done:
        argv = self._argv(act)
        self.tell("")
        for line in _folded(f"== {act.says}", "   "):
            self.tell(line)
        self.tell(f"$ {spell(argv)}")
        began_ns = self.clock.monotonic_ns()
        finished = self.run(argv)
        seconds = (self.clock.monotonic_ns() - began_ns) / NS_PER_S
        words = finished.stderr + finished.stdout
        for line in (finished.stdout if self.screen is not None else words).rstrip().splitlines()[-_TAIL_LINES:]:
            for part in _folded(f"{_INDENT}{line}", 2 * _INDENT):
                self.tell(part)
        problem = self._problem(act, finished.returncode, words)
        self.tell(f"  exit {finished.returncode} in {seconds:.1f} s" + (f" - NOT AS EXPECTED: {problem}" if problem else ", as expected"))
        return Done(act, spell(argv), finished.returncode, seconds, problem)

    def _argv(self, act: Act) -> tuple[str, ...]:
        stands_for = {RELEASE: self._release, RUN: self._run}
        return tuple(stands_for[word](act) if word in stands_for else word for word in act.argv)

    def _release(self, act: Act) -> str:
        found = Store(self._fleet().state.releases).list()
        return next(short(one.id) for one in found if one.manifest.predicate.number == act.release)

    def _run(self, _: Act) -> str:
        return list_runs(self._fleet().state.runs)[-1].run

    def _fleet(self) -> Fleet:
        return load_fleet(self.folder / "fleet.yml")

    def _problem(self, act: Act, exit_code: int, words: str) -> str:
        if exit_code != act.expected:
            return f"exit {exit_code}, {int(act.expected)} expected"
        if act.names not in words:
            return f"it does not name {act.names}"
        problem = "" if act.trading is None else self._trading_problem(act.trading)
        return problem or (act.check(self) if act.check else "")

    def _trading_problem(self, expected: int) -> str:
        """Ask every guard whether its host trades."""
        fleet = self._fleet()
        outcomes = HttpControls(fleet.state.tls, self.clock).statuses(fleet.hosts, deadline_s=_STATUS_S)
        if silent := errors(outcomes):
            return "; ".join(f"{name}: {error.what}" for name, error in silent.items())
        trading = sum(status.trading for status in values(outcomes).values())
        return "" if trading == expected else f"{trading} hosts trade, {expected} expected"


def _folded(line: str, indent: str) -> list[str]:
    """A line that fits stays as it is, a table's too."""
    fits = len(line) <= _COLUMNS
    return [line] if fits else textwrap.wrap(line, _COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def on_a_lab(stage: Stage, hosts: int, prepare: Callable[[Path], None], acts: Sequence[Act], *, keep: bool) -> tuple[Done, ...]:
    """The acts on a local lab of so many hosts, which is taken down at the end unless `keep`. prepare: what lies beside its fleet file."""
    up = Act("lab", f"Start {hosts} hosts and a venue on this machine.", ("lab", "up", "--driver", "local", "--hosts", str(hosts), "."))
    done = stage.play([up])
    try:
        if done[-1].ok:
            prepare(stage.folder)
            done += stage.play(acts)
    finally:
        if not keep:
            done += stage.play([Act("lab down", "Take the lab down.", ("lab", "down"))])
    return tuple(done)
