"""What a kill shows while it is not over: hosts confirmed of hosts meant, and each host with its road and what is open."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tradeops.base.clock import NS_PER_MS, Clock
from tradeops.cli.large import large
from tradeops.cli.render import Printer, clean, styled
from tradeops.cli.report import GOING, YES

if TYPE_CHECKING:
    from tradeops.safety.kill import HostKill

AFTER_S = 0.3
"""Most kills are over by then: no screen is loaded for them, and none flickers."""
_WIDE = 72
"""Room for the figures with words beside them, and for every column."""
_TALL = 20
"""Room for what to do beside the hosts."""
_COLUMNS = ("host", "blocked", "open")
_WIDE_COLUMNS = ("host", "road", "blocked", "clear", "working", "open")
_NEXT = "every road is tried again until the time is up; `tradeops docs kill` says what else there is"
_STOP = "Ctrl-C stops trying: what was sent stays in force, and the command can be repeated"


class KillProgress:
    """Takes what a kill tells, from any thread; a context manager around it. hosts: names of those meant."""

    def __init__(self, printer: Printer, clock: Clock, hosts: Sequence[str], deadline_s: float) -> None:
        self._printer = printer
        self._clock = clock
        self._began_ns = clock.monotonic_ns()
        self._deadline_s = deadline_s
        self._hosts: dict[str, HostKill | None] = dict.fromkeys(hosts)
        self._said: set[tuple[str, str]] = set()
        self._over = threading.Event()
        self._painter = threading.Thread(target=self._paint, name="kill-board", daemon=True)

    def __enter__(self) -> KillProgress:
        if self._printer.watched:
            self._painter.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        if self._painter.ident is not None:
            self._painter.join()

    def __call__(self, host: HostKill) -> None:
        """Called by the kill: one line for each host that is blocked, and for each that is clear later than that."""
        self._hosts[host.host] = host
        if self._printer.watched:
            return
        fresh = [
            (word, f"{word} {ms:.0f} ms{f' over {host.road}' if word == 'blocked' else ''}")
            for word, ms in (("blocked", host.blocked_ms), ("clear", host.clear_ms))
            if ms is not None and (host.host, word) not in self._said
        ]
        self._said |= {(host.host, word) for word, _ in fresh}
        if fresh:
            self._printer.line(f"{YES} {host.host}  {', '.join(words for _, words in fresh)}")

    def summary(self) -> str:
        """How far it has come."""
        known = [host for host in self._hosts.values() if host is not None]
        blocked, confirmed = sum(host.blocked_ms is not None for host in known), sum(host.confirmed for host in known)
        return f"{blocked} of {len(self._hosts)} hosts blocked, {confirmed} of them clear"

    def _paint(self) -> None:
        if self._over.wait(AFTER_S):
            return
        with self._printer.screen(self._draw):
            self._over.wait()

    def _draw(self, width: int, height: int) -> Any:
        elapsed_ms = (self._clock.monotonic_ns() - self._began_ns) / NS_PER_MS
        return draw(dict(self._hosts), elapsed_ms, self._deadline_s, width=width, height=height)


def draw(hosts: Mapping[str, HostKill | None], elapsed_ms: float, deadline_s: float, *, width: int, height: int) -> Any:
    """The board as a rich renderable. hosts: None: not heard of yet."""
    from rich.console import Group
    from rich.text import Text

    known = [host for host in hosts.values() if host is not None]
    confirmed, blocked = sum(host.confirmed for host in known), sum(host.blocked_ms is not None for host in known)
    working = sum(host.working or 0 for host in known)
    said = (
        "hosts confirmed: blocked and clear",
        f"{blocked} of {len(hosts)} blocked, {working} orders working",
        f"{elapsed_ms / 1000:.1f} s of {deadline_s:.0f} s",
    )
    figures = large(f"{confirmed}/{len(hosts)}")
    if width >= _WIDE:
        lines = [f"{figure}   {words}" for figure, words in zip(figures, said, strict=True)]
    else:
        lines = [line[:width] for line in (*figures, *said)]
    head = [Text(line, style="bold") for line in lines]
    foot = [line for words in ((_NEXT, _STOP) if height >= _TALL else ()) for line in textwrap.wrap(words, width, subsequent_indent="  ")]
    room = max(3, height - len(head) - len(foot) - 4)
    return Group(*head, Text(), _table(hosts, _WIDE_COLUMNS if width >= _WIDE else _COLUMNS, room), Text(), *map(Text, foot))


def _table(hosts: Mapping[str, HostKill | None], columns: Sequence[str], rows_max: int) -> Any:
    """Those that are not confirmed first, as far as they fit."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    for column in columns:
        grid.add_column(column, no_wrap=True, overflow="ellipsis", ratio=1 if column == "open" else None)
    order = sorted(hosts, key=lambda name: _rank(hosts[name]))
    for name in order[:rows_max]:
        cells = _cells(name, hosts[name])
        grid.add_row(*(Text(clean(cells[column]), style=styled(cells["host"]) if column == "host" else "") for column in columns))
    if len(order) > rows_max:
        grid.add_row(f"… {len(order) - rows_max} more")
    return grid


def _rank(host: HostKill | None) -> int:
    if host is None or host.blocked_ms is None:
        return 0
    return 2 if host.confirmed else 1


def _cells(name: str, host: HostKill | None) -> dict[str, str]:
    """A host's row by column."""
    if host is None:
        return dict.fromkeys(_WIDE_COLUMNS, "") | {"host": f"{GOING} {name}", "open": "not heard of yet"}
    open_words = "; ".join(f"{road}: {words}" for road, words in host.problems.items()) if not host.confirmed else ""
    return {
        "host": f"{YES if host.confirmed else GOING} {name}",
        "road": host.road,
        "blocked": _ms(host.blocked_ms),
        "clear": _ms(host.clear_ms),
        "working": "" if host.working is None else str(host.working),
        "open": open_words,
    }


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"
