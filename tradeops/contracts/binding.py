"""What differs per environment and host (binding), and what may only tighten it at once (overlay)."""

from __future__ import annotations

from typing import Any

import msgspec

BINDING_SCHEMA = "tradeops/binding/v1"
OVERLAY_SCHEMA = "tradeops/overlay/v1"


class Venue(msgspec.Struct, frozen=True):
    """Endpoints of one venue, as URLs; account and the name (never the value) of its secret.

    keep_on_logout: the venue offers that what works of a session outlives its orderly logout.
    """

    name: str
    order_entry: str
    market_data: str
    drop_copy: str
    account: str
    secret: str = ""
    keep_on_logout: bool = False


class Instrument(msgspec.Struct, frozen=True):
    """Reference data of one symbol: tick and lot in 1e-9 units, reference price in 1e-9 units, when it is from."""

    symbol: str
    tick: int
    lot: int
    reference_price: int
    as_of_wall_ns: int


class Binding(msgspec.Struct, frozen=True):
    """The payload of Purpose.BINDING for one host. budgets: this host's share of firm limits, in 1e-9 units."""

    schema: str
    fleet: str
    environment: str
    host: str
    service: str
    venues: tuple[Venue, ...]
    instruments: tuple[Instrument, ...]
    budgets: dict[str, int]
    settings: dict[str, Any] = {}


class Overlay(msgspec.Struct, frozen=True):
    """Numbered, tightens only: flags off, limits down, share of flow (parts per million), symbols blocked.

    flags_off: id -> number of the overlay that turned it off last; only a release that ends that one turns it on again.
    flags_retired: tombstones; a daemon whose release carries one of them is halted (D05).
    """

    schema: str
    fleet: str
    number: int
    flags_off: dict[str, int] = {}
    flags_retired: tuple[str, ...] = ()
    limits: dict[str, int] = {}
    flow_cap_ppm: int | None = None
    symbols_blocked: tuple[str, ...] = ()
