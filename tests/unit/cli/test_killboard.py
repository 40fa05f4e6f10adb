"""What a kill shows: the count large, who is open and why; without a terminal a line per host."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.support.terminal import Terminal
from tradeops.base.clock import SystemClock, VirtualClock
from tradeops.cli.killboard import AFTER_S, KillProgress, draw
from tradeops.cli.large import large
from tradeops.cli.render import Printer
from tradeops.safety.kill import HostKill

DONE = HostKill("h1", "https", 150.0, 160.0, 0)
BLOCKED = HostKill("h2", "ssh", 400.0, None, 3)
OPEN = HostKill("h3", problems={"https": "it did not answer in time"})


def shown(*hosts: HostKill | None, width: int = 80, height: int = 24) -> list[str]:
    """The picture as lines, hosts h1, h2 and so on."""
    out = io.StringIO()
    named = {f"h{number}": host for number, host in enumerate(hosts, 1)}
    Console(file=out, width=width).print(draw(named, 1200.0, 20.0, width=width, height=height))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_count_is_large_and_the_open_hosts_are_first() -> None:
    """K03: confirmed of meant, blocked, orders working, the time; then who is open, by which roads."""
    lines = shown(DONE, BLOCKED, OPEN, None)
    assert [line[: len(figure)] for line, figure in zip(lines, large("1/4"), strict=False)] == [figure.rstrip() for figure in large("1/4")]
    assert lines[0].endswith("hosts confirmed: blocked and clear")
    assert lines[1].endswith("2 of 4 blocked, 3 orders working")
    assert lines[2].endswith("1.2 s of 20 s")
    rows = [line.split() for line in lines if line[:1] in ("✓", "▸")]
    assert [row[1] for row in rows] == ["h3", "h4", "h2", "h1"]
    assert "https: it did not answer in time" in next(line for line in lines if "h3" in line)
    assert "Ctrl-C stops trying" in "\n".join(lines)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 16), (30, 14), (120, 12)])
def test_it_fits_every_terminal(width: int, height: int) -> None:
    """A thousand hosts: those that are open, as many as fit."""
    lines = shown(*[None] * 1000, width=width, height=height)
    assert max(map(len, lines)) <= width
    assert "more" in "\n".join(lines)
    assert len(lines) <= height


def test_figures_are_three_lines() -> None:
    """Of one length, whatever the number."""
    for number in ("0123456789/", "8/8"):
        assert len({len(line) for line in large(number)}) == 1


def test_without_a_terminal_each_host_has_a_line() -> None:
    """Blocked with its road; clear beside it, or later on a line of its own."""
    err = io.StringIO()
    with KillProgress(Printer(as_json=False, out=io.StringIO(), err=err), VirtualClock(), ("h1", "h2"), 20.0) as told:
        told(DONE)
        told(DONE)
        told(BLOCKED)
        told(HostKill("h2", "ssh", 400.0, 900.0, 0))
    assert err.getvalue().splitlines() == [
        "+ h1  blocked 150 ms over https, clear 160 ms",
        "+ h2  blocked 400 ms over ssh",
        "+ h2  clear 900 ms",
    ]
    assert told.summary() == "2 of 2 hosts blocked, 2 of them clear"


def test_a_kill_that_is_over_at_once_shows_no_board() -> None:
    """Nothing flickers, and no screen library is waited for."""
    screen = Terminal()
    with KillProgress(Printer(as_json=False, out=io.StringIO(), err=screen), SystemClock(), ("h1",), 20.0) as told:
        told(DONE)
    assert screen.getvalue() == ""


def test_a_kill_that_lasts_is_watched() -> None:
    """After a moment the board is there, and gone at the end."""
    screen = Terminal()
    with KillProgress(Printer(as_json=False, out=io.StringIO(), err=screen), SystemClock(), ("h1", "h3"), 20.0) as told:
        told(OPEN)
        screen.wait_for("hosts confirmed", timeout_s=AFTER_S + 20)
    assert screen.getvalue().rstrip().endswith("\x1b[2K")
