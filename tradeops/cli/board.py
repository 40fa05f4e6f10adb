"""The live board of a run: which release replaces which, a line per host, what comes next, what Ctrl-C leaves.

Values in, values out: what the run tells makes the next state, and a state makes a picture of so many columns and lines.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tradeops.base.clock import NS_PER_S
from tradeops.base.digest import short
from tradeops.cli import gateview
from tradeops.cli.marks import named
from tradeops.cli.render import clean, styled
from tradeops.cli.report import GOING, NO, YES, age
from tradeops.deploy.site import GateProgress, PhaseProgress, Told

if TYPE_CHECKING:
    from tradeops.deploy.plan import Plan

WAITS, BEGUN, DONE, FAILED = "waits", "begun", "done", "failed"
_GLYPHS = {WAITS: "·", BEGUN: GOING, DONE: YES, FAILED: NO}
_BEFORE_WAVES = ("preflight", "lock", "stage")
_ROWS_MIN = 3
WAITED_NS = 2 * NS_PER_S
_WORDS = {
    "preflight": ("is asked what it is fit for", "answered"),
    "lock": ("is being locked", "locked"),
    "stage": ("takes the release in", "has the release, verified"),
    "drain": ("halts, its orders are cancelled", "halted, no order working"),
    "stop": ("stops", "stopped, no process left"),
    "switch": ("is switched", "switched"),
    "start": ("starts", "started"),
    "prove": ("says what it runs", "proved"),
    "smoke": ("is checked before it trades", "fit to trade"),
    "lease": ("is lent to the run", "trades only while the run is heard of"),
    "resume": ("is let trade again", "through: proved, checked, resumed"),
    "bake": ("runs for its time", "ran for its time"),
    "gate": ("is judged beside the others", "passed its gate"),
    "let-go": ("is let go", "trades on without the run"),
    "hold": ("is held", "held, takes no new risk"),
    "regain": ("is taken hold of again", "held by the run again"),
    "whole": ("hashes what it ran before", "has what it ran before, whole"),
    "prove-standby": ("says what stands by", "standby proved"),
    "smoke-standby": ("is checked beside what trades", "standby fit to trade"),
    "cutover": ("gives the token to the other slot", "cut over"),
    "stand-down": ("is stood down", "stood down, no slot writes"),
    "warm": ("keeps the old slot warm", "old slot was kept warm"),
    "end-standby": ("ends what stands by", "nothing stands by"),
    "finish": ("keeps the record", "done"),
    "unlock": ("is being unlocked", "unlocked"),
}
"""A phase under way and done, said of one host; any other phase goes by its name."""


@dataclass(frozen=True)
class Course:
    """What a run was planned to do. title: which release replaces which.  waves: names of hosts."""

    run: str
    title: str
    waves: tuple[tuple[str, ...], ...]

    def wave_of(self, hosts: Iterable[str]) -> int | None:
        """The one wave that all these are in, from 0; None when they are of several."""
        found = {number for number, wave in enumerate(self.waves) for host in hosts if host in wave}
        return found.pop() if len(found) == 1 and len(self.waves) > 1 else None


@dataclass(frozen=True)
class Step:
    """Where one host is. took_ns: how long the phase took there, None while it is under way."""

    phase: str = ""
    state: str = WAITS
    since_ns: int = 0
    took_ns: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class Span:
    """The phase that the run is in."""

    phase: str
    hosts: tuple[str, ...]
    began_ns: int


@dataclass(frozen=True)
class Board:
    """What a run has told so far. back: it failed, or was begun to be undone, and takes hosts back.  gate: while one judges."""

    command: str
    began_ns: int
    steps: Mapping[str, Step]
    course: Course | None = None
    span: Span | None = None
    back: bool = False
    passed: frozenset[str] = field(default_factory=frozenset)
    gate: GateProgress | None = None

    def wave(self) -> int | None:
        """The wave that the run is in, from 0; None: none, or all hosts."""
        return self.course.wave_of(self.span.hosts) if self.course and self.span else None

    def label(self) -> str:
        """Where the run is, in front of a phase."""
        wave, waves = self.wave(), len(self.course.waves) if self.course else 0
        return ("taking back: " if self.back else "") + (f"wave {wave + 1} of {waves}: " if wave is not None else "")


def course_of(plan: Plan, run: str, command: str) -> Course:
    """A plan's run in words."""
    olds = {short(part.old) if part.old else "nothing" for part in plan.hosts}
    old = olds.pop() if len(olds) == 1 else f"{len(olds)} releases"
    new = f"{plan.service} {short(plan.release)} (number {plan.number})"
    title = f"{old} comes back for {new}" if command == "runs abort" else f"{new} replaces {old}"
    return Course(run, title, tuple(plan.wave(number) for number in range(plan.waves())))


