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
from typing import Any, TextIO

from tradeops.base.errors import TradeopsError
from tradeops.cli.report import NO, UNKNOWN, YES, Report, Table, error_document

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_PLAIN = str.maketrans({"✓": "+", "✗": "x", "–": "-", "→": ">", "…": "~", "·": ".", "×": "x", "µ": "u"})
_STYLES = {YES: "green", NO: "bold red", UNKNOWN: "yellow"}
_WIDTH = 80


def clean(text: str) -> str:
    """`text` without anything that moves a cursor, changes a colour, or turns the direction of writing."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


class Printer:
    """Where a command's words go."""

    def __init__(self, *, as_json: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.as_json = as_json
        self._out = out or sys.stdout or io.StringIO()
        self._err = err or sys.stderr or io.StringIO()
        self._lost: list[TextIO] = []

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
        """One line of progress."""
        self._write(self._err, text + "\n")

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

    def _document(self, document: dict[str, Any]) -> None:
        self._write(self._out, json.dumps(document, ensure_ascii=True, default=str) + "\n", cleaned=True)

    def _result(self, report: Report) -> None:
        if report.title:
            self._write(self._out, report.title + "\n")
        for each in report.tables:
            self._table(each)
        for line in report.lines:
            self._write(self._out, line + "\n")
        if report.next:
            self._write(self._out, "\n".join(textwrap.wrap(f"next: {report.next}", self._columns(), subsequent_indent="      ")) + "\n")

    def _columns(self) -> int:
        with contextlib.suppress(ValueError, OSError):
            return max(40, int(os.environ.get("COLUMNS") or os.get_terminal_size(self._out.fileno()).columns))
        return _WIDTH

    def _table(self, shown: Table) -> None:
        """Rich is loaded only where there is a table, after the work is done."""
        if not shown.rows:
            return
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        drawn, coloured = io.StringIO(), self._out.isatty() or None
        console = Console(file=drawn, force_terminal=coloured, width=self._columns(), highlight=False, markup=False, emoji=False)
        grid = RichTable(box=None, pad_edge=False, title=shown.title or None, title_justify="left", header_style="dim")
        for column in shown.columns:
            grid.add_column(Text(self._fit(column)), overflow="fold")
        for row in shown.rows:
            grid.add_row(*(Text(self._fit(clean(cell)), style=_STYLES.get(cell[:1], "")) for cell in row))
        console.print(grid)
        self._write(self._out, drawn.getvalue(), cleaned=True)

    def _fit(self, text: str) -> str:
        """`text` in characters that the stream can show."""
        encoding = getattr(self._out, "encoding", None) or "ascii"
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
            stream.write(self._fit(safe))
            stream.flush()
        except (OSError, ValueError) as error:
            self._lost.append(stream)
            if stream is self._out and not isinstance(error, BrokenPipeError):
                self.line(f"stdout cannot be written: {getattr(error, 'strerror', None) or error}")
