"""Service folders for the demo: versions of our own trader that differ by their settings alone, as releases do in practice."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tradeops.contracts.binding import Binding
from tradeops.fleet.inventory import load_fleet
from tradeops.release.daemon import package_folder
from tradeops.release.ledger import FlagLedger

BROKEN: Final = 4
"""Does not come up: its configuration has a key that no trader knows."""
NOISY: Final = 5
"""Quotes nearer to fair: about three times as many of its orders would trade at once, and are rejected."""
SLOW: Final = 6
"""Leaves a quarter of a second between two orders: more are wanted, and they wait."""
IDLE: Final = 7
"""Quotes so far away that nothing meets it, and lets its orders stand: it comes up, proves its path, and then nothing happens."""

FLAG: Final = "lean-to-mean"
MEANING: Final = "The quoter's fair price is pulled from the mid towards the decaying mean of the mids, by reversion_ppm."
"""Word for word as the trader's code has it (tradeops.trader.flags)."""

USUAL: Final[Mapping[str, str]] = {
    "requote": "150ms",  # often enough for a canary to be judged in seconds
    "half_spread_ppm": "150",
    "reversion_ppm": "800000",
    "mean_shift": "3",  # leans on the last second alone, and hard
    "improve": "true",
    "post_only": "true",
}
"""Of every version: with the flag on it goes inside the touch and may not take, so that one order in ten is rejected by the venue."""
SETTINGS: Final[Mapping[int, Mapping[str, str]]] = {
    1: {},
    2: {},
    3: {},
    BROKEN: {},
    NOISY: {"half_spread_ppm": "20"},
    SLOW: {"order_gap": "250ms"},
    IDLE: {"half_spread_ppm": "40000", "tolerance_ppm": "1000000"},
}
"""Version -> in what it differs from the usual."""


def write_services(folder: Path, *, now_ns: int) -> None:
    """`service-N/` with service.yml, flags.json and config/trader.yml for the fleet file in `folder`. Raises ConfigError, OSError.

    The flag that the usual settings rely on is on in all of them from the first, so that none turns it on.
    """
    for version in SETTINGS:
        name = f"service-{version}"
        write_service(folder, name, version, flag_lines(MEANING, active=True))
        FlagLedger(folder / name / "flags.json").declare(FLAG, MEANING, by="operator-1", now_ns=now_ns)


def flag_lines(meaning: str, *, active: bool) -> str:
    """The flag in a service.yml, by this meaning."""
    return f"flags:\n  - id: {FLAG}\n    meaning: {json.dumps(meaning)}\n" + ("    active: true\n" if active else "")


def write_service(folder: Path, name: str, version: int, more: str = "") -> None:
    """One of them as `name/`. more: further lines of its service.yml. Raises ConfigError, OSError."""
    binding = next(iter(load_fleet(folder / "fleet.yml").bindings.values()))
    service = folder / name
    (service / "config").mkdir(parents=True, exist_ok=True)
    (service / "service.yml").write_text(_definition(version, binding) + more, encoding="utf-8")
    (service / "config" / "trader.yml").write_text(config_of(version), encoding="utf-8")


def config_of(version: int) -> str:
    """trader.yml of a version: the example with its settings, and a desk of its own."""
    example = (package_folder() / "trader" / "example.yml").read_text(encoding="utf-8")
    text = _with(example, {"desk": f"desk-{version}", **USUAL, **SETTINGS[version]})
    return text + ("no_such_setting: true\n" if version == BROKEN else "")


def _with(text: str, settings: Mapping[str, str]) -> str:
    """The YAML with other values for these keys, comments kept. Raises KeyError for a key that is not there once."""
    for key, value in settings.items():
        text, found = re.subn(rf"^( *{key}: )[^\s#]+", rf"\g<1>{value}", text, flags=re.MULTILINE)
        if found != 1:
            raise KeyError(key)
    return text


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
