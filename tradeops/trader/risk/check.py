"""The checks, each a function from values to a denial or nothing, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from tradeops.contracts.units import PPM, value_of
from tradeops.trader.messages import Order, sign
from tradeops.trader.risk.denial import Code, Denial
from tradeops.trader.risk.limits import (
    GROSS,
    NAMES,
    NET,
    ORDER_COUNT,
    ORDER_PRICE,
    ORDER_QUANTITY,
    ORDER_RATE,
    ORDER_VALUE,
    POSITION,
    Limits,
)
from tradeops.wire.protocol import Side


@dataclass(frozen=True)
class Bounds:
    """Settings of checks that are no limits of the release. ppm: parts per million of the reference price."""

    collar_ppm: int
    collar_window_ppm: int
    reference_age_max_ns: int


class Facts(NamedTuple):
    """The moment an order is judged at. Quantities and notionals in 1e-9 units, without this order.

    working_*: open quantity of the symbol by side, orders of unknown fate included.  reducing: the part of it on this
    order's side that is itself reducing.  gross: filled and working, over all symbols.  net_high, net_low: signed, should
    all working buys, or all working sells, be filled.  market_fault: why quotes of the symbol are unusable, empty when they
    are fine.  best_own_*: own working prices of the symbol, 0 for none.
    """

    tick: int
    lot: int
    reference_age_ns: int
    position: int
    working_buy: int
    working_sell: int
    working_count: int
    reducing: int
    gross: int
    net_high: int
    net_low: int
    messages_last_second: int
    market_fault: str
    reference: int | None
    anchor: int | None
    best_own_bid: int
    best_own_ask: int
    known_id: bool


Check = Callable[[Order, Limits, Bounds, Facts], Denial | None]


def check(order: Order, limits: Limits, bounds: Bounds, facts: Facts) -> Denial | None:
    """The first reason to deny a new order; None: it may go to the gate. Cancels are never asked about (K10)."""
    for one in CHECKS:
        if denial := one(order, limits, bounds, facts):
            return denial
    return None


def _limits_valid(order: Order, limits: Limits, bounds: Bounds, facts: Facts) -> Denial | None:
    values = limits.values
    for name in NAMES:
        if values[name] <= 0:
            return Denial(Code.LIMIT_INVALID, values[name], 1, name)
    return None


def _permitted(order: Order, limits: Limits, bounds: Bounds, facts: Facts) -> Denial | None:
    if order.symbol not in limits.instruments:
        return Denial(Code.INSTRUMENT, 0, 0, order.symbol)
    if order.symbol in limits.symbols_blocked:
        return Denial(Code.SYMBOL_BLOCKED, 0, 0, order.symbol)
    if order.venue not in limits.venues:
        return Denial(Code.VENUE, 0, 0, order.venue)
    return None


def _well_formed(order: Order, limits: Limits, bounds: Bounds, facts: Facts) -> Denial | None:
    if not order.tags.strategy or not order.tags.release or not order.tags.host or not order.tags.desk:
        return Denial(Code.UNTAGGED, 0, 1, order.id)
    if facts.known_id or not order.id:
        return Denial(Code.DUPLICATE_ID, 2, 1, order.id)
    if order.quantity <= 0 or order.price <= 0:
        return Denial(Code.NOT_POSITIVE, min(order.quantity, order.price), 1, order.id)
    if facts.tick <= 0 or order.price % facts.tick:
        return Denial(Code.TICK, order.price, facts.tick, order.symbol)
    if facts.lot <= 0 or order.quantity % facts.lot:
        return Denial(Code.LOT, order.quantity, facts.lot, order.symbol)
    return None


def _size(order: Order, limits: Limits, bounds: Bounds, facts: Facts) -> Denial | None:
    values = limits.values
    if order.quantity > values[ORDER_QUANTITY]:
        return Denial(Code.ORDER_QUANTITY, order.quantity, values[ORDER_QUANTITY])
    if order.price > values[ORDER_PRICE]:
        return Denial(Code.ORDER_PRICE, order.price, values[ORDER_PRICE])
    value = value_of(order.price, order.quantity)
    if value > values[ORDER_VALUE]:
        return Denial(Code.ORDER_VALUE, value, values[ORDER_VALUE])
    return None


def _flow(order: Order, limits: Limits, bounds: Bounds, facts: Facts) -> Denial | None:
    if facts.working_count >= limits.values[ORDER_COUNT]:
        return Denial(Code.ORDER_COUNT, facts.working_count + 1, limits.values[ORDER_COUNT])
    if facts.messages_last_second >= limits.values[ORDER_RATE]:
        return Denial(Code.ORDER_RATE, facts.messages_last_second + 1, limits.values[ORDER_RATE])
    return None


def _market(order: Order, limits: Limits, bounds: Bounds, facts: Facts) -> Denial | None:
    if facts.market_fault:
        return Denial(Code.MARKET_DATA, 1, 0, f"{order.symbol}:{facts.market_fault}")
    if facts.reference_age_ns > bounds.reference_age_max_ns:
        return Denial(Code.REFERENCE_DATA_STALE, facts.reference_age_ns, bounds.reference_age_max_ns, order.symbol)
    return None


def _collar(order: Order, limits: Limits, bounds: Bounds, facts: Facts) -> Denial | None:
    if facts.reference is None or facts.reference <= 0 or facts.anchor is None or facts.anchor <= 0:
        return Denial(Code.REFERENCE_MISSING, 0, 1, order.symbol)
    away = abs(order.price - facts.reference) * PPM
    if away > bounds.collar_ppm * facts.reference:
        return Denial(Code.COLLAR, away // facts.reference, bounds.collar_ppm, order.symbol)
    away = abs(order.price - facts.anchor) * PPM
    if away > bounds.collar_window_ppm * facts.anchor:
        return Denial(Code.COLLAR_WINDOW, away // facts.anchor, bounds.collar_window_ppm, order.symbol)
    return None


def _self_match(order: Order, limits: Limits, bounds: Bounds, facts: Facts) -> Denial | None:
    if order.side is Side.BUY and facts.best_own_ask and order.price >= facts.best_own_ask:
        return Denial(Code.SELF_MATCH, order.price, facts.best_own_ask, order.symbol)
    if order.side is Side.SELL and facts.best_own_bid and order.price <= facts.best_own_bid:
        return Denial(Code.SELF_MATCH, order.price, facts.best_own_bid, order.symbol)
    return None


def _exposure(order: Order, limits: Limits, bounds: Bounds, facts: Facts) -> Denial | None:
    """Filled, working and this order together (R03). A reducing order may not cross zero, and needs no further room."""
    if order.reduce:
        held = -facts.position * sign(order.side)
        wanted = order.quantity + facts.reducing
        return Denial(Code.REDUCE_CROSSES_ZERO, wanted, max(0, held), order.symbol) if wanted > held else None
    values = limits.values
    value = value_of(order.price, order.quantity)
    if order.side is Side.BUY:
        position, net = facts.position + facts.working_buy + order.quantity, facts.net_high + value
    else:
        position, net = facts.working_sell + order.quantity - facts.position, value - facts.net_low
    if position > values[POSITION]:
        return Denial(Code.POSITION, position, values[POSITION], order.symbol)
    if facts.gross + value > values[GROSS]:
        return Denial(Code.GROSS, facts.gross + value, values[GROSS])
    if net > values[NET]:
        return Denial(Code.NET, net, values[NET])
    return None


CHECKS: Final[tuple[Check, ...]] = (_limits_valid, _permitted, _well_formed, _size, _flow, _market, _collar, _self_match, _exposure)
"""Cheap and absolute ones first; exposure, which needs the most facts, last."""
