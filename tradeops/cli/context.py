"""Composition: what a command works with, each part made and imported when it is first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tradeops.cli.render import Printer

if TYPE_CHECKING:
    from tradeops.base.clock import Clock
    from tradeops.fleet.inventory import Fleet


@dataclass(frozen=True)
class Options:
    """The global options."""

    fleet: Path
    as_json: bool
    yes: bool
    person: str | None
    key: str | None


class Context:
    """Made once per command line, empty until used."""

    def __init__(self, options: Options, printer: Printer) -> None:
        self.options = options
        self.printer = printer

    @cached_property
    def clock(self) -> Clock:
        """This machine's clock."""
        from tradeops.base.clock import SystemClock

        return SystemClock()

    @cached_property
    def fleet(self) -> Fleet:
        """The fleet file. Raises ConfigError."""
        from tradeops.fleet.inventory import load_fleet

        return load_fleet(self.options.fleet)
