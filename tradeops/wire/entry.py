"""The only encoders of messages that add risk: new and changed orders. Only the trader's gate may import this module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from tradeops.wire.link import Queued
from tradeops.wire.protocol import ChangeOrder, NewOrder
from tradeops.wire.session import OrderSession

_ENCODE: Final = msgspec.json.Encoder().encode


class OrderEntry:
    """Sends new and changed orders over a session, with a last look right before each is written."""

    def __init__(self, session: OrderSession) -> None:
        self._session = session

    def send(
        self, order: NewOrder | ChangeOrder, *, still_allowed: Callable[[], bool] | None = None, withheld: Callable[[], None] | None = None
    ) -> None:
        """Queue `order`; never blocks.

        still_allowed: asked right before the bytes are written; False: the order never leaves and `withheld` is called.
        withheld is also called for an order that was still queued when the session was closed.
        Raises SessionLost, SendQueueFull (then it was not queued); TypeError.
        """
        if not isinstance(order, NewOrder | ChangeOrder):
            raise TypeError(f"{type(order).__name__} is not a new or changed order")
        self._session.transmit(Queued(_ENCODE(order), still_allowed=still_allowed, withheld=withheld))
