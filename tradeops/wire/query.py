"""Asking what became of an order whose answer was lost: read back, never sent again (promise 7)."""

from __future__ import annotations

from tradeops.wire.protocol import OrderState, OrderStatus, QueryOrder
from tradeops.wire.session import OrderSession


def query(session: OrderSession, client_id: str, *, request_id: str) -> None:
    """Queue the question; the OrderStatus comes through `session.receive()`. Raises SessionLost."""
    session.send(QueryOrder(request_id=request_id, client_id=client_id))


def reached_venue(status: OrderStatus) -> bool:
    """Whether the venue ever had the order. No is final: a venue takes a session's logon only when its old connection is gone."""
    return status.state is not OrderState.UNKNOWN
