"""`make bench`: every measurement in turn, each beside what one would use instead. Prints figures; asserts none."""

from __future__ import annotations

import subprocess
import sys

BENCHES = (
    "bench_startup",
    "bench_kill",
    "bench_blocked",
    "bench_cutover",
    "bench_fleet",
    "bench_deploy",
    "bench_sim_scale",
    "bench_quotes",
    "bench_trader",
)


def main() -> int:
    """Each in a process of its own, so that none warms another up."""
    failed = [name for name in BENCHES if _run(name)]
    if failed:
        sys.stdout.write(f"did not run to the end: {', '.join(failed)}\n")
    return 1 if failed else 0


def _run(name: str) -> int:
    sys.stdout.write(f"\n== {name}\n")
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
