"""What a build tells of code and flags that have had their day."""

from __future__ import annotations

import msgspec

from tests.sim.world import make_manifest
from tradeops.contracts.flags import meaning_digest
from tradeops.contracts.manifest import File, Flag, Release
from tradeops.release.deadcode import remarks, undeclared
from tradeops.release.ledger import LedgerFlag
from tradeops.release.matrix import STALE_NS

MEANING = "Routes retail orders to the new liquidity programme."


def release(number: int, *paths: str, removed: tuple[str, ...] = (), flags: tuple[Flag, ...] = ()) -> Release:
    """One with these files."""
    files = tuple(File(path, 0o644, 1, "sha256:1") for path in paths)
    return msgspec.structs.replace(make_manifest(number, flags=flags).predicate, files=files, removed=removed)


def test_code_that_went_without_a_word_is_named() -> None:
    """D04: Power Peg was unused and still callable; what leaves the tree is declared, and then proved absent on every host."""
    before = release(1, "run.py", "peg/a.py", "peg/b.py", "old.py", removed=("older.py",))
    new = release(2, "run.py", removed=("older.py", "peg"))
    assert undeclared(new, before) == ["old.py"]
    assert remarks(new, before, [], {}, now_ns=0) == (
        "removed since 1: peg; a deploy proves it absent on every host",
        "gone since 1, not declared under `removed`: old.py",
    )
    many = release(3, "run.py")
    assert remarks(many, before, [], {}, now_ns=0) == ("gone since 1, not declared under `removed`: peg/a.py, peg/b.py, old.py",)
    assert remarks(new, None, [], {}, now_ns=0) == ()
    assert remarks(before, before, [], {}, now_ns=0) == ()
    assert "and 1 more" in remarks(release(2, "x"), before, [], {}, now_ns=0)[0]


def test_flags_that_have_had_their_day_are_named() -> None:
    """On for a quarter in the newest release: plain code by now."""
    flag = Flag("rlp-7", meaning_digest(MEANING), on=True)
    ledger = {"rlp-7": LedgerFlag("rlp-7", MEANING, flag.meaning, 1, "operator-1")}
    new = release(2, "run.py", flags=(flag,))
    (said,) = remarks(new, None, [("r2", new)], ledger, now_ns=STALE_NS + 1)
    assert said.startswith("flag rlp-7: on everywhere for long")
