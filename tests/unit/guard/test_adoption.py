"""Orders that are kept for the slot that is activated: what proves them known, and what becomes of them otherwise (O09)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.guardstate import ARMED, FIT, NOW, T0, after, code, later, order
from tradeops.base.clock import NS_PER_S, VirtualClock
from tradeops.contracts.directive import ADOPT, Scope, Verb
from tradeops.contracts.status import Mark, MarkKind, OpenOrder
from tradeops.guard import marks
from tradeops.guard.adoption import KEPT_NS_MAX, Shown, Unclaimed, strange
from tradeops.guard.marks import Facts, Order
from tradeops.guard.memory import Memory, words_of
from tradeops.guard.state import State, Store
from tradeops.guard.stop import StopKeeper
from tradeops.guard.verbs import decide
from tradeops.wire.protocol import Side, Tags, Tif, WorkingOrder

KEPT = after(ARMED, order(Verb.STANDBY, "s1", args={"orders": ADOPT}, issued_ns=T0 - 3))
AT_WORK = dataclasses.replace(FIT, working="2 orders work, by drop copy")
STRANGE = dataclasses.replace(AT_WORK, strange={"blue": "c1 works at sim, and the journal does not hold it open"})


def _activate(**args: Any) -> Order:
    return order(Verb.ACTIVATE, "a1", args={"token": 1, "slot": "blue", "orders": ADOPT, **args})


def _halted() -> State:
    return after(KEPT, order(Verb.HALT, "h1"))


def test_a_standby_that_keeps_orders_cancels_nothing_and_the_page_says_so() -> None:
    """Signed with the directive, said again it is the same; any other stop of the whole host ends it."""
    decision = decide(ARMED, order(Verb.STANDBY, "s1", args={"orders": ADOPT}), Facts(), NOW)
    assert decision.cancel is None and decision.state.marks[0].keeps_orders
    again = decide(KEPT, order(Verb.STANDBY, "s1", args={"orders": ADOPT}), Facts(), NOW)
    assert again.already and again.cancel is None
    assert words_of(KEPT, NOW).narrowing.keep_orders and not words_of(KEPT, NOW).may_send
    narrow = after(KEPT, order(Verb.HALT, "h1", scope=Scope(symbols=("ACME",))))
    assert words_of(narrow, NOW).narrowing.keep_orders
    stopped = (
        _halted(),
        after(KEPT, order(Verb.KILL, "k1")),
        after(KEPT, order(Verb.STANDBY, "s2")),
        marks.disarm(KEPT, "lost", "guard", NOW),
        marks.trip(KEPT, MarkKind.HALT, "clock", "off", NOW),
    )
    for state in stopped:
        assert not words_of(state, NOW).narrowing.keep_orders
    assert decide(KEPT, order(Verb.STANDBY, "s2"), Facts(), NOW).cancel == Scope()


def test_the_token_goes_over_with_orders_that_the_slot_knows() -> None:
    """And the reply says so; with nothing at work it is an activation like any other."""
    decision = decide(KEPT, _activate(), AT_WORK, NOW)
    assert marks.trading(decision.state, NOW) and decision.note == "adopted: 2 orders work, by drop copy"
    assert decide(KEPT, _activate(), FIT, NOW).note == "adopted: nothing works"


@pytest.mark.parametrize(
    ("expected", "state", "one", "found"),
    [
        ("not_adoptable", KEPT, _activate(), STRANGE),
        ("not_adoptable", KEPT, _activate(), dataclasses.replace(AT_WORK, strange={})),
        ("not_stood_down", KEPT, _activate(), dataclasses.replace(AT_WORK, writing="slot blue still writes")),
        ("not_stood_down", KEPT, _activate(orders="cancel"), AT_WORK),
        ("not_stood_down", KEPT, order(Verb.ACTIVATE, "a1", args={"token": 1, "slot": "blue"}), AT_WORK),
        ("not_stood_down", _halted(), _activate(), AT_WORK),
        ("not_stood_down", after(ARMED, order(Verb.STANDBY, "s1", issued_ns=T0 - 3)), _activate(), AT_WORK),
        ("not_stood_down", marks.take_back_kept(KEPT, "late"), _activate(), AT_WORK),
        ("malformed", KEPT, _activate(orders="sell"), AT_WORK),
    ],
)
def test_the_token_is_not_given_by_adoption(expected: str, state: State, one: Order, found: Facts) -> None:
    """Each thing it needs, taken away alone."""
    assert code(state, one, found) == expected


def test_orders_that_were_given_up_are_cancelled_and_the_activation_says_why() -> None:
    """The way that `cancel` goes, said aloud."""
    given_up = marks.take_back_kept(KEPT, "after 5 s slot green was not activated")
    assert not any(mark.keeps_orders for mark in given_up.marks) and not words_of(given_up, NOW).narrowing.keep_orders
    note = decide(given_up, _activate(), FIT, NOW).note
    assert note == "nothing works: a reason; orders not adopted, but cancelled: after 5 s slot green was not activated"
    assert marks.take_back_kept(given_up, "again") is given_up


def test_kept_orders_have_a_few_seconds() -> None:
    """Anew with each standby, also with one that follows before the guard has looked again; one that is added gains nothing."""
    unclaimed = Unclaimed()
    kept, second = ((Mark(MarkKind.STANDBY, name, "run r", "cutover", 0, keeps_orders=True),) for name in ("s1", "s2"))
    assert not unclaimed.measure(kept, NS_PER_S) and not unclaimed.measure(kept, NS_PER_S + KEPT_NS_MAX)
    assert unclaimed.measure(kept, NS_PER_S + KEPT_NS_MAX + 1)
    assert unclaimed.measure((*kept, *second), NS_PER_S + KEPT_NS_MAX + 2)
    assert not unclaimed.measure(second, 9 * NS_PER_S)
    assert not unclaimed.measure((), 10 * NS_PER_S) and not unclaimed.measure(kept, 11 * NS_PER_S)


def test_a_guard_that_is_started_anew_keeps_no_orders(tmp_path: Path) -> None:
    """K06: it does not know for how long nobody looked after them."""
    clock = VirtualClock(wall_ns=later(1).wall_ns, monotonic_ns=later(1).monotonic_ns)
    page = tmp_path / "stop.page"
    memory = Memory(Store(tmp_path / "state.json"), StopKeeper(page), clock)
    memory.boot()
    memory.store.save(replace(KEPT, epoch=memory.stop.epoch))
    memory.stop.close()
    again = Memory(Store(tmp_path / "state.json"), StopKeeper(page), clock)
    again.boot()
    (mark,) = (mark for mark in again.state.marks if mark.kind is MarkKind.STANDBY)
    assert not mark.keeps_orders and "started anew" in mark.reason and not again.stop.words.narrowing.keep_orders
    again.stop.close()


TOLD = OpenOrder("sim", "c1", "ACME", "buy", 100, 10, 2)


def _shown(client_id: str = "c1", **changes: Any) -> WorkingOrder:
    words: dict[str, Any] = {
        "venue_id": "V1", "client_id": client_id, "account": "a", "session": "s", "symbol": "ACME", "side": Side.BUY, "qty": 10,
        "price": 100, "cumulative_qty": 2, "leaves_qty": 8, "tif": Tif.DAY, "tags": Tags(strategy="s", release="r", host="h", desk="d"),
    }  # fmt: skip
    return WorkingOrder(**{**words, **changes})


@pytest.mark.parametrize(
    ("words", "told", "working", "ended"),
    [
        ("", (TOLD,), (_shown(),), ()),
        ("", (), (), ()),
        ("", (TOLD,), (_shown(cumulative_qty=5, leaves_qty=5),), ()),  # executed since: the venue tells it at the logon
        ("", (TOLD,), (), ("c1",)),  # ended since
        ("does not say which", None, (_shown(),), ()),
        ("c9 works at sim, and the journal does not", (TOLD,), (_shown(), _shown("c9")), ()),
        ("the journal holds c1 open, which sim does not show", (TOLD,), (), ("c2",)),
        ("2 executed, the drop copy 1", (TOLD,), (_shown(cumulative_qty=1, leaves_qty=9),), ()),
        ("c1 at sim: the journal says", (TOLD,), (_shown(price=101),), ()),
        ("c1 at sim: the journal says", (TOLD,), (_shown(side=Side.SELL),), ()),
        ("c1 at sim: the journal says", (TOLD,), (_shown(qty=11),), ()),
        ("c1 at sim: the journal says", (TOLD,), (_shown(symbol="GLOBEX"),), ()),
        ("what works at sim is not known", (TOLD,), None, ()),
        ("c3 is open at other, where it does not trade", (TOLD, replace(TOLD, venue="other", id="c3")), (_shown(),), ()),
    ],
)
def test_what_works_is_held_against_the_journal(
    words: str, told: tuple[OpenOrder, ...] | None, working: tuple[WorkingOrder, ...] | None, ended: tuple[str, ...]
) -> None:
    """Order by order: id, symbol, side, price, quantity, and no less executed; anything else is named."""
    problem = strange(told, {"sim": Shown(working, ended)}, ("sim",))
    assert (words in problem) if words else problem == ""
