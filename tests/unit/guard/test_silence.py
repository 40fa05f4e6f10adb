"""A guard that was frozen speaks anew: a gate that took it for dead believes a higher epoch only."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from tests.support.venue import run
from tradeops.base.clock import NS_PER_MS, NS_PER_S, VirtualClock
from tradeops.contracts.envelope import Envelope
from tradeops.guard.marks import Decision
from tradeops.guard.memory import Memory
from tradeops.guard.state import Permit, Store
from tradeops.guard.stop import StopKeeper


def _armed(folder: Path, clock: VirtualClock) -> Memory:
    memory = Memory(Store(folder / "state.json"), StopKeeper(folder / "stop.page"), clock)
    memory.boot()
    permit = Permit("p1", 1, ("operator-1", "risk-1"), "enrolled", Envelope("", ()))
    run(memory.add(lambda state: Decision(replace(state, permit=permit, marks=()))))
    return memory


def test_a_guard_that_was_frozen_speaks_under_a_new_epoch(tmp_path: Path) -> None:
    """K13: after two seconds without a beat the same words come under a higher epoch; ordinary beats keep theirs."""
    clock = VirtualClock()
    memory = _armed(tmp_path, clock)
    epoch = memory.stop.epoch
    for _ in range(20):
        clock.advance_ns(100 * NS_PER_MS)
        assert memory.beat() == ""
    assert memory.stop.epoch == epoch
    clock.advance_ns(2 * NS_PER_S)
    assert memory.beat() == ""
    assert memory.stop.epoch == memory.state.epoch == epoch + 1
    assert memory.stop.words.may_send
    assert memory.beat() == ""
    assert memory.stop.epoch == epoch + 1