def after(board: Board, told: Told, now_ns: int) -> Board:
    """The board when the run has told this."""
    if isinstance(told, GateProgress):
        return replace(board, gate=told)
    if isinstance(told, PhaseProgress):
        return _after_phase(board, told, now_ns)
    before = board.steps.get(told.host, Step())
    since_ns = before.since_ns if before.phase == told.phase else now_ns
    state = BEGUN if told.state == "started" else told.state
    took_ns = None if state == BEGUN else now_ns - since_ns
    return replace(board, steps={**board.steps, told.host: Step(told.phase, state, since_ns, took_ns, _line(told.detail))})


def _after_phase(board: Board, told: PhaseProgress, now_ns: int) -> Board:
    steps = dict(board.steps)
    if told.state == "begun":
        steps |= {host: Step(told.phase, BEGUN, now_ns) for host in told.hosts}
        return replace(board, steps=steps, span=Span(told.phase, told.hosts, now_ns), gate=None)
    for host in told.hosts if told.state == "done" else told.problems:
        since_ns = steps[host].since_ns if host in steps else now_ns
        steps[host] = Step(told.phase, told.state, since_ns, now_ns - since_ns, _line(told.problems.get(host, "")))
    passed = board.passed | set(told.hosts) if (told.phase, told.state) == ("resume", "done") else board.passed
    back = board.back or (told.state == "failed" and told.phase not in (*_BEFORE_WAVES, "end-standby"))
    return replace(board, steps=steps, back=back, passed=passed)


def next_words(board: Board) -> str:
    """What happens after what happens now."""
    wave, waves = board.wave(), board.course.waves if board.course else ()
    phase = board.span.phase if board.span else "preflight"
    if board.course is None:
        return "every host is locked and given the release; nothing is touched before all have answered"
    if board.back:
        return "every host is back on what it ran before, and proved"
    if phase == "hold":
        return f"a person: `tradeops runs resume {board.course.run}` when evidence can come, or `tradeops runs abort {board.course.run}`"
    if phase in _BEFORE_WAVES:
        return f"wave 1 of {len(waves)}: {named(waves[0])}"
    if wave is not None and wave + 1 < len(waves):
        return f"wave {wave + 2} of {len(waves)}: {named(waves[wave + 1])}"
    return "every host is proved once more" if wave is not None or len(waves) == 1 else "the end"


def stop_words(board: Board) -> str:
    """How the run is stopped, and what that leaves."""
    phase = board.span.phase if board.span else "preflight"
    if board.course is None:
        return "Ctrl-C stops it: nothing was touched"
    if phase in _BEFORE_WAVES:
        return "Ctrl-C stops it: no host is switched, the locks are given back"
    here = [host for host in board.span.hosts if host not in board.passed] if board.span else []
    left = f"leaves {named(here)} halted" if here else "leaves every host on the release"
    return f"Ctrl-C stops it and {left}; `tradeops runs abort {board.course.run}` takes the fleet back"


