"""The trader's books against the drop copy: what is a break, and what only looks like one. Pure."""

from __future__ import annotations

import msgspec
import pytest

from tradeops.base.clock import NS_PER_S
from tradeops.contracts.identity import Identity
from tradeops.contracts.status import Vitals
from tradeops.guard.reconcile import Reconciler

IDENTITY = Identity("trader", "sha256:" + "1" * 64, "sha256:" + "b" * 64, 0, "blue", 10, 20, 0)
VITALS = Vitals(IDENTITY, 0, "ready", 5, 0, 0, 0, {"sim": "up"}, {}, {}, {}, {}, {}, {})


def meet(
    reconciler: Reconciler,
    at_s: float,
    ours: int,
    theirs: int,
    *,
    filled: int = 0,
    held: int = 0,
    memory: int = 0,
    said_s: float = -1,
    unanswered: int = 0,
) -> tuple[str, ...]:
    """One look: working orders by trader and drop copy, and one symbol. said_s: when the trader said so, now if negative."""
    beat_ns = int((at_s if said_s < 0 else said_s) * NS_PER_S)
    vitals = msgspec.structs.replace(VITALS, beat_ns=beat_ns, working=theirs, unanswered=unanswered)
    vitals = msgspec.structs.replace(vitals, positions={"ABC": held} if held else {})
    return reconciler.measure(vitals, {"ABC": filled} if filled else {}, ours, memory, int(at_s * NS_PER_S))


def test_books_may_differ_for_a_moment_and_not_for_longer() -> None:
    """Three seconds apart is a break, and it closes when they meet."""  # R14
    reconciler = Reconciler()
    assert meet(reconciler, 0, 3, 3) == ()
    for tenth in range(10, 40):
        assert meet(reconciler, tenth / 10, 3, 4) == ()
    assert meet(reconciler, 4, 3, 4) == ("working orders: trader 4, drop copy 3",)
    assert meet(reconciler, 60, 3, 4) == ("working orders: trader 4, drop copy 3",)
    assert meet(reconciler, 60.1, 4, 4) == ()


def test_a_venue_that_is_slow_to_answer_is_no_break() -> None:
    """A trader that awaits the answer to four cancels does not claim that they work; what it does claim is held against it."""  # R14
    for known, broken_after_s in ((0, 30), (1, 3)):
        reconciler = Reconciler()
        for tenth in range(10 * broken_after_s):
            assert meet(reconciler, tenth / 10, 0, 4 + known, unanswered=4) == ()
        said = f"working orders: trader {4 + known}, 4 of them unanswered, drop copy 0"
        assert meet(reconciler, broken_after_s, 0, 4 + known, unanswered=4) == (said,)
        assert meet(reconciler, broken_after_s + 0.1, 0, 0) == ()


def test_orders_taken_back_and_placed_anew_are_no_break_however_rarely_they_are_seen() -> None:
    """A square wave of a second, the trader's beats up to a second old when the drop copy is looked at: seen with eight busy hosts."""
    for look_s in (0.05, 0.3, 0.7, 0.9, 1.0, 1.1):
        for lag_s in (0.0, 0.4, 0.9):
            reconciler = Reconciler()
            for number in range(1, 100):
                at_s = 10 + number * look_s
                shown, said = (4 * (int(moment_s) % 2) for moment_s in (at_s, at_s - lag_s))
                assert meet(reconciler, at_s, shown, said, said_s=at_s - lag_s) == (), (look_s, lag_s, number)


