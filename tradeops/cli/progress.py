"""What a run shows while it goes: a live board on a terminal, else a line per phase and wave and one for each oddity."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.base.errors import TradeopsError
from tradeops.cli import gateview
from tradeops.cli.board import KILL_HINT, Board, Course, Step, after, course_of, draw
from tradeops.cli.context import Context
from tradeops.cli.marks import named
from tradeops.cli.render import Printer
from tradeops.cli.report import NO, UNKNOWN, age
from tradeops.deploy.journal import Journal
from tradeops.deploy.site import GateProgress, PhaseProgress, Progress, Told

ODD_S = 5.0
"""A host that a phase waits for this long is told of, with what it waits for."""
GATE_S = 30.0
"""A gate's evidence so far is told so often."""


class RunProgress:
    """Takes what a run tells, from any thread; a context manager around the run. steps: those that ended, for reports;
    verdicts: what gates came to, a line each.
    """

    def __init__(self, printer: Printer, clock: Clock, command: str, hosts: Sequence[str], runs: Path) -> None:
        self._printer = printer
        self._clock = clock
        self._runs = runs
        self._lock = threading.Lock()
        self._screen = contextlib.ExitStack()
        self._board = Board(command, clock.monotonic_ns(), {host: Step() for host in hosts}, back=command == "runs abort")
        self._told: set[tuple[str, str]] = set()
        self._ended: dict[tuple[str, str], int] = {}
        self._gate_told_ns: int | None = None
        self.steps: list[dict[str, Any]] = []
        self.verdicts: list[str] = []

    def __enter__(self) -> RunProgress:
        self._screen.enter_context(
            self._printer.screen(lambda width, height: draw(self._board, self._clock.monotonic_ns(), width=width, height=height))
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._screen.close()
        if isinstance(error, TradeopsError):
            error.steps = self.steps

    def __call__(self, told: Told) -> None:
        """Called by the run."""
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            if told.run and (self._board.course is None or self._board.course.run != told.run):
                self._begin(told.run)
            label = self._board.label()
            self._board = after(self._board, told, now_ns)
            lines = self._lines(told, label, now_ns)
        if not self._printer.watched:
            for line in lines:
                self._printer.line(line)

    def _begin(self, run: str) -> None:
        """The run's plan was written down before its first phase; a board without it is still a board."""
        command = self._board.command
        try:
            course = course_of(Journal.find(self._runs, run).plan(), run, command)
        except (TradeopsError, OSError):
            course = Course(run, "", (tuple(self._board.steps),))
        steps = {host: self._board.steps.get(host, Step()) for wave in course.waves for host in wave}
        self._board = Board(command, self._board.began_ns, steps, course, back=self._board.back)
        if not self._printer.watched:
            self._printer.line(f"run {run}: {course.title}, {len(steps)} hosts in {len(course.waves)} waves")
            self._printer.line(f"Ctrl-C stops the run; {KILL_HINT}")

    def _lines(self, told: Told, label: str, now_ns: int) -> list[str]:
        if isinstance(told, GateProgress):
            return self._of_gate(told, label, now_ns)
        return self._of_phase(told, label, now_ns) if isinstance(told, PhaseProgress) else self._of_host(told, now_ns)

    def _of_gate(self, told: GateProgress, label: str, now_ns: int) -> list[str]:
        words = gateview.one_line(told)
        if told.trace.verdict.final:
            self._judged(told, words, now_ns)
        elif self._gate_told_ns is not None and now_ns - self._gate_told_ns < GATE_S * NS_PER_S:
            return []
        self._gate_told_ns = now_ns
        return [self._line(now_ns, f"{label}gate: {words}")]

    def _judged(self, told: GateProgress, words: str, now_ns: int) -> None:
        """A gate has had its last word: a step of its own for each metric."""
        self.verdicts.append(f"gate: {words}")
        for one in told.trace.verdict.metrics:
            state, detail = gateview.case(told, one)
            self._end(" ".join(told.arms.canary), f"gate.{one.name}", state, detail, self._judged_ns(now_ns))

    def _judged_ns(self, now_ns: int) -> int:
        """For how long the gate has judged."""
        return now_ns - self._board.span.began_ns if self._board.span else 0

    def _of_phase(self, told: PhaseProgress, label: str, now_ns: int) -> list[str]:
        if told.state == "begun":
            self._told, self._ended, self._gate_told_ns = set(), {}, None
            return []
        span = self._board.span
        took = age((now_ns - span.began_ns) / NS_PER_S) if span else ""
        if told.state == "done":
            return [self._line(now_ns, f"{label}{told.phase} done on {named(told.hosts)}, {took}")]
        failed = f"failed on {len(told.problems)} of {len(told.hosts)} hosts" if told.problems else "was cut short by a kill"
        lines = [self._line(now_ns, f"{NO} {label}{told.phase} {failed}, {took}")]
        for host, problem in told.problems.items():
            self._end(host, told.phase, "failed", problem, self._board.steps[host].took_ns)
            lines.append(self._line(now_ns, f"{NO} {host}: {told.phase}: {_first(problem)}"))
        return lines

    def _of_host(self, told: Progress, now_ns: int) -> list[str]:
        if told.state == "started":
            return self._of_waiting(told, now_ns)
        self._end(told.host, told.phase, told.state, told.detail, self._board.steps[told.host].took_ns)
        self._told.add((told.host, told.state))
        in_phase = self._board.span is not None and self._board.span.phase == told.phase
        if told.state == "done":
            return [self._line(now_ns, f"{told.host}: {told.phase}: {_first(told.detail)}")] if told.detail else []
        if in_phase:
            return []
        return [self._line(now_ns, f"{NO} {told.host}: {told.phase}: {_first(told.detail)}")]

    def _of_waiting(self, told: Progress, now_ns: int) -> list[str]:
        step = self._board.steps[told.host]
        if not told.detail or now_ns - step.since_ns < ODD_S * NS_PER_S or (told.host, "waits") in self._told:
            return []
        self._told.add((told.host, "waits"))
        return [self._line(now_ns, f"{UNKNOWN} {told.host}: {told.phase} waits: {_first(told.detail)}")]

    def _end(self, host: str, phase: str, state: str, detail: str, took_ns: int | None) -> None:
        """A step of one host: the last that it came to in one phase."""
        step = {"host": host, "phase": phase, "state": state, "seconds": (took_ns or 0) / NS_PER_S, "detail": detail}
        at = self._ended.setdefault((host, phase), len(self.steps))
        self.steps[at : at + 1] = [step]

    def _line(self, now_ns: int, words: str) -> str:
        return f"{(now_ns - self._board.began_ns) / NS_PER_S:7.1f} s  {words}"


def run_progress(c: Context, command: str) -> RunProgress:
    """For a run of the whole fleet."""
    return RunProgress(c.printer, c.clock, command, [host.name for host in c.fleet.hosts], c.fleet.state.runs)


def _first(detail: str) -> str:
    return detail.splitlines()[0] if detail else ""
