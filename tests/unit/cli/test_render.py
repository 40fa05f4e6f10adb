"""The printer: clean, narrow, without colour, without UTF-8, without a terminal."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeops.base.errors import ExitCode, Refused, TradeopsError
from tradeops.cli.render import Printer, clean
from tradeops.cli.report import NO, YES, Report, age, error_document, table, when


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
