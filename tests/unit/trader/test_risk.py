"""Every control has its own denial, with what was measured and the limit; cancels are never asked about."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.trader import LIMITS, PRICE, SYMBOL, TICK, VENUE, overlay
from tradeops.contracts.manifest import Limits as ReleaseLimits
from tradeops.contracts.units import UNIT, value_of
from tradeops.trader.messages import Order, sign
from tradeops.trader.risk.check import Bounds, Facts, check
from tradeops.trader.risk.denial import Code, Denial
from tradeops.trader.risk.limits import GROSS, NAMES, NET, ORDER_COUNT, ORDER_RATE, POSITION, Limits, tightest, unknown
from tradeops.trader.risk.rate import MessageRate
from tradeops.wire.protocol import Side, Tags

BOUNDS = Bounds(collar_ppm=50_000, collar_window_ppm=100_000, reference_age_max_ns=100)
BUDGETS = {"gross_notional": 100_000 * UNIT}
TAGS = Tags(strategy="s", release="r", host="h", desk="d")
FACTS = Facts(
    tick=TICK,
    lot=UNIT,
    reference_age_ns=0,
    position=0,
    working_buy=0,
    working_sell=0,
    working_count=0,
    reducing=0,
    gross=0,
    net_high=0,
    net_low=0,
    messages_last_second=0,
    market_fault="",
    reference=PRICE,
    anchor=PRICE,
    best_own_bid=0,
    best_own_ask=0,
    known_id=False,
)


def limits(release: ReleaseLimits | None = LIMITS, budgets: dict[str, int] | None = None, **changes: Any) -> Limits:
    return tightest(release, BUDGETS if budgets is None else budgets, overlay(**changes) if changes else None)


def order(**changes: Any) -> Order:
    plain = Order("h-1", SYMBOL, VENUE, Side.BUY, PRICE, UNIT, TAGS)
    return msgspec.structs.replace(plain, **changes)


def denied(one: Order, by: Limits | None = None, **facts: Any) -> Denial | None:
    return check(one, by or limits(), BOUNDS, FACTS._replace(**facts))


def test_an_ordinary_order_passes() -> None:
    """Nothing is denied that no control is against, on either side."""
    assert denied(order()) is None
    assert denied(order(side=Side.SELL)) is None


CASES: list[tuple[str, Order, dict[str, Any], Denial]] = [
    ("unlisted symbol R18", order(symbol="OTHER"), {}, Denial(Code.INSTRUMENT, 0, 0, "OTHER")),
    ("unlisted venue R18", order(venue="dark"), {}, Denial(Code.VENUE, 0, 0, "dark")),
    ("untagged K09", order(tags=Tags(strategy="", release="r", host="h", desk="d")), {}, Denial(Code.UNTAGGED, 0, 1, "h-1")),
    ("duplicate id R09", order(), {"known_id": True}, Denial(Code.DUPLICATE_ID, 2, 1, "h-1")),
    ("no id R09", order(id=""), {}, Denial(Code.DUPLICATE_ID, 2, 1, "")),
    ("no quantity", order(quantity=0), {}, Denial(Code.NOT_POSITIVE, 0, 1, "h-1")),
    ("negative price", order(price=-1), {}, Denial(Code.NOT_POSITIVE, -1, 1, "h-1")),
    ("off tick", order(price=PRICE + 1), {}, Denial(Code.TICK, PRICE + 1, TICK, SYMBOL)),
    ("no tick known", order(), {"tick": 0}, Denial(Code.TICK, PRICE, 0, SYMBOL)),
    ("off lot", order(quantity=UNIT + 1), {}, Denial(Code.LOT, UNIT + 1, UNIT, SYMBOL)),
    ("no lot known", order(), {"lot": 0}, Denial(Code.LOT, UNIT, 0, SYMBOL)),
    ("quantity R01", order(quantity=11 * UNIT), {}, Denial(Code.ORDER_QUANTITY, 11 * UNIT, 10 * UNIT)),
    ("price D12", order(price=1001 * UNIT), {"reference": 1001 * UNIT}, Denial(Code.ORDER_PRICE, 1001 * UNIT, 1000 * UNIT)),
    ("working orders D12", order(), {"working_count": 20}, Denial(Code.ORDER_COUNT, 21, 20)),
    ("rate R07", order(), {"messages_last_second": 100}, Denial(Code.ORDER_RATE, 101, 100)),
    ("market data R11", order(), {"market_fault": "stale"}, Denial(Code.MARKET_DATA, 1, 0, "ACME:stale")),
    ("reference data", order(), {"reference_age_ns": 101}, Denial(Code.REFERENCE_DATA_STALE, 101, 100, SYMBOL)),
    ("no reference R02", order(), {"reference": None}, Denial(Code.REFERENCE_MISSING, 0, 1, SYMBOL)),
    ("no anchor R02", order(), {"anchor": None}, Denial(Code.REFERENCE_MISSING, 0, 1, SYMBOL)),
    ("+20 % R02", order(price=120 * UNIT), {}, Denial(Code.COLLAR, 200_000, 50_000, SYMBOL)),
    ("a drip R02", order(), {"anchor": 89 * UNIT}, Denial(Code.COLLAR_WINDOW, 123_595, 100_000, SYMBOL)),
    ("own offer R10", order(), {"best_own_ask": PRICE}, Denial(Code.SELF_MATCH, PRICE, PRICE, SYMBOL)),
    ("own bid R10", order(side=Side.SELL), {"best_own_bid": PRICE}, Denial(Code.SELF_MATCH, PRICE, PRICE, SYMBOL)),
    ("position R03", order(), {"position": 60 * UNIT, "working_buy": 40 * UNIT}, Denial(Code.POSITION, 101 * UNIT, 100 * UNIT, SYMBOL)),
    (
        "short position R03",
        order(side=Side.SELL),
        {"position": -60 * UNIT, "working_sell": 40 * UNIT},
        Denial(Code.POSITION, 101 * UNIT, 100 * UNIT, SYMBOL),
    ),
    ("gross R04", order(), {"gross": 99_901 * UNIT}, Denial(Code.GROSS, 100_001 * UNIT, 100_000 * UNIT)),
    ("net R04", order(), {"net_high": 99_901 * UNIT}, Denial(Code.NET, 100_001 * UNIT, 100_000 * UNIT)),
    ("net short R04", order(side=Side.SELL), {"net_low": -99_901 * UNIT}, Denial(Code.NET, 100_001 * UNIT, 100_000 * UNIT)),
    ("reduce flat K10", order(reduce=True), {}, Denial(Code.REDUCE_CROSSES_ZERO, UNIT, 0, SYMBOL)),
    (
        "reduce too much K10",
        order(reduce=True, quantity=3 * UNIT),
        {"position": -4 * UNIT, "reducing": 2 * UNIT},
        Denial(Code.REDUCE_CROSSES_ZERO, 5 * UNIT, 4 * UNIT, SYMBOL),
    ),
]


@pytest.mark.parametrize(("one", "facts", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_control_denies_with_its_own_code(one: Order, facts: dict[str, Any], expected: Denial) -> None:
    """R21: code, measured value, limit and subject of every control; exactly at the limit is still allowed elsewhere."""
    assert denied(one, **facts) == expected


def test_value_is_denied_by_itself() -> None:
    """R01: price and quantity each within their limits, their product not."""
    by = limits(msgspec.structs.replace(LIMITS, order_value_max=999 * UNIT))
    assert denied(order(quantity=10 * UNIT), by) == Denial(Code.ORDER_VALUE, 1000 * UNIT, 999 * UNIT)


def test_a_blocked_symbol_is_denied() -> None:
    """An overlay blocks a symbol at once."""
    assert denied(order(), limits(symbols_blocked=(SYMBOL,))) == Denial(Code.SYMBOL_BLOCKED, 0, 0, SYMBOL)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in (GROSS, NET)])
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_of_zero_or_less_denies_everything(name: str, value: int) -> None:
    """R01: each limit, zero and negative."""
    by = limits(msgspec.structs.replace(LIMITS, **{name: value}))
    assert denied(order(), by) == Denial(Code.LIMIT_INVALID, 0, 1, name)


def test_a_missing_limit_denies_everything() -> None:
    """R01, D12: a release without limits; a host without a budget; a limit that is no whole number."""
    found = denied(order(), limits(None))
    assert found is not None and found.code is Code.LIMIT_INVALID
    assert denied(order(), limits(budgets={})) == Denial(Code.LIMIT_INVALID, 0, 1, GROSS)
    broken = limits(budgets={**BUDGETS, GROSS: True})
    assert broken.invalid() == (GROSS, NET)


def test_the_tightest_of_all_holds() -> None:
    """D12: release, budget, overlay: name by name the smallest; budgets of counts come in 1e-9 units."""
    by = limits(budgets={**BUDGETS, "orders_per_second": 7 * UNIT, ORDER_COUNT: 30 * UNIT, NET: 5 * UNIT}, limits={POSITION: 3})
    assert (by.values[ORDER_RATE], by.values[ORDER_COUNT], by.values[POSITION], by.values[NET]) == (7, 20, 3, 5 * UNIT)
    assert by.values[GROSS] == BUDGETS["gross_notional"]
    both = limits(budgets={**BUDGETS, "orders_per_second": 7 * UNIT, ORDER_RATE: 6 * UNIT})
    assert both.values[ORDER_RATE] == 6


def test_an_overlay_cannot_loosen() -> None:
    """A larger limit in an overlay changes nothing."""
    assert limits(limits={POSITION: 10**18}).values == limits().values


def test_limits_that_nothing_reads_are_named() -> None:
    """Knight's gross limit was wired to nothing: a name without a check is a finding."""
    assert unknown({**BUDGETS, "sector_max": 1}, overlay(limits={"leverage": 2})) == ("leverage", "sector_max")
    assert unknown({"orders_per_second": UNIT, **BUDGETS}, None) == ()