def draw(board: Board, now_ns: int, *, width: int, height: int) -> Any:
    """The board as a rich renderable of at most that many columns and lines."""
    from rich.console import Group
    from rich.text import Text

    head = [_fold(line, width) for line in _head(board, now_ns)]
    foot = [_fold(line, width) for line in (f"next: {next_words(board)}", stop_words(board), KILL_HINT)]
    room = height - sum(len(part) for part in (*head, *foot)) - 4
    gate = [*gateview.lines(board.gate, width, max(_ROWS_MIN, room - _ROWS_MIN - 2)), Text()] if board.gate else []
    rows = _hosts(board, now_ns, max(_ROWS_MIN, room - len(gate)))
    lines = [Text(line, style="bold" if part is head[0] else "") for part in head for line in part]
    return Group(*lines, Text(), *gate, rows, Text(), *(Text(line) for part in foot for line in part))


KILL_HINT = 'stop trading: `tradeops kill-switch --all --reason "..."`'


def _head(board: Board, now_ns: int) -> Iterable[str]:
    yield f"{board.command} {board.course.run if board.course else ''}  {age((now_ns - board.began_ns) / NS_PER_S)}"
    if board.course is not None:
        yield clean(board.course.title)
    if board.span is not None:
        where = f"{board.label()}{board.span.phase} on {named(board.span.hosts)}"
        if board.gate:
            yield f"{board.label()}gate: {gateview.headline(board.gate)}"
            return
        yield f"{where}; {len(board.passed)} of {len(board.steps)} hosts through" if board.course and not board.back else where


def _hosts(board: Board, now_ns: int, rows_max: int) -> Any:
    """A row per host in the order of the waves; where they do not all fit, those that wait or are done give way."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    grid.add_column("host", no_wrap=True)
    grid.add_column("wave", no_wrap=True)
    grid.add_column("phase", no_wrap=True)
    grid.add_column("state", no_wrap=True, overflow="ellipsis", ratio=1)
    grid.add_column("time", no_wrap=True, justify="right")
    shown = _chosen(board, rows_max)
    waves = {host: str(number + 1) for number, wave in enumerate(board.course.waves if board.course else ()) for host in wave}
    for host in shown:
        step = board.steps[host]
        state = Text(f"{_GLYPHS[step.state]} {_said(step, now_ns)}", style=styled(_GLYPHS[step.state]))
        grid.add_row(Text(clean(host)), waves.get(host, ""), step.phase, state, _time(step, now_ns))
    if hidden := [board.steps[host] for host in board.steps if host not in shown]:
        counts = {state: sum(step.state == state for step in hidden) for state in _GLYPHS}
        grid.add_row(f"… {len(hidden)} more", "", "", ", ".join(f"{n} {state}" for state, n in counts.items() if n), "")
    return grid


def _chosen(board: Board, rows_max: int) -> list[str]:
    order = list(board.steps)
    if len(order) <= rows_max:
        return order
    rank = {FAILED: 0, BEGUN: 1, DONE: 2, WAITS: 3}
    kept = sorted(order, key=lambda host: rank[board.steps[host].state])[: rows_max - 1]
    return [host for host in order if host in kept]


def _said(step: Step, now_ns: int) -> str:
    """What a phase waits for is told when it waits: a process takes a moment to come up."""
    doing, done = _WORDS.get(step.phase, (step.phase, f"{step.phase} done"))
    words = {WAITS: "waits", BEGUN: doing, DONE: done, FAILED: "failed"}[step.state]
    told = step.detail and (step.state != BEGUN or now_ns - step.since_ns > WAITED_NS)
    return clean(f"{words}: {step.detail}" if told else words)


def _time(step: Step, now_ns: int) -> str:
    if step.state == WAITS:
        return ""
    return age((step.took_ns if step.took_ns is not None else now_ns - step.since_ns) / NS_PER_S)


def _line(detail: str) -> str:
    return detail.splitlines()[0] if detail else ""


def _fold(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=True) or [""]
