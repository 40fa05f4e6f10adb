"""The life of an order as one table. A pair that is not in it changes nothing and is a finding."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from tradeops.trader.messages import OrderEvent as E


class State(StrEnum):
    """Where an order stands, as far as we know.

    withheld: the gate kept it, it never left.  lost: the venue says it never saw it.  unknown: sent, fate not known; it
    counts as working until the venue answers a query.
    """

    INTENDED = "intended"
    SENT = "sent"
    WORKING = "working"
    CANCELLING = "cancelling"
    UNKNOWN = "unknown"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    WITHHELD = "withheld"
    LOST = "lost"


OPEN: Final = frozenset({State.INTENDED, State.SENT, State.WORKING, State.CANCELLING, State.UNKNOWN})
UNANSWERED: Final = OPEN - {State.WORKING}
"""Open, and the venue has not said yet what became of what was asked last."""

_REPORTED: Final = {E.FILLED: State.FILLED, E.CANCELLED: State.CANCELLED, E.REJECTED: State.REJECTED}

TABLE: Final[Mapping[State, Mapping[E, State]]] = {
    State.INTENDED: {
        E.SENT: State.SENT,
        E.WITHHELD: State.WITHHELD,
        E.RESTARTED: State.UNKNOWN,  # died between journal and wire: only the venue knows
    },
    State.SENT: {
        **_REPORTED,
        E.WITHHELD: State.WITHHELD,  # queued when the stop came: the last look before the write kept it
        E.ACCEPTED: State.WORKING,
        E.PART_FILLED: State.WORKING,
        E.CANCEL_SENT: State.CANCELLING,
        E.TIMED_OUT: State.UNKNOWN,
        E.RESTARTED: State.UNKNOWN,
    },
    State.WORKING: {
        E.FILLED: State.FILLED,
        E.CANCELLED: State.CANCELLED,
        E.ACCEPTED: State.WORKING,  # a report sent again is harmless
        E.PART_FILLED: State.WORKING,
        E.CANCEL_SENT: State.CANCELLING,
        E.CANCEL_REFUSED: State.WORKING,
        E.CANCEL_TOO_LATE: State.UNKNOWN,
        E.TIMED_OUT: State.UNKNOWN,  # the session was lost: ask again
        E.RESTARTED: State.UNKNOWN,
    },
    State.CANCELLING: {
        **_REPORTED,  # rejected: the cancel overtook nothing, the order itself was refused
        E.WITHHELD: State.WITHHELD,  # the cancel was queued behind an order that never left
        E.ACCEPTED: State.CANCELLING,
        E.PART_FILLED: State.CANCELLING,
        E.CANCEL_SENT: State.CANCELLING,
        E.CANCEL_REFUSED: State.WORKING,  # the venue will not now: to be tried again (K14)
        E.CANCEL_TOO_LATE: State.UNKNOWN,
        E.TIMED_OUT: State.UNKNOWN,
        E.RESTARTED: State.UNKNOWN,
    },
    State.UNKNOWN: {
        **_REPORTED,
        E.ACCEPTED: State.WORKING,
        E.PART_FILLED: State.UNKNOWN,  # alive a moment ago is no answer to the query
        E.CANCEL_SENT: State.UNKNOWN,
        E.CANCEL_REFUSED: State.UNKNOWN,
        E.CANCEL_TOO_LATE: State.UNKNOWN,
        E.WITHHELD: State.WITHHELD,
        E.TIMED_OUT: State.UNKNOWN,
        E.RESTARTED: State.UNKNOWN,
        E.NOT_FOUND: State.LOST,
    },
    State.FILLED: {E.FILLED: State.FILLED, E.CANCEL_TOO_LATE: State.FILLED},
    State.CANCELLED: {
        E.CANCELLED: State.CANCELLED,
        E.CANCEL_TOO_LATE: State.CANCELLED,
        E.PART_FILLED: State.CANCELLED,  # a fill that crossed the cancel and is told late: it counts
        E.FILLED: State.FILLED,
    },
    State.REJECTED: {E.REJECTED: State.REJECTED, E.CANCEL_TOO_LATE: State.REJECTED},
    State.WITHHELD: {E.CANCEL_TOO_LATE: State.WITHHELD},
    State.LOST: {E.CANCEL_TOO_LATE: State.LOST},
}


def after(state: State, event: E) -> State | None:
    """The state that `event` leads to; None: it cannot happen to an order that is `state`."""
    return TABLE[state].get(event)
