"""Flags by release and host, and which of them have had their day."""

from __future__ import annotations

import msgspec
import pytest

from tests.sim.world import make_manifest
from tradeops.contracts.binding import OVERLAY_SCHEMA, Overlay
from tradeops.contracts.flags import meaning_digest
from tradeops.contracts.manifest import Flag, Release
from tradeops.release.ledger import LedgerFlag
from tradeops.release.matrix import STALE_NS, FlagRow, Known, matrix

MEANING = "Routes retail orders to the new liquidity programme."
DECLARED = LedgerFlag("rlp-7", MEANING, meaning_digest(MEANING), 1, "operator-1")
ON, OFF = Flag("rlp-7", DECLARED.digest, on=True), Flag("rlp-7", DECLARED.digest)
LONG_AGO = STALE_NS + 2


def release(*flags: Flag) -> Release:
    return make_manifest(1, flags=flags).predicate


def row(*releases: Release, overlay: Overlay | None = None, active: dict[str, tuple[str, ...]] | None = None, now_ns: int = 2) -> FlagRow:
    columns = [(f"r{len(releases) - at}", one) for at, one in enumerate(releases)]
    (found,) = matrix({"rlp-7": DECLARED}, columns, overlay, active, now_ns=now_ns)
    return found


def test_what_each_release_makes_of_a_flag() -> None:
    """On, off, unknown, and another meaning, which is no flag of that name at all."""
    found = row(release(ON), release(OFF), release(), release(Flag("rlp-7", "sha256:1", on=True)))
    assert list(found.releases.values()) == [Known.ON, Known.OFF, Known.UNKNOWN, Known.ANOTHER]
    assert (found.state, found.active_on, found.off_by) == ("declared", None, 0)


def test_an_overlay_shows() -> None:
    """Off whatever the release says, and by which overlay."""
    found = row(release(ON), overlay=Overlay(OVERLAY_SCHEMA, "lab", 4, flags_off={"rlp-7": 3}))
    assert (list(found.releases.values()), found.off_by) == ([Known.OFF], 3)


def test_ids_that_the_ledger_does_not_know_are_shown() -> None:
    """A release that somebody built elsewhere."""
    (found,) = matrix({}, [("r1", release(ON))], None, {"h1": ("rlp-7",), "h2": ()}, now_ns=2)
    assert (found.state, found.active_on, found.stale) == ("undeclared", ("h1",), "")


@pytest.mark.parametrize(
    ("releases", "active", "said"),
    [
        ((release(ON), release(OFF)), {"h1": ("rlp-7",)}, "on everywhere"),
        ((release(ON),), None, "on everywhere"),
        ((release(ON),), {"h1": ("rlp-7",), "h2": ()}, ""),
        ((release(), release()), {"h1": ()}, "in no release"),
        ((release(OFF), release(OFF)), {"h1": ()}, "never on"),
        ((release(OFF), release(ON)), {"h1": ()}, ""),
        ((), None, ""),
    ],
)
def test_what_has_had_its_day(releases: tuple[Release, ...], active: dict[str, tuple[str, ...]] | None, said: str) -> None:
    """Declared long ago and on everywhere, or nowhere; a young one never, a buried one never."""
    assert row(*releases, active=active, now_ns=LONG_AGO).stale.startswith(said)
    assert bool(row(*releases, active=active, now_ns=LONG_AGO).stale) == bool(said)
    assert row(*releases, active=active, now_ns=STALE_NS).stale == ""
    dead = msgspec.structs.replace(DECLARED, retired_ns=2, retired_by="operator-1")
    (buried,) = matrix({"rlp-7": dead}, [("r1", release(ON))], None, active, now_ns=LONG_AGO)
    assert (buried.stale, buried.state) == ("", "tombstone")
