"""The printer: clean, narrow, without colour, without UTF-8, without a terminal."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.terminal import Terminal
from tradeops.base.errors import ExitCode, Refused, TradeopsError
from tradeops.cli.large import large
from tradeops.cli.render import Printer, clean
from tradeops.cli.report import NO, YES, Report, age, error_document, table, when

ROOT = Path(__file__).parents[3]


def shown(report: Report, *, encoding: str = "utf-8", as_json: bool = False) -> str:
    """What stdout gets."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    Printer(as_json=as_json, out=out, err=io.StringIO()).report(report)
    out.flush()
    return raw.getvalue().decode(encoding)


REPORT = Report(
    "x",
    "2 of 3 hosts",
    ExitCode.MIXED,
    tables=(table(("host", "state"), [(f"{YES} h1", "proved"), (f"{NO} h2", None), ("h3", "x" * 200)]),),
    lines=("one more",),
    next="do " + "this and " * 20,
)


def test_a_report_fits_80_columns_in_a_pipe() -> None:
    """Nothing is cut off: long cells and lines are folded."""
    text = shown(REPORT)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("x") >= 200
    assert text.startswith("2 of 3 hosts\n")


def test_no_colour_reaches_a_pipe() -> None:
    """Glyph and words carry the state, never colour alone."""
    text = shown(REPORT)
    assert "\x1b" not in text
    assert "✓ h1" in text
    assert "✗ h2" in text


def test_a_terminal_without_utf_8_gets_plain_signs() -> None:
    """No crash, no mangled bytes."""
    text = shown(REPORT, encoding="ascii")
    assert "+ h1" in text
    assert "x h2" in text


def test_what_a_host_sends_cannot_drive_the_terminal() -> None:
    """Escape sequences, carriage returns, and marks that turn the direction of writing are shown as what they are not."""
    evil = "ok\x1b[2J\x1b]0;title\x07\rhost-1 proved\u202e"
    text = shown(Report("x", evil, lines=(evil,), tables=(table(("a",), [(evil,)]),)))
    assert not set(text) & {"\x1b", "\x07", "\r", "\u202e"}
    assert "proved" in text


@given(st.text())
def test_clean_text_has_no_control_but_tab_and_newline(text: str) -> None:
    """Whatever comes in."""
    assert all(sign.isprintable() or sign in "\t\n" or not sign.isascii() for sign in clean(text))


def test_json_is_one_line_of_ascii() -> None:
    """Safe in every log and pipe, also with hostile text in it."""
    text = shown(Report("x", "é\u2028\x1b", data={"odd": {1, 2}.__class__}), as_json=True)
    assert text.isascii()
    assert text.count("\n") == 1
    assert json.loads(text)["title"] == "é\u2028\x1b"


def test_raw_text_is_printed_as_it_is() -> None:
    """Completion scripts and exported documents."""
    assert shown(Report("docs", "t", raw="a\n\tb\n")) == "a\n\tb\n"
    assert "raw" not in Report("docs", "t", raw="a").document()


def test_an_error_with_little_to_say() -> None:
    """Only what there is."""
    err = io.StringIO()
    Printer(as_json=False, out=io.StringIO(), err=err).error(TradeopsError("odd"))
    assert err.getvalue() == "error: odd\n"
    assert error_document(Refused("no"))["exit_code"] == 9


def test_nothing_waits_for_enter_without_a_terminal() -> None:
    """The answer is then no answer."""
    printer = Printer(as_json=False, out=io.StringIO(), err=io.StringIO())
    assert printer.ask("sure? ") == ""
    assert not printer.interactive


