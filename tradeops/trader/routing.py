"""Which venue an order goes to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class VenueState(NamedTuple):
    """A venue of the binding, in the binding's order. up: its order entry session stands."""

    name: str
    up: bool


def route(venues: Iterable[VenueState], permitted: frozenset[str]) -> str | None:
    """The first permitted venue whose session stands; None when there is none."""
    return next((venue.name for venue in venues if venue.up and venue.name in permitted), None)
