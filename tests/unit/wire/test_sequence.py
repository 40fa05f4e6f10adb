"""Messages in order, each once, whatever the network does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeops.wire.sequence import Inbound


def test_in_order_they_pass_straight_through() -> None:
    """Nothing waits, nothing is asked for."""
    inbound: Inbound[str] = Inbound(0)
    assert [inbound.accept(1, "a"), inbound.accept(2, "b")] == [["a"], ["b"]]
    assert inbound.missing(2) is None and inbound.last == 2


def test_a_gap_is_asked_for_once_and_its_filling_releases_what_waited() -> None:
    """3 and 4 wait for 2."""
    inbound: Inbound[str] = Inbound(0)
    inbound.accept(1, "a")
    assert inbound.accept(3, "c") == []
    assert inbound.missing(3) == (2, 2)
    assert inbound.missing(3) is None
    assert inbound.accept(4, "d") == []
    assert inbound.waiting == 2
    assert inbound.accept(2, "b") == ["b", "c", "d"]


def test_a_heartbeat_reveals_a_lost_last_message() -> None:
    """The other side has reached 3, we have 1."""
    inbound: Inbound[str] = Inbound(1)
    assert inbound.missing(3) == (2, 3)


def test_a_second_gap_is_asked_for_by_itself() -> None:
    """Only what was not asked for before."""
    inbound: Inbound[str] = Inbound(0)
    inbound.accept(2, "b")
    assert inbound.missing(2) == (1, 1)
    inbound.accept(5, "e")
    assert inbound.missing(5) == (3, 4)


def test_duplicates_are_dropped() -> None:
    """Seen or waiting already."""
    inbound: Inbound[str] = Inbound(0)
    inbound.accept(1, "a")
    inbound.accept(3, "c")
    assert inbound.accept(1, "a") == inbound.accept(3, "c") == []


def test_what_waits_is_bounded() -> None:
    """A venue that never fills the gap does not fill our memory."""
    inbound: Inbound[str] = Inbound(0, held_max=2)
    inbound.accept(2, "b")
    inbound.accept(3, "c")
    with pytest.raises(OverflowError):
        inbound.accept(4, "d")


@given(st.permutations(range(1, 12)), st.data())
def test_any_order_of_arrival_gives_all_in_order(arrival: list[int], data: st.DataObject) -> None:
    """Shuffled and doubled: out comes 1, 2, 3 … each once; what is missing is always asked for."""
    inbound: Inbound[int] = Inbound(0)
    out: list[int] = []
    asked: set[int] = set()
    for seq in arrival:
        for _ in range(data.draw(st.integers(1, 2))):
            out += inbound.accept(seq, seq)
        if gap := inbound.missing(seq):
            asked |= set(range(gap[0], gap[1] + 1))
        unseen = set(range(1, max(arrival[: arrival.index(seq) + 1]))) - set(arrival[: arrival.index(seq) + 1])
        assert unseen <= asked
    assert out == list(range(1, 12))