def test_a_break_is_found_in_a_busy_book() -> None:
    """The same wave with one order that only the drop copy knows is a break within seconds."""  # R14
    reconciler, found = Reconciler(), []
    for tenth in range(100):
        wave = 4 * (tenth // 10 % 2)
        found.append(meet(reconciler, tenth / 10, wave + 5, wave))
    assert found[45] and not found[20]


def test_old_words_of_a_trader_are_no_break() -> None:
    """A trader that said nothing for seconds has old books, not wrong ones: its silence is the watchdog's matter."""  # R14
    reconciler = Reconciler()
    assert meet(reconciler, 0, 4, 4) == ()
    for at_s in range(1, 9):
        assert meet(reconciler, at_s, 1, 4, said_s=0) == ()
    assert meet(reconciler, 9, 1, 1) == ()


def test_positions_are_compared_from_where_both_began() -> None:
    """An old position is no break; a fill that one side does not know is."""  # R14
    reconciler = Reconciler()
    for tenth in range(150):
        assert meet(reconciler, tenth / 10, 0, 0, held=7 * NS_PER_S) == ()
    for tenth in range(150, 180):
        assert meet(reconciler, tenth / 10, 0, 0, held=7 * NS_PER_S, filled=NS_PER_S) == ()
    assert meet(reconciler, 19, 0, 0, held=7 * NS_PER_S, filled=NS_PER_S) == ("position ABC: trader 7, drop copy 8",)
    assert meet(reconciler, 19.1, 0, 0, held=7 * NS_PER_S, filled=0, memory=1) == ()


@pytest.mark.parametrize("lag_s", [-0.9, -0.3, 0.0, 0.2, 0.9])
@pytest.mark.parametrize("pause_s", [0.0, 0.3])
def test_a_guard_that_starts_in_mid_trading_learns_what_was_held(lag_s: float, pause_s: float) -> None:
    """A fill at that moment shows on one side before the other: no break then or later; one that is lost afterwards is found."""  # R14
    reconciler = Reconciler()

    def held_at(moment_s: float) -> int:
        """Sixty lots each way, one every 0.7 s, and a moment of rest at the turn; forty lots from before."""
        place = moment_s % 90
        return 40 + int(min(place, 42.0) / 0.7) - int(max(0.0, min(place - 48.0, 42.0)) / 0.7)

    def look(at_s: float, lost: int) -> tuple[str, ...]:
        drop_copy = held_at(at_s - max(0.0, -lag_s)) - held_at(20.0)
        return meet(reconciler, at_s, 0, 0, held=held_at(at_s - max(0.0, lag_s)) - lost, filled=drop_copy, said_s=at_s - max(0.0, lag_s))

    step_s = 0.1 + pause_s
    for number in range(int(100 / step_s)):
        assert look(20.05 + number * step_s, 0) == (), number
    found = [look(121 + number * step_s, 1) for number in range(int(60 / step_s))]
    assert any(found), "a lost fill is a break once the books have rested"


def test_a_beat_that_contradicts_what_was_learned_begins_it_anew() -> None:
    """Seen too rarely while it is learned: no break for ever after."""
    reconciler = Reconciler()
    for at_s, held, filled in ((0, 9, 0), (1.1, 9, 0), (2.2, 9, 0), (3.3, 11, 1), (4.4, 11, 1)):
        assert meet(reconciler, at_s, 0, 0, held=held, filled=filled) == ()
    assert "ABC" in reconciler.learning
    for tenth in range(50, 200):
        assert meet(reconciler, tenth / 10, 0, 0, held=11, filled=1) == ()
    assert not reconciler.learning


def test_a_busy_book_that_lags_is_no_break() -> None:
    """Positions that run, each seen a little late, are within each other's range."""
    reconciler = Reconciler()
    for step in range(200):
        assert meet(reconciler, step / 10, step, max(0, step - 3), held=max(0, step - 5), filled=step) == ()


def test_nothing_is_compared_while_a_side_is_missing() -> None:
    """Not known is not a break here; a permit asks for the drop copy by itself."""
    reconciler = Reconciler()
    assert reconciler.measure(None, {}, 3, 0, 0) == ()
    assert reconciler.measure(VITALS, {}, None, 0, 0) == ()
    assert reconciler.measure(msgspec.structs.replace(VITALS, state="recovering"), {}, 3, 0, 0) == ()
