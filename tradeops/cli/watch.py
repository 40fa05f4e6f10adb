"""Looking again and again until Ctrl-C: live on a terminal, elsewhere a report each time that something is different."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import UsageError, WatchEnded
from tradeops.cli.context import Context
from tradeops.cli.report import Report, age

PAUSE_S = 0.5
"""Between the end of a look and the next one."""
LOOK_S = 2.0
"""How long a look waits for a host: with the pause, and the look that is just going on, less than five seconds (D03)."""


def watch(c: Context, look: Callable[[], Report], *, sameness: Callable[[Report], object]) -> NoReturn:
    """sameness: what of a report must have changed to be told anew where no terminal is. Ends by WatchEnded alone."""
    if c.options.as_json:
        raise UsageError("--watch never ends and --json is one document", next="leave one of them out")
    latest = Report("watch", "looking")
    seen_ns = c.clock.monotonic_ns()
    told: object = None
    with (
        _ended(lambda: latest),
        c.printer.screen(lambda _width, _height: c.printer.picture(latest, _foot(c.clock.monotonic_ns() - seen_ns))),
    ):
        while True:
            latest, seen_ns = look(), c.clock.monotonic_ns()
            if not c.printer.watched and (now := sameness(latest)) != told:
                told = now
                c.printer.report(latest)
            c.clock.sleep_s(PAUSE_S)


def _foot(since_ns: int) -> str:
    return f"seen {age(since_ns / NS_PER_S)} ago, looked at every {PAUSE_S:g} s; Ctrl-C ends this and changes nothing"


@contextmanager
def _ended(latest: Callable[[], Report]) -> Iterator[None]:
    """Whoever ends it is told what was seen last."""
    try:
        yield
    except KeyboardInterrupt:
        raise WatchEnded("watching has ended", holds=f"nothing was changed; last seen: {latest().title}") from None
