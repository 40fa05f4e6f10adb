"""A command on a terminal of its own: what it draws is passed on as it comes, what it says is kept without it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.wait import until
from tradeops.drills.screen import run_on

DRAWS = """
import os, sys
size = os.get_terminal_size(2)
sys.stderr.write(f"\\x1b[1m{size.columns} columns\\x1b[0m {sys.stderr.isatty()} {sys.stdin.isatty()} {sys.stdout.isatty()}\\n")
print("result")
sys.exit(5)
"""


def test_it_draws_on_the_watched_terminal_and_its_words_are_kept(tmp_path: Path) -> None:
    """As large as the one that is watched; its result stays a pipe, and nobody can be asked for Enter."""
    inner, outer = pty.openpty()
    subprocess.run(["stty", "cols", "97", "rows", "30"], stdin=outer, check=True)
    done = run_on(outer, [sys.executable, "-c", DRAWS], folder=tmp_path, environment=os.environ, timeout_s=20)
    assert (done.returncode, done.stdout, done.stderr) == (5, "result\n", "97 columns True False False\n")
    assert b"\x1b[1m97 columns" in os.read(inner, 4096)
    os.close(inner)
    os.close(outer)


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    """No process is left behind."""
    with Path(os.devnull).open("wb") as nowhere, pytest.raises(subprocess.TimeoutExpired):
        code = "import os, pathlib, signal; pathlib.Path('pid').write_text(str(os.getpid())); signal.pause()"
        run_on(nowhere.fileno(), [sys.executable, "-c", code], folder=tmp_path, environment=os.environ, timeout_s=2)
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not Path(f"/proc/{pid}").exists(), 5)


def test_a_command_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Before anything is waited for."""
    with Path(os.devnull).open("wb") as nowhere, pytest.raises(FileNotFoundError):
        run_on(nowhere.fileno(), [str(tmp_path / "none")], folder=tmp_path, environment=os.environ, timeout_s=2)
