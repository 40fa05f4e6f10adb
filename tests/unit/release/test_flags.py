"""Flags: ids are used once and for ever, and no rollback gives a live one another meaning."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.release.conftest import Workshop
from tradeops.base.errors import Refused, UsageError
from tradeops.contracts.flags import meaning_digest
from tradeops.contracts.manifest import Flag, Release
from tradeops.release.diff import diff
from tradeops.release.flags import conflicts, journal_conflict
from tradeops.release.ledger import FlagLedger

RLP = meaning_digest("Routes retail orders to the new liquidity programme.")
POWER_PEG = meaning_digest("Sends child orders until the parent is filled, without counting fills.")


@pytest.fixture
def release(workshop: Workshop) -> Release:
    return workshop.build().manifest.predicate


def like(release: Release, **changes: Any) -> Release:
    return msgspec.structs.replace(release, **changes)


def test_the_knight_rollback_is_refused(release: Release) -> None:
    """D13: 1 August 2012: the repurposed flag is live, and the old code means Power Peg by it."""
    old = like(release, flags=(Flag("smars-7", POWER_PEG),))
    found = conflicts({"smars-7": RLP}, old)
    assert [(conflict.flag, conflict.active, conflict.target) for conflict in found] == [("smars-7", RLP, POWER_PEG)]
    assert "means something else" in str(found[0])


def test_a_live_flag_that_the_target_never_heard_of_is_in_the_way(release: Release) -> None:
    """D13: unknown is not the same meaning."""
    (conflict,) = conflicts({"smars-7": RLP}, like(release, flags=()))
    assert "unknown" in str(conflict)


def test_the_same_meaning_or_a_flag_that_is_off_is_no_conflict(release: Release) -> None:
    """D13: after `flag off` the way back is free; whether the target turns it on by itself does not matter."""
    for on in (True, False):
        assert conflicts({"smars-7": RLP}, like(release, flags=(Flag("smars-7", RLP, on),))) == ()
    assert conflicts({}, like(release, flags=(Flag("smars-7", POWER_PEG),))) == ()


def test_a_journal_must_be_readable_by_the_target(release: Release) -> None:
    """D13: going back to code that cannot read what was written is refused."""
    running = like(release, journal_reads=(1, 2), journal_writes=2)
    assert journal_conflict(running, like(release, journal_reads=(1, 2), journal_writes=1)) is None
    assert "reads 1" in str(journal_conflict(running, like(release, journal_reads=(1,), journal_writes=1)))
    assert "reads none" in str(journal_conflict(running, release))
    assert journal_conflict(release, running) is None


def test_an_id_is_declared_once_and_for_ever(tmp_path: Path) -> None:
    """D05: declared twice, or after its retirement: refused."""
    ledger = FlagLedger(tmp_path / "flags.json")
    assert ledger.flags() == {}
    ledger.declare("smars-7", "Sends child orders for ever.", by="operator-1", now_ns=1)
    with pytest.raises(Refused, match="declared already"):
        ledger.declare("smars-7", "Retail liquidity programme.", by="operator-2", now_ns=2)
    assert ledger.retire("smars-7", by="operator-1", now_ns=3).retired_ns == 3
    with pytest.raises(Refused, match="retired"):
        ledger.declare("smars-7", "Sends child orders for ever.", by="operator-1", now_ns=4)
    with pytest.raises(Refused, match="retired already"):
        ledger.retire("smars-7", by="operator-1", now_ns=5)
    with pytest.raises(Refused, match="unknown"):
        ledger.retire("never", by="operator-1", now_ns=5)
    assert FlagLedger(tmp_path / "flags.json").flags()["smars-7"].retired_by == "operator-1"


def test_a_retired_flag_is_in_no_release(workshop: Workshop) -> None:
    """D05: the tombstone stops the build."""
    workshop.ledger.declare("smars-7", "Sends child orders.", by="operator-1", now_ns=1)
    workshop.define("flags: [{id: smars-7, meaning: Sends child orders.}]\n")
    workshop.build()
    workshop.ledger.retire("smars-7", by="operator-1", now_ns=2)
    with pytest.raises(Refused, match="retired"):
        workshop.build()


def test_a_ledger_changed_by_hand_is_found(tmp_path: Path) -> None:
    """D05: a meaning edited in place, another schema, no JSON: the past is not clean, so nothing goes on."""
    path = tmp_path / "flags.json"
    ledger = FlagLedger(path)
    ledger.declare("smars-7", "Sends child orders.", by="operator-1", now_ns=1)
    good = path.read_text()
    for bad in (good.replace("child orders", "parent orders"), good.replace("flags/v1", "flags/v9"), "not json"):
        path.write_text(bad)
        with pytest.raises(UsageError):
            ledger.declare("other", "Does something else.", by="operator-1", now_ns=2)
        assert path.read_text() == bad


@pytest.mark.parametrize(("flag", "meaning"), [("", "A meaning of words."), ("Power Peg", "A meaning of words."), ("ok", "  x  ")])
def test_ill_formed_declarations(tmp_path: Path, flag: str, meaning: str) -> None:
    """D05: an id that cannot be typed twice the same way, and a meaning that says nothing."""
    with pytest.raises(UsageError):
        FlagLedger(tmp_path / "flags.json").declare(flag, meaning, by="operator-1", now_ns=1)


def test_two_people_declaring_at_once_lose_nothing(tmp_path: Path) -> None:
    """D05: side by side, each id once."""
    ledger = FlagLedger(tmp_path / "flags.json")
    threads = [
        threading.Thread(target=lambda n=n: ledger.declare(f"flag-{n}", "Does one thing well.", by="operator-1", now_ns=n))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger.flags()) == 8


def test_what_differs_between_releases(workshop: Workshop) -> None:
    """Files, flags, settings; the bytes that would travel; and nothing between twins but their numbers."""
    first = workshop.build().manifest.predicate
    twin = workshop.build().manifest.predicate
    assert diff(first, twin).same()
    workshop.write("main.py", "print('changed')\n")
    workshop.write("added", "new")
    (workshop.folder / "data" / "table.csv").unlink()
    workshop.define("flags: [{id: smars-7, meaning: Sends child orders.}]\nremoved: [old.py]\n")
    workshop.ledger.declare("smars-7", "Sends child orders.", by="operator-1", now_ns=1)
    found = diff(twin, workshop.build().manifest.predicate)
    assert not found.same()
    assert (found.added, found.removed, found.changed) == (("added",), ("data/table.csv",), ("main.py", "service.yml"))
    assert found.bytes_new == sum(len((workshop.folder / name).read_bytes()) for name in ("main.py", "added", "service.yml"))
    assert found.flags["smars-7"][0] == "absent"
    assert found.settings == {"removed": ((), ("old.py",))} or found.settings == {"removed": ([], ["old.py"])}
