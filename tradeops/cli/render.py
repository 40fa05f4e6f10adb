"""The only printer. Results on stdout, progress and errors on stderr; with `--json` stdout gets exactly one document.

Works on 80 columns, in a pipe, without colour (NO_COLOR) and without UTF-8. Nothing that a host sent reaches the terminal
as a control sequence.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Literal, TextIO

from tradeops.base.errors import TradeopsError
from tradeops.cli.large import large
from tradeops.cli.report import GOING, NO, UNKNOWN, YES, Report, Table, error_document

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_PLAIN = str.maketrans(
    {"✓": "+", "✗": "x", "–": "-", "→": ">", "…": "~", "·": ".", "×": "x", "µ": "u", GOING: ">", "█": "#", "▀": '"'}
    | dict(zip("▁▂▃▄▅▆▇", "_.-~=+*", strict=True))
)
_STYLES = {YES: "green", NO: "bold red", UNKNOWN: "yellow", GOING: "cyan"}
_WIDTH = 80
_FRAMES_PER_S = 8


def clean(text: str) -> str:
    """`text` without anything that moves a cursor, changes a colour, or turns the direction of writing."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def styled(cell: str) -> str:
    """The style of a cell by the glyph that it begins with."""
    return _STYLES.get(cell[:1], "")


class _Pipe:
    """A stream as rich wants it, behind the printer: what cannot be shown or written never stops whoever draws."""

    def __init__(self, stream: TextIO, write: Callable[[str], None]) -> None:
        self.encoding = getattr(stream, "encoding", None) or "ascii"
        self.write = write

    def flush(self) -> None:
        """Each write is flushed."""


