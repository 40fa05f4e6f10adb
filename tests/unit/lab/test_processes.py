"""Processes by pid and start time."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.support.wait import until
from tradeops.base.clock import SystemClock
from tradeops.lab import processes
from tradeops.lab.processes import Proc

_DEAF = "import signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\nwhile True: time.sleep(60)"


def _spawn(tmp_path: Path, code: str, **environment: str) -> Proc:
    return processes.spawn([sys.executable, "-c", code], log=tmp_path / "log", environment=dict(os.environ) | environment)


def test_a_spawned_process_is_in_its_own_session_and_ends(tmp_path: Path) -> None:
    """It is alive, leads its session, and is reaped once ended."""
    proc = _spawn(tmp_path, "import time; time.sleep(60)")
    assert processes.alive(proc)
    assert os.getsid(proc.pid) == proc.pid
    processes.end([proc], SystemClock(), grace_s=5)
    assert not processes.alive(proc)
    assert not Path(f"/proc/{proc.pid}").exists()


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """SIGKILL after the grace."""
    proc = _spawn(tmp_path, _DEAF)
    until(lambda: (tmp_path / "log").read_text() == "up\n", 10)
    processes.end([proc], SystemClock(), grace_s=0.05)
    assert not processes.alive(proc)


def test_a_stopped_one_is_ended_too(tmp_path: Path) -> None:
    """SIGTERM reaches a frozen process once it is continued."""
    proc = _spawn(tmp_path, "import time; time.sleep(60)")
    assert processes.send(proc, signal.SIGSTOP)
    processes.end([proc], SystemClock(), grace_s=5)
    assert not processes.alive(proc)


def test_a_pid_given_to_another_is_never_signalled() -> None:
    """The same number with another start time is another process."""
    me = processes.find(os.getpid())
    assert me is not None
    stranger = Proc(me.pid, me.start_ticks - 1)
    assert not processes.send(stranger, signal.SIGKILL)
    assert not processes.send(Proc(2**22 + 5, 1), signal.SIGKILL)
    assert processes.find(2**22 + 5) is None


def test_marked_processes_are_found_by_the_whole_mark(tmp_path: Path) -> None:
    """`NAME=value` must be equal, not a beginning of it."""
    proc = _spawn(tmp_path, _DEAF, TRADEOPS_TEST_MARK=str(tmp_path))
    until(lambda: (tmp_path / "log").read_text() == "up\n", 10)
    try:
        assert processes.marked([f"TRADEOPS_TEST_MARK={tmp_path}"]) == [proc]
        assert processes.marked([f"TRADEOPS_TEST_MARK={tmp_path}"[:-1]]) == []
        assert proc.pid in processes.children(os.getpid())
    finally:
        processes.send(proc, signal.SIGKILL)
        processes.wait_gone([proc], SystemClock(), within_s=5)
    assert processes.children(proc.pid) == []
