"""What can go wrong with a host in the middle of a run."""

from __future__ import annotations

from collections.abc import Iterable

from tests.sim.guard import SimGuard
from tests.sim.host import SimHost
from tradeops.base.clock import NS_PER_S
from tradeops.contracts.status import Mark, MarkKind

LASTING = (
    "ssh_refused",
    "ssh_hang",
    "agent_gone",
    "lying_copy",
    "lying_switch",
    "survivor",
    "hidden_survivor",
    "flipped_byte",
    "removed_present",
    "disk_full",
    "read_only",
    "guard_dead",
    "guard_hang",
    "lying_guard",
    "feed_dead",
    "orders_stuck",
    "does_not_start",
    "clock_skew",
    "trader_hung",
)
DATA = ("no_data", "stale", "went_back", "quiet")
LOST = ("lost_lock", "lost_receive", "lost_assemble", "lost_stop", "lost_switch", "lost_start", "lost_prove", "lost_renew", "lost_unlock")


def blind(hosts: Iterable[SimHost], fault: str) -> None:
    """What a gate reads of them is worth nothing any more; `quiet`: nothing comes in."""
    for host in hosts:
        if fault == "quiet":
            host.quiet_since_s = host.clock.wall_ns() / NS_PER_S
        else:
            host.faults.add(fault)


def damage(host: SimHost) -> None:
    """A file of the release that lies there now is not what it was."""
    host.damaged = host.linked


def reboot(host: SimHost) -> None:
    """Its processes and its lock are gone."""
    host.reboot()
    host.lock = None


def come_back(host: SimHost) -> None:
    """A host that was away is there again, and trades what it did."""
    host.faults.clear()
    host.reboot()
    host._do_start(slot=host.active)


def cut_off(host: SimHost) -> None:
    """Power and network are gone."""
    reboot(host)
    host.faults.add("ssh_refused")


def replace_by_image(host: SimHost, release: str) -> None:
    """The same name on another machine, as it was before: the old release trades, and it knows nothing of any run."""
    reboot(host)
    host.fence = 0
    host.guard = SimGuard(host.clock, host.guard.ahead_ns)
    host.runs_already(release)


def trip(host: SimHost) -> None:
    """A control of its own halts it."""
    host.guard.trip("reconciliation", "position ABC: trader 1, drop copy 2")


def crash(host: SimHost) -> None:
    """Its trader dies, and nothing starts it again: a guard that sees it trade halts it."""
    process, trades = host.process, host.guard.trades()
    host.slot.process = None
    if process and trades:
        host.guard.trip("trader-dead", f"process {process.pid} is gone")


def halted_by_hand(host: SimHost) -> None:
    """A person halts it."""
    host.guard.mark(Mark(MarkKind.HALT, "halt-1", "operator-2", "the venue called", host.clock.wall_ns()))
