"""Properties of the exchange as members see it, whatever they send."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.venue import COIN, TAGS, order
from tradeops.venue.engine import Exchange, Symbol
from tradeops.venue.faults import Fault, FaultKind, Faults
from tradeops.venue.orders import Routed
from tradeops.wire.dropcopy import WorkingView
from tradeops.wire.protocol import (
    CancelAll,
    CancelOrder,
    ChangeOrder,
    DropReport,
    ExecKind,
    ExecutionReport,
    OrderState,
    Side,
    Tif,
)

CENT = COIN // 100
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["new", "new", "new", "ioc", "change", "cancel", "cancel_all", "house", "disconnect"]),
        st.sampled_from(["acc-1", "acc-2"]),
        st.sampled_from(Side),
        st.integers(9_995, 10_005),
        st.integers(1, 20),
        st.integers(0, 30),
    ),
    max_size=60,
)


def exchange(faults: Faults | None = None, orders_max: int = 1000) -> Exchange:
    return Exchange([Symbol("ABC", CENT, COIN, 100 * COIN)], faults=faults or Faults(), orders_max=orders_max)


def _act(floor: Exchange, number: int, act: tuple[str, str, Side, int, int, int]) -> list[Routed]:
    kind, account, side, cents, qty, pick = act
    session, price = f"s-{account}", cents * CENT
    match kind:
        case "house":
            return floor.house_submit("ABC", side, price, qty * COIN, number)[1]
        case "change":
            message = ChangeOrder(client_id=f"c{number}", orig_client_id=f"c{pick}", qty=qty * COIN, price=price, tags=TAGS)
            return floor.change(account, session, message, number)
        case "cancel":
            return floor.cancel(account, session, CancelOrder(client_id=f"c{number}", orig_client_id=f"c{pick}"), number)
        case "cancel_all":
            return floor.cancel_all(account, session, (), CancelAll(request_id=f"r{number}"), number)
        case "disconnect":
            return floor.disconnected(session, number)
    tif = Tif.IOC if kind == "ioc" else Tif.GTC if pick % 2 else Tif.DAY
    new = order(f"c{number}", side, qty, f"{cents // 100}.{cents % 100:02d}", tif=tif)
    return floor.new(account, session, new, number)


@given(ACTS)
def test_reports_tell_the_whole_story(acts: list[tuple[str, str, Side, int, int, int]]) -> None:
    """From the reports alone a drop copy knows exactly what works, and the fills of an order add up to its cumulative quantity."""
    floor, view, numbers = exchange(), WorkingView(), 0
    fills: dict[str, int] = {}
    for number, act in enumerate(acts):
        for routed in _act(floor, number, act):
            report = routed.message
            if not isinstance(report, ExecutionReport):
                continue
            numbers += 1
            view.apply(DropReport(number=numbers, account=routed.account, session=routed.session, report=report))
            fills[report.venue_id] = fills.get(report.venue_id, 0) + report.last_qty
            assert report.cumulative_qty == fills[report.venue_id]
        assert set(view.orders) == {record.venue_id for record in floor.working.values()}
        for record in floor.working.values():
            seen = view.orders[record.venue_id]
            assert (seen.leaves_qty, seen.cumulative_qty, seen.client_id, seen.price) == (
                record.leaves_qty,
                record.cumulative_qty,
                record.client_id,
                record.price,
            )
            assert record.leaves_qty == record.qty - record.cumulative_qty == floor.books["ABC"].orders[record.order_id].leaves


# K01
@given(ACTS, st.sampled_from(["acc-1", "acc-2"]))
def test_a_cancel_all_leaves_no_order_of_the_account_and_touches_no_other(
    acts: list[tuple[str, str, Side, int, int, int]], account: str
) -> None:
    """Whatever happened before."""
    floor = exchange()
    for number, act in enumerate(acts):
        _act(floor, number, act)
    others = {record.order_id for record in floor.working.values() if record.account != account}
    floor.cancel_all(account, "guard", (), CancelAll(request_id="r"), 99)
    assert set(floor.working) == others


def test_a_halted_symbol_takes_cancels_but_no_orders_or_changes() -> None:
    """R19: the way out stays open."""
    faults = Faults()
    floor = exchange(faults)
    floor.new("acc-1", "s1", order("c1"), 1)
    faults.add(Fault(FaultKind.HALT_SYMBOL))
    (rejected,) = floor.new("acc-1", "s1", order("c2"), 2)
    assert isinstance(rejected.message, ExecutionReport) and rejected.message.kind is ExecKind.REJECTED
    change = ChangeOrder(client_id="c3", orig_client_id="c1", qty=COIN, price=100 * COIN, tags=TAGS)
    assert not isinstance(floor.change("acc-1", "s1", change, 3)[0].message, ExecutionReport)
    (cancelled,) = floor.cancel("acc-1", "s1", CancelOrder(client_id="x", orig_client_id="c1"), 4)
    assert isinstance(cancelled.message, ExecutionReport) and cancelled.message.kind is ExecKind.CANCELLED


def test_a_full_venue_rejects_and_remembers() -> None:
    """A limit on everything: past orders_max an order is rejected, cancels go on."""
    floor = exchange(orders_max=1)
    floor.new("acc-1", "s1", order("c1"), 1)
    (answer,) = floor.new("acc-1", "s1", order("c2"), 2)
    assert isinstance(answer.message, ExecutionReport) and "full" in answer.message.text
    assert len(floor.records) == 1
    assert floor.cancel("acc-1", "s1", CancelOrder(client_id="x", orig_client_id="c1"), 3)


def test_a_change_below_what_is_filled_ends_the_order() -> None:
    """Nothing is left to work: it is cancelled, and says so after the change."""
    floor = exchange()
    floor.new("acc-1", "s1", order("c1", qty=10), 1)
    floor.house_submit("ABC", Side.SELL, 100 * COIN, 6 * COIN, 2)
    change = ChangeOrder(client_id="c2", orig_client_id="c1", qty=5 * COIN, price=100 * COIN, tags=TAGS)
    routed = floor.change("acc-1", "s1", change, 3)
    assert [one.message.kind for one in routed if isinstance(one.message, ExecutionReport)] == [ExecKind.CHANGED, ExecKind.CANCELLED]
    assert floor.records[1].state is OrderState.CANCELLED and not floor.working
