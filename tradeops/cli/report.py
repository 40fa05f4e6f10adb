"""What a command has to say, as values: for a person (title, tables, what next) and for a program (one JSON document)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tradeops.base.clock import utc
from tradeops.base.errors import ExitCode, TradeopsError

YES, NO, UNKNOWN, GOING = "✓", "✗", "?", "▸"


@dataclass(frozen=True)
class Table:
    """Rows of words. A cell that begins with ✓, ✗ or ? is coloured too, where there is colour."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


@dataclass(frozen=True)
class Report:
    """command: the schema is `tradeops/COMMAND/v1`.  title: the answer in one sentence.  lead, lines: more of it, before
    and after the tables.  large: figures shown large above it on a terminal.

    hosts: one entry per host in the JSON document.  data: its further fields.  raw: printed as it is instead of all else.
    after: done when the report is out, where a person should not wait for it.
    """

    command: str
    title: str
    exit_code: ExitCode = ExitCode.PROVED
    run: str | None = None
    hosts: tuple[Mapping[str, Any], ...] = ()
    tables: tuple[Table, ...] = ()
    lines: tuple[str, ...] = ()
    next: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    raw: str | None = None
    large: str = ""
    lead: tuple[str, ...] = ()
    after: Callable[[], None] | None = None

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        return {
            "schema": f"tradeops/{self.command}/v1",
            "ok": self.exit_code is ExitCode.PROVED,
            "exit_code": int(self.exit_code),
            "title": self.title,
            "run": self.run,
            "hosts": list(self.hosts),
            "next": self.next or None,
            **self.data,
        }


def error_document(error: TradeopsError) -> dict[str, Any]:
    """The JSON document of a command that ended with an error."""
    return {
        "schema": "tradeops/error/v1",
        "ok": False,
        "exit_code": int(error.exit_code),
        "run": None,
        "hosts": [],
        "error": {
            "kind": type(error).__name__,
            "what": error.what,
            "where": error.where,
            "holds": error.holds,
            "next": error.next,
            "runbook": error.runbook,
        },
    }


def error_report(command: str, error: TradeopsError) -> Report:
    """The same for CI: an entry for each host, file or peer where it happened, with what is said of it."""
    lines = error.what.splitlines()

    def problem(place: str) -> str:
        return next((line.removeprefix(f"{place}: ") for line in lines if line.startswith(f"{place}: ")), error.what)

    places = dict.fromkeys(place for place in (error.where or "").split(", ") if place)
    return Report(
        command,
        error.what,
        error.exit_code,
        hosts=tuple({"host": place, "problem": problem(place)} for place in places),
        lines=(f"holds: {error.holds}",) if error.holds else (),
        next=error.next or (f"`tradeops docs {error.runbook}`" if error.runbook else "`tradeops doctor`"),
        data={"steps": error.steps},
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> Table:
    """A table of anything; None is shown as a dash."""
    return Table(tuple(columns), tuple(tuple("–" if cell is None else str(cell) for cell in row) for row in rows), title)


def age(seconds: float) -> str:
    """A length of time for a screen, in its largest fitting unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def when(wall_ns: int) -> str:
    """A moment in UTC, to the second."""
    return utc(wall_ns)
