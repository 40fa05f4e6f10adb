"""The venue as a process: ready line, ports, end on SIGTERM, errors with their exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.venue import QUIET
from tradeops.base.errors import ExitCode
from tradeops.venue.__main__ import main


@contextmanager
def process(config: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`python -m tradeops.venue` with its ready line."""
    started = subprocess.Popen(
        [sys.executable, "-m", "tradeops.venue", "--config", str(config)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert started.stdout is not None
        yield started, json.loads(started.stdout.readline() or "{}")
    finally:
        started.kill()
        started.communicate(timeout=10)


def test_it_says_when_it_is_ready_and_ends_on_sigterm(tmp_path: Path) -> None:
    """One JSON line on stdout with every port; exit 0; the journal is on disk."""
    config = tmp_path / "venue.yml"
    config.write_text(QUIET + f"journal_file: {tmp_path}/journal.jsonl\n")
    with process(config) as (venue, ready):
        assert ready["ready"] is True and ready["venue"] == "sim"
        assert set(ready["ports"]) == {"orders", "market_data", "drop_copy", "control"}
        with urllib.request.urlopen(f"http://127.0.0.1:{ready['ports']['control']}/v1/health", timeout=5) as answer:
            assert json.load(answer)["doors"]["orders"] == {"open": True, "connections": 0}
        venue.send_signal(signal.SIGTERM)
        assert venue.wait(timeout=10) == 0
    assert (tmp_path / "journal.jsonl").exists()


def test_a_port_that_is_taken_is_a_configuration_error(tmp_path: Path) -> None:
    """The second venue on the same ports ends with exit 2 and says why."""
    first = tmp_path / "first.yml"
    first.write_text(QUIET)
    with process(first) as (_, ready):
        second = tmp_path / "second.yml"
        second.write_text(QUIET + f"ports: {{orders: {ready['ports']['orders']}}}\n")
        assert main(["--config", str(second)]) == ExitCode.USAGE


@pytest.mark.parametrize(
    "more", ["typo: 1\n", "journal_file: /nonexistent/j.jsonl\n", "accounts: [{name: a, secret_file: /nonexistent/s}]\n"]
)
def test_a_bad_file_ends_with_exit_2(tmp_path: Path, more: str) -> None:
    """Nothing is started."""
    config = tmp_path / "venue.yml"
    config.write_text(QUIET + more)
    assert main(["--config", str(config)]) == ExitCode.USAGE


def test_a_recording_that_is_not_there_ends_with_exit_2(tmp_path: Path) -> None:
    """Found at start, not at the first quote."""
    config = tmp_path / "venue.yml"
    config.write_text("symbols: [{symbol: ABC}]\nfeed: {kind: replay, file: nowhere.gz}\n")
    assert main(["--config", str(config)]) == ExitCode.USAGE
