"""Bindings of a fleet file: common values, what single hosts override, and the proof that budgets fit the firm's limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tradeops.base.clock import NS_PER_S
from tradeops.base.config import Key
from tradeops.contracts.binding import BINDING_SCHEMA, Binding, Instrument, Venue
from tradeops.contracts.units import format_units
from tradeops.fleet.fleetfile import BindingEntry, FleetFile, InstrumentEntry, VenueEntry

_NEEDED_OF_VENUE = ("order_entry", "market_data", "drop_copy", "account")


def bind(file: FleetFile, host: str) -> Binding:
    """The binding of one host: common, overridden by the host's own. Without venues that lack a value, which are findings."""
    own = file.bindings.hosts.get(host, BindingEntry())
    common = file.bindings.common
    return Binding(
        schema=BINDING_SCHEMA,
        fleet=file.fleet,
        environment=file.environment,
        host=host,
        service=file.service.name,
        venues=tuple(Venue(name=name, **values) for name, values in _venues(common, own).items() if not _lacking(values)),
        instruments=tuple(_instrument(symbol, entry) for symbol, entry in (common.instruments | own.instruments).items()),
        budgets=common.budgets | own.budgets,
        settings=common.settings | own.settings,
    )


def binding_findings(file: FleetFile) -> Iterator[tuple[Key, str]]:
    """Overrides of hosts that are not there, venues that lack a value, budgets that exceed the firm's limits."""
    names = [entry.name for entry in file.hosts]
    for name in file.bindings.hosts:
        if name not in names:
            yield ("bindings", "hosts", name), f"no host is named {name!r}"
    for host in names:
        own = file.bindings.hosts.get(host, BindingEntry())
        for venue, values in _venues(file.bindings.common, own).items():
            if lacking := _lacking(values):
                part: Key = ("hosts", host) if venue in own.venues else ("common",)
                yield ("bindings", *part, "venues", venue), f"{', '.join(lacking)} of {venue} is missing for {host}"
    yield from _budget_findings(file, names)


def _lacking(values: dict[str, Any]) -> list[str]:
    return [key for key in _NEEDED_OF_VENUE if key not in values]


def _budget_findings(file: FleetFile, names: list[str]) -> Iterator[tuple[Key, str]]:
    for limit, most in file.bindings.firm_limits.items():
        shares = {host: _budgets(file, host).get(limit) for host in names}
        without = [host for host, share in shares.items() if share is None]
        if without:
            yield ("bindings", "firm_limits", limit), f"{', '.join(without)} have no budget of it"
        total = sum(share for share in shares.values() if share is not None)
        if total > most:
            sums = f"the hosts' budgets sum up to {format_units(total)}, the firm's limit is {format_units(most)}"
            yield ("bindings", "firm_limits", limit), sums


def _budgets(file: FleetFile, host: str) -> dict[str, int]:
    own = file.bindings.hosts.get(host, BindingEntry())
    return file.bindings.common.budgets | own.budgets


def _venues(common: BindingEntry, own: BindingEntry) -> dict[str, dict[str, Any]]:
    """venue -> the values that are set, the host's own over the common ones."""
    names = [*common.venues, *(name for name in own.venues if name not in common.venues)]
    return {name: _set(common.venues.get(name)) | _set(own.venues.get(name)) for name in names}


def _set(entry: VenueEntry | None) -> dict[str, Any]:
    return entry.model_dump(exclude_none=True) if entry else {}


def _instrument(symbol: str, entry: InstrumentEntry) -> Instrument:
    return Instrument(
        symbol=symbol,
        tick=entry.tick,
        lot=entry.lot,
        reference_price=entry.reference_price,
        as_of_wall_ns=int(entry.as_of.timestamp()) * NS_PER_S,
    )
