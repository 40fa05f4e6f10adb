"""Events between the rooms of one process: a dictionary from event to handlers, written down once in `main`.

A handler's exception is not swallowed: it ends the process in order, for state that may be wrong must not trade.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tradeops.trader.gate.verdict import Verdict
from tradeops.wire.marketdata import Subscribed, Tick
from tradeops.wire.session import Opened, Received

Handlers = Mapping[type, tuple[Callable[[Any], None], ...]]


class FeedUp(NamedTuple):
    """A feed is subscribed."""

    venue: str
    subscribed: Subscribed


class FeedSaid(NamedTuple):
    """A batch of a feed, received at `local_ns` (monotonic)."""

    venue: str
    tick: Tick
    local_ns: int


class FeedSpoke(NamedTuple):
    """A feed lives, without data."""

    venue: str
    local_ns: int


class SessionUp(NamedTuple):
    """An order entry session is logged on."""

    venue: str
    opened: Opened


class SessionDown(NamedTuple):
    """An order entry session was lost."""

    venue: str


class VenueSaid(NamedTuple):
    """A message of a venue, in order, each once."""

    venue: str
    received: Received


class Looked(NamedTuple):
    """The stop page was looked at; comes many times a second, with the time."""

    verdict: Verdict
    now_ns: int


class Bus:
    """In process. Every event has its handlers, called in order, at once."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers

    def publish(self, event: object) -> None:
        """Call the handlers of this kind of event. Raises KeyError for a kind that was never wired, and what handlers raise."""
        for handler in self._handlers[type(event)]:
            handler(event)
