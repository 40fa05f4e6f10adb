"""Looking again and again: found within seconds, told when it changes, ended by Ctrl-C with 130."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from tests.support.console import Console
from tests.support.terminal import Terminal
from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import ExitCode, WatchEnded
from tradeops.cli.context import Context, Options
from tradeops.cli.render import Printer
from tradeops.cli.report import Report
from tradeops.cli.watch import LOOK_S, PAUSE_S, watch


class Ticks:
    """The console's clock as a command sees it: on each sleep the next thing happens, and after the last Ctrl-C."""

    def __init__(self, console: Console, *acts: Any) -> None:
        self._clock = console.world.clock
        self._acts = list(acts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)

    def sleep_s(self, seconds: float) -> None:
        """Time passes, and something happens."""
        self._clock.sleep_s(seconds)
        if not self._acts:
            raise KeyboardInterrupt
        self._acts.pop(0)()


def watching(console: Console, command: str, *acts: Any) -> tuple[ExitCode, str, str]:
    """Run a watch with what happens between its looks."""
    console.clock = Ticks(console, *acts)
    said = console.run(command, "--watch")
    return said.code, said.out, said.err


@pytest.mark.parametrize(
    ("command", "well", "odd"), [("verify", "8 of 8 hosts are", "odd: h5"), ("status", "8 of 8 hosts trade", "7 of 8")]
)
def test_a_change_is_told_once_and_ctrl_c_ends_with_130(console: Console, command: str, well: str, odd: str) -> None:
    """D03: the next look finds it; what stays the same is not told again; the last word says what was seen."""
    host = console.world.truth["h5"]

    def drift() -> None:
        host.faults.add("flipped_byte" if command == "verify" else "guard_dead")

    code, out, err = watching(console, command, lambda: None, drift, lambda: None)
    assert code == ExitCode.INTERRUPTED
    assert (out.count(well), out.count(odd)) == (1, 1)
    assert "watching has ended" in err
    assert odd in err


def test_drift_is_found_within_five_seconds_beside_two_silent_hosts(console: Console) -> None:
    """D03: two hosts that drop packets hold up no look for longer than the others can afford."""
    clock, moments = console.world.clock, []

    def break_it() -> None:
        console.world.truth["h5"].faults.add("flipped_byte")
        moments.append(clock.monotonic_ns())

    for host in ("h2", "h7"):
        console.world.truth[host].faults.add("ssh_hang")
    code, out, _ = watching(console, "verify", break_it, lambda: moments.append(clock.monotonic_ns()))
    assert code == ExitCode.INTERRUPTED
    assert "odd: h5, h2, h7" in out
    assert (moments[1] - moments[0]) / NS_PER_S + LOOK_S < 5


def test_a_watch_of_a_person_is_a_picture(tmp_path: Path) -> None:
    """On a terminal the report is drawn in place, with its age, and nothing is left of it."""
    screen, out = Terminal(), io.StringIO()
    context = Context(Options(tmp_path / "none.yml", False, False, None, None), Printer(as_json=False, out=out, err=screen))
    looks = 0

    def look() -> Report:
        nonlocal looks
        looks += 1
        if looks > 1:
            screen.wait_for("Ctrl-C ends this", timeout_s=20)
            raise KeyboardInterrupt
        return Report("x", "all is well", next="nothing")

    with pytest.raises(WatchEnded, match="ended") as ended:
        watch(context, look, sameness=lambda report: report)
    assert ended.value.holds == "nothing was changed; last seen: all is well"
    assert "all is well" in screen.getvalue()
    assert out.getvalue() == ""


def test_two_looks_and_a_pause_are_less_than_five_seconds() -> None:
    """D03, by the numbers."""
    assert 2 * LOOK_S + PAUSE_S < 5
