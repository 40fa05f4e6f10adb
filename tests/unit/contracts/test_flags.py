"""Which flags are in force: by the release, the overlays, and which of those the release ends."""

from __future__ import annotations

from tradeops.contracts.flags import active_flags, meaning_digest
from tradeops.contracts.manifest import Flag

ON = Flag("rlp-7", meaning_digest("Routes retail orders to the new liquidity programme."), on=True)


def test_flags_are_turned_on_by_the_release_alone() -> None:
    """D06: known is not on, and nothing turns on at run time."""
    assert active_flags((ON, Flag("b", "sha256:1")), {}) == {"rlp-7": ON.meaning}
    assert active_flags((Flag("b", "sha256:1"),), {"b": 1}) == {}


def test_an_overlay_turns_a_flag_off_until_a_release_ends_that_overlay() -> None:
    """D06: a later release that does not name it changes nothing; one that does ends it and no later one."""
    assert active_flags((ON,), {"rlp-7": 3}) == {}
    ending = Flag(ON.id, ON.meaning, on=True, ends=3)
    assert active_flags((ending,), {"rlp-7": 3}) == {"rlp-7": ON.meaning}
    assert active_flags((ending,), {"rlp-7": 4}) == {}
    assert active_flags((Flag(ON.id, ON.meaning, on=False, ends=3),), {"rlp-7": 3}) == {}
