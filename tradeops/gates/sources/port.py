"""The port of metric sources. Real ones: scrape.py, prometheus.py; one contract suite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Outcome
from tradeops.gates.samples import Sample


class Source(Protocol):
    """Reads what hosts export."""

    def read(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Sample]]:
        """A sample, or why there is none, of each host. Never raises for a host's sake, and ends within the deadline."""
