"""What only one of the two fan-outs does."""

from __future__ import annotations

import subprocess
import sys

from tests.support.sshd import host
from tradeops.base.clock import NS_PER_S, SystemClock, VirtualClock
from tradeops.fleet.fanout import SequentialFanOut, ThreadFanOut
from tradeops.fleet.outcome import values

HUNG = """
import threading
from pathlib import PurePosixPath
from tradeops.base.clock import SystemClock
from tradeops.fleet.fanout import ThreadFanOut
from tradeops.fleet.host import Host
host = Host("a", "127.0.0.1", 1, "u", "", 1, "/p", PurePosixPath("/"), "systemd")
ThreadFanOut(SystemClock()).run([host], lambda _: threading.Event().wait(), deadline_s=0.1)
print("left")
"""


def test_a_hung_act_does_not_keep_the_process() -> None:
    """The interpreter ends while a thread still waits for ever."""
    ended = subprocess.run([sys.executable, "-c", HUNG], capture_output=True, timeout=20, check=True)
    assert ended.stdout == b"left\n"


def test_a_thousand_hosts_go_through() -> None:
    hosts = [host(f"host-{number}", port=1) for number in range(1000)]
    assert len(values(ThreadFanOut(SystemClock()).run(hosts, lambda one: one.name, deadline_s=30))) == 1000


def test_simulated_acts_run_side_by_side() -> None:
    """Each starts at the same moment; time then stands where the slowest ended, whatever the order."""
    clock = VirtualClock()
    start_ns = clock.monotonic_ns()
    starts: list[int] = []
    hosts = [host(f"host-{number}", port=number + 1) for number in range(3)]

    def act(port: int) -> None:
        starts.append(clock.monotonic_ns() - start_ns)
        clock.sleep_s(4 - port)

    SequentialFanOut(clock).run(hosts, lambda one: act(one.port), deadline_s=10)
    assert starts == [0, 0, 0]
    assert clock.monotonic_ns() - start_ns == 3 * NS_PER_S
