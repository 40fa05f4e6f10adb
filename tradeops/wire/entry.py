"""The only encoders of messages that add risk: new and changed orders. Only the trader's gate may import this module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from tradeops.wire.errors import BadMessage
from tradeops.wire.link import Queued
from tradeops.wire.protocol import ChangeOrder, NewOrder
from tradeops.wire.session import OrderSession

_ENCODE: Final = msgspec.json.Encoder().encode
_READ_BACK: Final = msgspec.json.Decoder(NewOrder | ChangeOrder)


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
        Raises SessionLost, SendQueueFull, BadMessage (a tag missing, a quantity of zero …): then it was not queued.
        """
        self._session.transmit(Queued(_checked(order), still_allowed=still_allowed, withheld=withheld))


def _checked(order: NewOrder | ChangeOrder) -> bytes:
    """The order's bytes, read back by the protocol's own rules: nothing malformed leaves."""
    try:
        body = _ENCODE(order)
        _READ_BACK.decode(body)
    except (msgspec.MsgspecError, TypeError) as error:
        raise BadMessage(f"not an order of this protocol: {error}", next="this is a defect of the sender: nothing was sent") from None
    return body