class Printer:
    """Where a command's words go."""

    def __init__(self, *, as_json: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.as_json = as_json
        self._out = out or sys.stdout or io.StringIO()
        self._err = err or sys.stderr or io.StringIO()
        self._lost: list[TextIO] = []
        self._live: Any = None

    def report(self, report: Report) -> None:
        """The result of a command."""
        if self.as_json:
            self._document(report.document())
        elif report.raw is not None:
            self._write(self._out, report.raw)
        else:
            self._result(report)

    def error(self, error: TradeopsError) -> None:
        """What happened, where, what still holds, what to do next."""
        if self.as_json:
            self._document(error_document(error))
        first, *more = error.what.splitlines() or [""]
        lines = [f"error: {f'{error.where}: ' if error.where else ''}{first}", *(f"  {line}" for line in more)]
        lines += [f"  {word}: {text}" for word, text in (("holds", error.holds), ("next", error.next)) if text]
        if error.runbook:
            lines.append(f"  read: tradeops docs {error.runbook}")
        self._write(self._err, "\n".join(lines) + "\n")

    def line(self, text: str) -> None:
        """One line of progress; above the picture while there is one."""
        if self._live is not None:
            self._live.console.print(clean(text), soft_wrap=True)
        else:
            self._write(self._err, text + "\n")

    @property
    def watched(self) -> bool:
        """Whether `screen` draws: a person watches, and no document was asked for."""
        return self.interactive and not self.as_json

    @property
    def terminal(self) -> int | None:
        """The file descriptor on which `screen` draws; None where it does not."""
        return self._err.fileno() if self.watched else None

    @contextlib.contextmanager
    def screen(self, draw: Callable[[int, int], Any]) -> Iterator[None]:
        """A picture on stderr, drawn anew several times a second while the block runs and gone after it.

        draw: (columns, lines) -> a rich renderable. Nothing is drawn where nobody watches. A terminal that changes its
        size is cleared: what was drawn for the old one may have been wrapped.
        """
        if not self.watched:
            yield
            return
        from rich.console import Console
        from rich.control import Control
        from rich.live import Live

        pipe: Any = _Pipe(self._err, lambda text: self._write(self._err, text, cleaned=True))
        console = Console(file=pipe, force_terminal=True, highlight=False, markup=False, emoji=False)
        size = console.size

        def frame() -> Any:
            nonlocal size
            if console.size != size:
                size = console.size
                console.control(Control.clear(), Control.home())
            return draw(size.width, size.height)

        self._live = Live(
            get_renderable=frame,
            console=console,
            refresh_per_second=_FRAMES_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        try:
            with self._live:
                yield
        finally:
            self._live = None

    def picture(self, report: Report, foot: str) -> Any:
        """A report as a renderable for `screen`, with a last line of its own."""
        from rich.console import Group
        from rich.text import Text

        next_line = (f"next: {report.next}",) if report.next else ()
        words = [Text(clean(line)) for line in (*report.lines, *next_line)]
        lead = [Text(clean(report.title), style="bold"), *(Text(clean(line)) for line in report.lead)]
        tables = [_grid(each, overflow="ellipsis") for each in report.tables if each.rows]
        return Group(*lead, *tables, *words, Text(foot, style="dim"))

    @property
    def interactive(self) -> bool:
        """Whether a person watches stderr and nobody parses it."""
        return self._err.isatty() and os.environ.get("TERM") != "dumb"

    def ask(self, question: str) -> str:
        """What the person types; "" where nobody can: nothing waits for Enter without a terminal."""
        if not (sys.stdin.isatty() and self._err.isatty()):
            return ""
        self._write(self._err, question)
        return sys.stdin.readline().strip()

    def secret(self, question: str) -> str:
        """The same unseen, for a passphrase; the picture stands still meanwhile."""
        import getpass

        if self._live is not None:
            self._live.stop()
        try:
            return getpass.getpass(question)
        finally:
            if self._live is not None:
                self._live.start()

    def _document(self, document: dict[str, Any]) -> None:
        self._write(self._out, json.dumps(document, ensure_ascii=True, default=str) + "\n", cleaned=True)

    def _result(self, report: Report) -> None:
        if report.large and self._out.isatty():
            self._write(self._out, "\n".join(large(report.large)) + "\n")
        if report.title:
            self._words(report.title)
        for line in report.lead:
            self._words(line)
        for each in report.tables:
            self._table(each)
        for line in report.lines:
            self._words(line)
        if report.next:
            self._write(self._out, "\n".join(textwrap.wrap(f"next: {report.next}", self._columns(), subsequent_indent="      ")) + "\n")

    def _words(self, line: str) -> None:
        """A line of words: folded for a person, whole for a pipe."""
        fold = textwrap.TextWrapper(self._columns(), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        self._write(self._out, ("\n".join(fold.wrap(line)) if self._out.isatty() else line) + "\n")

    def _columns(self) -> int:
        with contextlib.suppress(ValueError, OSError):
            return max(40, int(os.environ.get("COLUMNS") or os.get_terminal_size(self._out.fileno()).columns))
        return _WIDTH

    def _table(self, shown: Table) -> None:
        """Rich is loaded only where there is a table, after the work is done."""
        if not shown.rows:
            return
        from rich.console import Console

        drawn, coloured = io.StringIO(), self._out.isatty() or None
        console = Console(file=drawn, force_terminal=coloured, width=self._columns(), highlight=False, markup=False, emoji=False)
        console.print(_grid(shown, overflow="fold"))
        self._write(self._out, drawn.getvalue(), cleaned=True)

    def _fit(self, text: str, stream: TextIO) -> str:
        """`text` in characters that the stream can show."""
        encoding = getattr(stream, "encoding", None) or "ascii"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            return text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
        return text

    def _write(self, stream: TextIO, text: str, *, cleaned: bool = False) -> None:
        """What a stream no longer takes is dropped from then on: output never decides whether a kill or a deploy goes on."""
        if stream in self._lost:
            return
        safe = text if cleaned else clean(text)
        try:
            stream.write(self._fit(safe, stream))
            stream.flush()
        except (OSError, ValueError) as error:
            self._lost.append(stream)
            if stream is self._out and not isinstance(error, BrokenPipeError):
                self.line(f"stdout cannot be written: {getattr(error, 'strerror', None) or error}")


def _grid(shown: Table, *, overflow: Literal["fold", "ellipsis"]) -> Any:
    """A table as rich's. overflow: folded, nothing is lost; cut off, the hosts' names are not."""
    from rich.table import Table as RichTable
    from rich.text import Text

    grid = RichTable(box=None, pad_edge=False, title=shown.title or None, title_justify="left", header_style="dim")
    for column in shown.columns:
        grid.add_column(Text(column), overflow=overflow, no_wrap=overflow == "ellipsis" and not grid.columns)
    for row in shown.rows:
        grid.add_row(*(Text(clean(cell), style=styled(cell)) for cell in row))
    return grid
