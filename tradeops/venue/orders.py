"""The venue's records of orders, and the reports made from them: the truth that tests ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from tradeops.wire.protocol import (
    CancelAllDone,
    CancelRejected,
    Code,
    ExecKind,
    ExecutionReport,
    NewOrder,
    OrderState,
    OrderStatus,
    Side,
    Tags,
    Tif,
    WorkingOrder,
)

Answer: TypeAlias = ExecutionReport | CancelRejected | CancelAllDone | OrderStatus


@dataclass(slots=True)
class Record:
    """One order, working or done. client_id: the latest, a change gives a new one. updated_ns: wall time of the last event."""

    order_id: int
    account: str
    session: str
    client_id: str
    symbol: str
    side: Side
    qty: int
    price: int
    tif: Tif
    tags: Tags
    updated_ns: int
    cumulative_qty: int = 0
    leaves_qty: int = 0
    state: OrderState = OrderState.WORKING
    code: Code = Code.NONE

    @property
    def venue_id(self) -> str:
        """The order's name outside."""
        return f"V{self.order_id}"


class Routed(NamedTuple):
    """A message and whose it is. To `session`; an ExecutionReport also to the drop copies of `account`."""

    account: str
    session: str
    message: Answer


def record_of(order_id: int, account: str, session: str, order: NewOrder, now_ns: int) -> Record:
    """A fresh record of an order that came in."""
    return Record(
        order_id=order_id,
        account=account,
        session=session,
        client_id=order.client_id,
        symbol=order.symbol,
        side=order.side,
        qty=order.qty,
        price=order.price,
        tif=order.tif,
        tags=order.tags,
        updated_ns=now_ns,
        leaves_qty=order.qty,
    )


def report(
    record: Record,
    kind: ExecKind,
    *,
    last_qty: int = 0,
    last_price: int = 0,
    trade_id: str = "",
    orig_client_id: str = "",
    request_id: str = "",
    code: Code = Code.NONE,
    text: str = "",
) -> Routed:
    """An execution report of `record` as it now stands, for the session that owns it."""
    message = ExecutionReport(
        kind=kind,
        client_id=record.client_id,
        venue_id=record.venue_id,
        symbol=record.symbol,
        side=record.side,
        qty=record.qty,
        price=record.price,
        tags=record.tags,
        exchange_ns=record.updated_ns,
        cumulative_qty=record.cumulative_qty,
        leaves_qty=record.leaves_qty,
        last_qty=last_qty,
        last_price=last_price,
        trade_id=trade_id,
        orig_client_id=orig_client_id,
        request_id=request_id,
        tif=record.tif,
        code=code,
        text=text,
    )
    return Routed(record.account, record.session, message)


def working_order(record: Record) -> WorkingOrder:
    """A working record as drop copy shows it."""
    return WorkingOrder(
        venue_id=record.venue_id,
        client_id=record.client_id,
        account=record.account,
        session=record.session,
        symbol=record.symbol,
        side=record.side,
        qty=record.qty,
        price=record.price,
        cumulative_qty=record.cumulative_qty,
        leaves_qty=record.leaves_qty,
        tif=record.tif,
        tags=record.tags,
    )


def status_of(record: Record | None, *, request_id: str, client_id: str) -> OrderStatus:
    """The answer to a query; None: never seen."""
    if record is None:
        return OrderStatus(request_id=request_id, client_id=client_id, state=OrderState.UNKNOWN)
    return OrderStatus(
        request_id=request_id,
        client_id=client_id,
        state=record.state,
        venue_id=record.venue_id,
        symbol=record.symbol,
        side=record.side,
        qty=record.qty,
        price=record.price,
        cumulative_qty=record.cumulative_qty,
        leaves_qty=record.leaves_qty,
    )
