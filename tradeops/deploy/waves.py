"""Which hosts are switched together (D08, D09). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tradeops.deploy.playbook import Waves
from tradeops.fleet.host import Host


def cut(hosts: Sequence[Host], waves: Waves) -> tuple[tuple[Host, ...], ...]:
    """All hosts once, in order; the first wave takes those tagged `canary` before others."""
    ordered = sorted(hosts, key=lambda host: "canary" not in host.tags)
    first = min(waves.first, len(ordered))
    size = waves.later_size(len(ordered))
    later = [tuple(ordered[at : at + size]) for at in range(first, len(ordered), size)]
    return (tuple(ordered[:first]), *later)
