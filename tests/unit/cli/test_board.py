"""The live board of a run: states from what is told, pictures from states, in any size."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from tests.support.gaterun import SPEC, errors
from tests.support.gates import ARMS, daemons, reading
from tests.support.picture import TARGET
from tests.support.picture import draw as draw_picture
from tradeops.base.clock import NS_PER_S
from tradeops.cli.board import WAITED_NS, Board, Course, Step, after, draw, next_words, stop_words
from tradeops.cli.gateview import headline, spark
from tradeops.deploy.site import GateProgress, PhaseProgress, Progress, Told
from tradeops.gates.arms import Arms
from tradeops.gates.evidence import Point
from tradeops.gates.verdict import Gate

HOSTS = ("h1", "h2", "h3", "h4")
COURSE = Course("run-7", "trader 222222222222 (number 2) replaces 111111111111", (("h1",), ("h2", "h3"), ("h4",)))


def board() -> Board:
    """A deploy that has a plan and has done nothing yet."""
    return Board("deploy", 0, {host: Step() for host in HOSTS}, COURSE)


def phase(name: str, state: str, *hosts: str, **problems: str) -> PhaseProgress:
    """What a run tells of a phase."""
    return PhaseProgress("run-7", name, hosts or HOSTS, state, problems)


def play(*told: Told, begin: Board | None = None) -> Board:
    """What was told, a second between each."""
    now = begin or board()
    for second, each in enumerate(told, 1):
        now = after(now, each, second * NS_PER_S)
    return now


def shown(state: Board, *, now_s: float = 100.0, width: int = 80, height: int = 24) -> list[str]:
    """The picture as lines."""
    out = io.StringIO()
    Console(file=out, width=width, height=height).print(draw(state, int(now_s * NS_PER_S), width=width, height=height))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_first_lines_say_what_goes_on() -> None:
    """Which release replaces which, the run, the wave, how many hosts are through."""
    state = play(phase("resume", "done", "h1"), phase("switch", "begun", "h2", "h3"))
    lines = shown(state)
    assert lines[0] == "deploy run-7  1.7 m"
    assert lines[1] == COURSE.title
    assert lines[2] == "wave 2 of 3: switch on h2 h3; 1 of 4 hosts through"


def test_every_host_has_a_line_with_glyph_and_words() -> None:
    """Never colour alone: the wave, the phase, the state in words, the time."""
    state = play(
        phase("stage", "begun"),
        phase("stage", "done"),
        phase("switch", "begun", "h2", "h3"),
        Progress("run-7", "switch", "h2", "done"),
        phase("start", "begun", "h1"),
    )
    lines = shown(replace(state, steps={**state.steps, "h3": Step("switch", "failed", 0, NS_PER_S, "disk full")}), now_s=6)
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line.startswith("h")}
    assert rows["h1"] == "1 start ▸ starts 1.0 s"
    assert rows["h2"] == "2 switch ✓ switched 1.0 s"
    assert rows["h3"] == "2 switch ✗ failed: disk full 1.0 s"
    assert rows["h4"] == "3 stage ✓ has the release, verified 1.0 s"


def test_what_a_host_waits_for_is_told_when_it_waits() -> None:
    """A process takes a moment to come up: the reason is shown after that."""
    state = play(phase("prove", "begun", "h1"), Progress("run-7", "prove", "h1", "started", "no vitals\nmore"))
    soon = int(WAITED_NS / NS_PER_S)
    assert not any("no vitals" in line for line in shown(state, now_s=soon))
    assert any("▸ says what it runs: no vitals" in line for line in shown(state, now_s=soon + 2))


def test_a_phase_that_is_not_known_goes_by_its_name() -> None:
    """What comes later needs no word here."""
    assert any("▸ rehearse" in line for line in shown(play(phase("rehearse", "begun", "h1"))))
    assert any("✓ rehearse done" in line for line in shown(play(phase("rehearse", "begun", "h1"), phase("rehearse", "done", "h1"))))


@pytest.mark.parametrize(
    ("told", "then", "stop"),
    [
        ((phase("lock", "begun"),), "wave 1 of 3: h1", "no host is switched"),
        ((phase("stop", "begun", "h1"),), "wave 2 of 3: h2 h3", "leaves h1 halted; `tradeops runs abort run-7`"),
        ((phase("drain", "begun", "h4"),), "every host is proved once more", "leaves h4 halted"),
        (
            (phase("resume", "done", "h4"), phase("smoke", "begun", "h4")),
            "every host is proved once more",
            "leaves every host on the release",
        ),
        ((phase("resume", "done"), phase("finish", "begun")), "the end", "leaves every host on the release"),
        ((phase("resume", "done", "h1"), phase("hold", "begun", "h1")), "a person: `tradeops runs resume run-7`", "runs abort run-7"),
        (
            (phase("prove", "begun", "h1"), phase("prove", "failed", "h1", h1="wrong release")),
            "every host is back on what it ran before",
            "runs abort",
        ),
    ],
)
def test_the_last_lines_say_what_comes_and_how_to_stop(told: tuple[PhaseProgress, ...], then: str, stop: str) -> None:
    """Next, and what Ctrl-C leaves: by phase and wave."""
    state = play(*told)
    assert then in next_words(state)
    assert stop in stop_words(state)
    assert any("kill-switch" in line for line in shown(state))


def test_before_the_plan_nothing_was_touched() -> None:
    """Preflight: no run yet."""
    state = play(Progress("", "preflight", "h1", "done"), begin=Board("deploy", 0, {host: Step() for host in HOSTS}))
    assert "nothing is touched" in next_words(state)
    assert "nothing was touched" in stop_words(state)
    assert any("✓ answered" in line for line in shown(state))


def test_going_back_is_said() -> None:
    """After a failure in a wave every phase is one of taking back; one before the waves takes nothing back."""
    failed = play(phase("smoke", "failed", "h1", h1="feed"), phase("drain", "begun", "h1"))
    assert shown(failed)[2] == "taking back: wave 1 of 3: drain on h1"
    assert not play(phase("stage", "failed", "h1", h1="disk full")).back


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 12), (60, 40), (200, 10), (30, 8)])
def test_it_fits_every_terminal(width: int, height: int) -> None:
    """A thousand hosts on any screen: no line too long, none too many while there is room for three hosts."""
    many = {f"host-{number:04}": Step("stage", "done", 0, 1) for number in range(1000)}
    many["host-0500"] = Step("switch", "failed", 0, 1, "x" * 300)
    state = Board("deploy", 0, many, Course("run-7", "a replaces b", (tuple(many),)))
    lines = shown(after(state, phase("switch", "begun", "host-0007"), 1), width=width, height=height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, 20)
    text = "\n".join(lines)
    assert "host-0500" in text
    assert "host-0007" in text
    assert "more" in text


def judging(*, control: tuple[str, ...] = ("h2", "h3", "h4"), beside: str = "old", seconds: int = 40) -> GateProgress:
    """What a gate tells of a canary with half as many errors again."""
    fleet, gate, step = daemons(ARMS), Gate(SPEC, ARMS, bake_s=120.0, exposure_min=300, now_s=0.0), errors(15, 10)
    for second in range(seconds):
        gate.feed(reading(fleet, float(second)), float(second))
        step(second, fleet)
    trace = gate.trace("wave 1")
    assert trace is not None
    return GateProgress("run-7", Arms({"h1": "new"}, dict.fromkeys(control, beside)), trace)


def test_under_a_gate_the_canary_is_shown_beside_the_control() -> None:
    """Evidence so far, time and events still needed, a line per metric, the suspect first, with its course in bars."""
    state = play(phase("gate", "begun", "h1"), judging())
    lines = shown(state, height=30)
    assert re.match(r"wave 1 of 3: gate: h1 beside 3 old: [\d,]+ of 300 events, 39 of 120 s", lines[2])
    at = next(number for number, line in enumerate(lines) if line.startswith("metric"))
    assert re.match(r"▸ error_rate +0\.01[45]\d* +0\.01\d* +[▁-█]{5,12} +[\d.]+ of 800$", lines[at + 1])
    assert any(line.startswith("h1") for line in lines)
    assert not any(line.startswith("metric") for line in shown(after(state, phase("drain", "begun", "h1"), 1)))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 24), (30, 16), (200, 60)])
def test_a_gate_leaves_room_for_the_hosts(width: int, height: int) -> None:
    """The weightiest metrics, and the hosts that are under way."""
    lines = shown(play(phase("stage", "done"), phase("gate", "begun", "h1"), judging()), width=width, height=height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, 26)
    assert any(line.startswith("▸ err") for line in lines) and any(line.startswith("h1") for line in lines)


def test_a_gate_that_has_hardly_begun_shows_what_it_does_not_know() -> None:
    """No rate, no time to go; a last wave has those beside it that passed before, or nobody."""
    assert headline(judging(seconds=1)).startswith("h1 beside 3 old: 0 of 300 events, 0 of 120 s")
    assert headline(judging(beside="new", seconds=1)) == "h1 beside 3 that passed: 0 of 300 events, 0 of 120 s"
    assert headline(judging(control=(), seconds=1)) == "h1 alone: 0 of 300 events, 0 of 120 s"
    assert spark(()) == ""
    assert spark([Point(0.0, None, 1.0), Point(1.0, 0.0, 1.0), Point(2.0, 1.0, 1.0)]) == "▁█"


def test_what_a_host_sends_moves_no_cursor() -> None:
    """Control characters are shown as what they are not."""
    text = "\n".join(shown(play(phase("stop", "begun", "h1"), phase("stop", "failed", "h1", h1="\x1b[2Jgone"))))
    assert "\x1b" not in text
    assert "gone" in text


def test_the_picture_links_to_nothing_and_is_small() -> None:
    """Of the README: no address but the name of its own format, no font, under 60 KB; as `make picture` draws it."""
    kept = TARGET.read_text()
    for svg in (kept, draw_picture("$ tradeops \x1b[32m✓ h1\x1b[0m")):
        assert len(svg.encode()) < 60_000
        assert set(re.findall(r"https?:[^\"]*", svg)) == {"http://www.w3.org/2000/svg"}
        assert not re.search(r"@font-face|@import|href|url\([^#]", svg)
        assert "h1" in svg
