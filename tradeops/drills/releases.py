"""Service folders for the demo: four versions of our own trader, of which the last does not come up."""

from __future__ import annotations

import json
from pathlib import Path

from tradeops.contracts.binding import Binding
from tradeops.fleet.inventory import load_fleet
from tradeops.release.daemon import package_folder

BROKEN = 4
VERSIONS = (1, 2, 3, BROKEN)


def write_services(folder: Path) -> None:
    """`service-N/` with service.yml and config/trader.yml for the fleet file in `folder`. Raises ConfigError, OSError."""
    for version in VERSIONS:
        write_service(folder, f"service-{version}", version)


def write_service(folder: Path, name: str, version: int, more: str = "") -> None:
    """One of them as `name/`. more: further lines of its service.yml. Raises ConfigError, OSError."""
    binding = next(iter(load_fleet(folder / "fleet.yml").bindings.values()))
    usual = (package_folder() / "trader" / "example.yml").read_text(encoding="utf-8")
    service = folder / name
    (service / "config").mkdir(parents=True, exist_ok=True)
    (service / "service.yml").write_text(_definition(version, binding) + more, encoding="utf-8")
    (service / "config" / "trader.yml").write_text(_config(version, usual), encoding="utf-8")


def _definition(version: int, binding: Binding) -> str:
    return (
        f"service: {binding.service}\n"
        f'version: "{version}"\n'
        "kind: trader\n"
        "limits: # every release carries its own; the tighter of these and the binding's hold\n"
        f"  instruments: {json.dumps([instrument.symbol for instrument in binding.instruments])}\n"
        f"  venues: {json.dumps([venue.name for venue in binding.venues])}\n"
        '  order_quantity_max: "100"\n'
        '  order_price_max: "100000"\n'
        '  order_value_max: "1000000"\n'
        "  order_count_max: 10000\n"
        "  order_rate_per_s_max: 100\n"
        '  position_max: "1000"\n'
    )


def _config(version: int, usual: str) -> str:
    """The usual one, calmer since eight hosts share this machine, with another desk for each version; the broken one with
    a key that no trader knows.
    """
    changed = usual.replace("desk: desk-1", f"desk: desk-{version}", 1).replace("requote: 200ms", "requote: 1s", 1)
    return changed + ("no_such_setting: true\n" if version == BROKEN else "")