def test_a_reducing_order_needs_no_room() -> None:
    """K10: over every exposure limit, reducing is still allowed, up to zero and no further."""
    over: dict[str, Any] = {"position": 200 * UNIT, "gross": 10**18, "net_high": 10**18, "net_low": 10**18}
    assert denied(order(side=Side.SELL, reduce=True), **over) is None
    assert denied(order(side=Side.SELL), position=105 * UNIT, gross=0) is None


def test_the_window_of_a_second_slides() -> None:
    """R07: a burst across a second's edge is one burst."""
    rate = MessageRate()
    for at in (900, 950, 1050, 1100):
        rate.add(at * 1_000_000)
    assert rate.in_last_second(1_100_000_000) == 4
    assert rate.in_last_second(1_900_000_000) == 3
    assert rate.in_last_second(3_000_000_000) == 0


_QUANTITY = st.integers(0, 150).map(lambda lots: lots * UNIT)


@given(
    side=st.sampled_from(Side),
    quantity=st.integers(1, 12).map(lambda lots: lots * UNIT),
    position=st.integers(-150, 150).map(lambda lots: lots * UNIT),
    buying=_QUANTITY,
    selling=_QUANTITY,
)
def test_no_accepted_order_can_bring_the_position_over_its_limit(
    side: Side, quantity: int, position: int, buying: int, selling: int
) -> None:
    """R03: whatever fills, in whatever order, the position is within its limit, or no further out than it was."""
    facts: dict[str, Any] = {"position": position, "working_buy": buying, "working_sell": selling}
    if denied(order(side=side, quantity=quantity), **facts) is None:
        worst = position + buying + quantity if side is Side.BUY else position - selling - quantity
        assert sign(side) * worst <= 100 * UNIT


@given(
    side=st.sampled_from(Side),
    quantity=st.integers(1, 10).map(lambda lots: lots * UNIT),
    position=st.integers(-20, 20).map(lambda lots: lots * UNIT),
    reducing=st.integers(0, 20).map(lambda lots: lots * UNIT),
)
def test_reducing_never_crosses_zero(side: Side, quantity: int, position: int, reducing: int) -> None:
    """K10: each state and side: with all reducing orders filled the position has not changed its sign."""
    if denied(order(side=side, quantity=quantity, reduce=True), position=position, reducing=reducing) is None:
        after = position + sign(side) * (quantity + reducing)
        assert after * position >= 0
        assert abs(after) <= abs(position)


@given(price=st.integers(1, 10**15), quantity=st.integers(1, 10**15))
def test_a_value_is_never_understated(price: int, quantity: int) -> None:
    """Rounding is towards more risk, by less than one unit."""
    value = value_of(price, quantity)
    assert 0 <= value * UNIT - price * quantity < UNIT