class Closed(io.StringIO):
    """A stream whose reader goes away after the first write."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error
        self.tried = 0

    def write(self, text: str) -> int:
        self.tried += 1
        if self.tried > 1:
            raise self.error
        return super().write(text)


def test_a_stream_that_is_gone_is_dropped_and_stops_nobody() -> None:
    """K04: a closed pipe never ends a kill; the other stream goes on."""
    out, err = Closed(BrokenPipeError()), io.StringIO()
    printer = Printer(as_json=False, out=out, err=err)
    printer.report(REPORT)
    printer.line("still here")
    assert out.tried == 2
    assert err.getvalue() == "still here\n"
    gone = Printer(as_json=False, out=io.StringIO(), err=Closed(BrokenPipeError()))
    for _ in range(3):
        gone.line("progress")


def test_a_full_disk_below_stdout_is_told_once() -> None:
    """Not an error of the command: said on stderr."""
    err = io.StringIO()
    printer = Printer(as_json=False, out=Closed(OSError(28, "No space left on device")), err=err)
    printer.report(REPORT)
    assert err.getvalue() == "stdout cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0004, "0 ms"), (0.25, "250 ms"), (1, "1.0 s"), (90, "1.5 m"), (7200, "2.0 h"), (90000, "1.0 d")]
)
def test_lengths_of_time(seconds: float, words: str) -> None:
    """In the largest unit that fits."""
    assert age(seconds) == words


def test_moments_are_utc() -> None:
    """To the second."""
    assert when(1_700_000_000_999_999_999) == "2023-11-14 22:13:20"


def test_a_picture_is_drawn_where_a_person_watches_and_leaves_nothing() -> None:
    """Lines of progress go above it; at the end it is gone."""
    screen = Terminal()
    printer = Printer(as_json=False, out=io.StringIO(), err=screen)
    with printer.screen(lambda width, height: f"{width} by {height}"):
        screen.wait_for(" by ", timeout_s=20)
        printer.line("odd\x1b[2J host")
    text = screen.getvalue()
    assert "odd\N{REPLACEMENT CHARACTER}[2J host" in text
    assert text.endswith("\x1b[2K")
    printer.line("afterwards")
    assert screen.getvalue().endswith("afterwards\n")


@pytest.mark.parametrize(("err", "as_json"), [(io.StringIO(), False), (Terminal(), True)])
def test_a_pipe_and_a_document_get_no_picture(err: io.StringIO, as_json: bool) -> None:
    """Not one byte of it."""
    printer = Printer(as_json=as_json, out=io.StringIO(), err=err)
    with printer.screen(lambda _width, _height: "never"):
        printer.line("progress")
    assert err.getvalue() == "progress\n"


def test_a_dumb_terminal_is_not_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """TERM=dumb: lines, as in a pipe."""
    monkeypatch.setenv("TERM", "dumb")
    assert not Printer(as_json=False, out=io.StringIO(), err=Terminal()).watched


def test_a_terminal_that_is_gone_stops_no_run() -> None:
    """The stream refuses every write: the block runs to its end."""

    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

    with Printer(as_json=False, out=io.StringIO(), err=Gone()).screen(lambda _width, _height: "x"):
        pass


def test_a_passphrase_is_asked_for_beside_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture stands still while somebody types."""
    screen = Terminal()
    printer = Printer(as_json=False, out=io.StringIO(), err=screen)
    monkeypatch.setattr("getpass.getpass", lambda question: f"typed after {question}")
    with printer.screen(lambda _width, _height: "the picture"):
        screen.wait_for("the picture", timeout_s=20)
        assert printer.secret("key: ") == "typed after key: "
    assert printer.secret("again: ") == "typed after again: "


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR: bold at most, in tables and in pictures."""
    monkeypatch.setenv("NO_COLOR", "1")
    out, err = Terminal(), Terminal()
    printer = Printer(as_json=False, out=out, err=err)
    printer.report(REPORT)
    with printer.screen(lambda _width, _height: printer.picture(REPORT, "foot")):
        err.wait_for("foot", timeout_s=20)
    for text in (out.getvalue(), err.getvalue()):
        assert "h1" in text
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)


def test_a_report_for_a_person_is_folded_and_counted_large() -> None:
    """Figures three lines high, long lines folded at words; in a pipe neither."""
    report = Report("x", "a " * 60 + "end", lead=("b " * 60,), lines=("c " * 60,), large="8/8")
    out = Terminal()
    Printer(as_json=False, out=out, err=io.StringIO()).report(report)
    lines = out.getvalue().splitlines()
    assert lines[:3] == list(large("8/8"))
    assert max(map(len, lines)) <= 80
    assert max(map(len, shown(report).splitlines())) > 80
    assert "█" not in shown(report)


def test_a_terminal_that_is_made_smaller_is_cleared_and_drawn_anew() -> None:
    """What was drawn for the old size may have been wrapped: nothing of it is left."""
    master, slave = pty.openpty()
    code = (
        "import sys\nfrom tradeops.cli.render import Printer\n"
        "with Printer(as_json=False).screen(lambda width, height: f'{width} by {height}'):\n    sys.stdin.readline()\n"
    )
    _resize(master, 80, 24)
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environ, stdin=slave, stdout=slave, stderr=slave) as child:
        try:
            os.close(slave)
            _read_until(master, b"80 by 24")
            _resize(master, 50, 10)
            assert b"\x1b[2J" in _read_until(master, b"50 by 10")
            os.write(master, b"\n")
            assert child.wait(30) == 0
        finally:
            child.kill()
            os.close(master)


def _resize(terminal: int, columns: int, lines: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


def _read_until(terminal: int, words: bytes) -> bytes:
    seen = b""
    while words not in seen:
        ready, _, _ = select.select([terminal], [], [], 30)
        assert ready, seen
        seen += os.read(terminal, 65536)
    return seen
