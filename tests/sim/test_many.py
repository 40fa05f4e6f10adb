"""Ten thousand whole runs, each in a random world told by its seed: no ending is better than the truth, and every run can be ended."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.many import Trial

RUNS, CHUNKS = int(os.environ.get("TRADEOPS_SIM_RUNS", "10000")), 40


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: a journal is flushed to disk at every line, and ten thousand runs write many."""
    shm = Path("/dev/shm")  # noqa: S108 a folder with a name of its own is made in it
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_runs(memory: Path, chunk: int) -> None:
    """D01, D02, D10, D11: TRADEOPS_SIM_SEED=n does the run of one seed alone, again."""
    only = os.environ.get("TRADEOPS_SIM_SEED")
    seeds = range(chunk, RUNS, CHUNKS) if only is None else [int(only)] if chunk == 0 else []
    for seed in seeds:
        try:
            Trial(memory / str(seed), seed).go()
        except BaseException as error:
            error.add_note(f"seed {seed}: TRADEOPS_SIM_SEED={seed}")
            raise
