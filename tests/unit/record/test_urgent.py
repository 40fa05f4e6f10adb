"""A kill is recorded when it can be, and never waits for it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tests.support.wait import until
from tradeops.base.clock import SystemClock, VirtualClock
from tradeops.base.errors import UsageError
from tradeops.record.audit import Audit, NotRecorded
from tradeops.record.chain import read_rows, verify_chain
from tradeops.record.row import Kind
from tradeops.record.urgent import Urgent, redeem


def urgent(audit: Audit, *spills: Path, wait_s: float = 5.0) -> Urgent:
    return Urgent(audit, clock=VirtualClock(), actor="risk-1", spills=spills, wait_s=wait_s)


def test_a_kill_is_recorded_before_and_after_when_the_log_is_well(tmp_path: Path) -> None:
    """A03: the plain case is the plain pair."""
    audit = Audit(tmp_path / "audit.jsonl", clock=VirtualClock(), actor="risk-1")
    log = urgent(audit, tmp_path / "spill")
    ticket = log.intent("kill", hosts=("host-1",), detail={"reason": "test"})
    log.outcome(ticket, "8 of 8")
    assert log.settle() == ()
    assert [row.kind for row in read_rows(audit.path)] == [Kind.GENESIS, Kind.INTENT, Kind.OUTCOME]
    assert not (tmp_path / "spill").exists()


def test_a_kill_goes_on_without_a_log_and_is_recorded_afterwards(tmp_path: Path) -> None:
    """A03: the log's folder cannot be written: nothing is raised, all is owed, and redeemed into the chain later."""
    (tmp_path / "logs").write_text("a file where the folder should be")
    audit = Audit(tmp_path / "logs" / "audit.jsonl", clock=VirtualClock(), actor="risk-1")
    spills = (tmp_path / "logs" / "spill", tmp_path / "spill")
    log = urgent(audit, *spills)
    log.outcome(log.intent("kill", run="kill-1", hosts=("host-1",), detail={"password": "x"}), "8 of 8")
    owed = log.settle()
    assert [(one.meant, one.verb, one.result) for one in owed] == [("intent", "kill", ""), ("outcome", "kill", "8 of 8")]
    assert "cannot be written" in owed[0].why
    with pytest.raises(NotRecorded):
        redeem(audit, spills)
    (tmp_path / "logs").unlink()
    assert redeem(audit, spills) == 2
    rows = [row for row in read_rows(audit.path) if row.kind is Kind.LATE]
    assert [(row.verb, row.run, row.detail["meant"], row.detail["by"]) for row in rows] == [
        ("kill", "kill-1", "intent", "risk-1"),
        ("kill", "kill-1", "outcome", "risk-1"),
    ]
    assert verify_chain(audit.path).whole()
    assert redeem(audit, spills) == 0


def test_a_log_that_hangs_does_not_hold_a_kill(tmp_path: Path) -> None:
    """A03: another writer, stopped in the middle, holds the lock: intent comes back at once and is owed."""
    path = tmp_path / "audit.jsonl"
    clock = SystemClock()
    audit = Audit(path, clock=clock, actor="risk-1")
    audit.intent("deploy")
    held = os.open(tmp_path / "audit.jsonl.lock", os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    log = urgent(audit, tmp_path / "spill", wait_s=0.05)
    begun_ns = clock.monotonic_ns()
    ticket = log.intent("kill")
    took_ns = clock.monotonic_ns() - begun_ns
    owed = log.settle(0.05)
    os.close(held)
    assert took_ns < 2_000_000_000
    assert [one.meant for one in owed] == ["intent"]
    assert (tmp_path / "spill").stat().st_size > 0
    until(lambda: any(row.verb == "kill" for row in read_rows(path)), 10)
    log.outcome(ticket, "done")
    assert log.settle() == ()


def test_a_damaged_spill_is_said_so(tmp_path: Path) -> None:
    """What is owed is not silently dropped."""
    audit = Audit(tmp_path / "audit.jsonl", clock=VirtualClock(), actor="risk-1")
    (tmp_path / "spill").write_text("not a record\n")
    with pytest.raises(UsageError):
        redeem(audit, (tmp_path / "spill",))


def test_no_place_to_spill_still_returns_what_is_owed(tmp_path: Path) -> None:
    """A03: with no disk at all the kill's own output is the record."""
    (tmp_path / "file").write_text("")
    audit = Audit(tmp_path / "file" / "audit.jsonl", clock=VirtualClock(), actor="risk-1")
    log = urgent(audit, tmp_path / "file" / "spill")
    log.intent("kill")
    assert len(log.settle()) == 1
