"""A deploy to 8, 64 and 1,000 simulated hosts: the operator's own code, wave by wave, and what it costs for each host."""

from __future__ import annotations

import resource
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.sim.drive import try_deploy
from tests.sim.world import World
from tradeops.base.errors import ExitCode

SIZES = {8: 15, 64: 5, 1000: 1}
"""Hosts -> rounds."""


def _cpu_ms(hosts: int) -> float:
    """Milliseconds of this process for a rolling deploy that replaces a release everywhere; the simulated hosts' own included."""
    with TemporaryDirectory() as folder:
        world = World(Path(folder), hosts=hosts)
        assert try_deploy(world, world.release(1))[0] == ExitCode.PROVED
        release = world.release(2)
        before = resource.getrusage(resource.RUSAGE_SELF)
        assert try_deploy(world, release)[0] == ExitCode.PROVED
        after = resource.getrusage(resource.RUSAGE_SELF)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    """Print the figures."""
    for hosts, rounds in SIZES.items():
        cpu_ms = statistics.median(_cpu_ms(hosts) for _ in range(rounds))
        sys.stdout.write(f"simulated deploy to {hosts:>5} hosts: {cpu_ms:8.0f} ms of CPU, {cpu_ms / hosts:6.2f} ms for each host\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
