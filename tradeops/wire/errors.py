"""What can go wrong between a member and a venue."""

from __future__ import annotations

from tradeops.base.errors import TradeopsError


class VenueError(TradeopsError):
    """Base: `where` is the session or the URL."""

    runbook = "venue-session"


class VenueUnreachable(VenueError):
    """No connection: refused, timed out, not a venue. Nothing was sent."""


class LogonRejected(VenueError):
    """The venue knows us and says no; `code` is the protocol's."""

    def __init__(self, what: str, *, code: str, where: str | None = None, next: str | None = None) -> None:
        super().__init__(what, where=where, next=next)
        self.code = code


class SessionLost(VenueError):
    """The connection ended or fell silent. What was sent and not answered is unknown: query it, never send it again."""


class SendQueueFull(VenueError):
    """The venue does not read: nothing that adds risk is taken any more. Cancels still are."""


class BadMessage(VenueError):
    """The other side sent what the protocol does not know; the session cannot be trusted any more."""
