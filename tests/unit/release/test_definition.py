"""service.yml: strict, with the line and the key of everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradeops.base.errors import ConfigError
from tradeops.contracts.flags import meaning_digest
from tradeops.release.daemon import TRADER_START
from tradeops.release.definition import Definition, load_definition

TRADER = """\
service: trader
version: "2.1"
kind: trader
limits:
  instruments: [AAA, BBB]
  venues: [SIM]
  order_quantity_max: "100"
  order_price_max: "250.50"
  order_value_max: "10000"
  order_count_max: 500
  order_rate_per_s_max: 50
  position_max: "1000.000000001"
flags:
  - id: power-peg
    meaning: Sends child orders until the parent is filled.
    active: true
removed: [lib/old.py]
journal: {reads: [1, 2], writes: 2}
"""
LIMIT_NAMES = [
    "instruments",
    "venues",
    "order_quantity_max",
    "order_price_max",
    "order_value_max",
    "order_count_max",
    "order_rate_per_s_max",
    "position_max",
]


def load(folder: Path, text: str) -> Definition:
    (folder / "service.yml").write_text(text)
    return load_definition(folder / "service.yml")


def test_limits_are_exact_integers(tmp_path: Path) -> None:
    """D12: decimal text becomes 1e-9 units, no digit lost."""
    definition = load(tmp_path, TRADER)
    assert definition.limits is not None
    limits = definition.limits.limits()
    assert limits.order_price_max == 250_500_000_000
    assert limits.position_max == 1_000_000_000_001
    assert definition.start_of(TRADER_START).argv == ("{python}", "-I", "-B", "{tree}/run.py")


@pytest.mark.parametrize("name", LIMIT_NAMES)
def test_every_limit_is_asked_for(tmp_path: Path, name: str) -> None:
    """D12: delete one field: refused, with its name and line."""
    text = "".join(line for line in TRADER.splitlines(keepends=True) if name not in line)
    with pytest.raises(ConfigError, match=name) as caught:
        load(tmp_path, text)
    assert "service.yml:" in str(caught.value.where)


def test_a_trading_service_without_limits_is_refused(tmp_path: Path) -> None:
    """D12: no limits at all."""
    with pytest.raises(ConfigError, match="limits"):
        load(tmp_path, "service: trader\nversion: '1'\nkind: trader\n")


@pytest.mark.parametrize("value", ['"0"', '"-1"', '"nan"', '"inf"', '"1e3"', '"0.0000000001"', "100", "1.5", '""', "null"])
def test_a_limit_is_exact_and_above_zero(tmp_path: Path, value: str) -> None:
    """D12: zero, negative, NaN, too fine, or a bare number that may have lost digits."""
    with pytest.raises(ConfigError, match="order_quantity_max"):
        load(tmp_path, TRADER.replace('order_quantity_max: "100"', f"order_quantity_max: {value}"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: trader", "kind: robot", "kind"),
        ("service: trader", "service: ../trader", "service"),
        ("removed: [lib/old.py]", "removed: [../old.py]", "removed"),
        ("writes: 2", "writes: 3", "does not read"),
        ("id: power-peg", "id: Power Peg", "flags"),
        ("    active: true\n", "    active: true\n  - {id: power-peg, meaning: Something else altogether.}\n", "twice"),
        ("kind: trader", "kind: tree", "start"),
        ("kind: trader", "kind: trader\nidentity: identity", "vitals"),
        ("kind: trader", "kind: trader\nidentity: /identity\nhealth: /health", "port"),
        ("kind: trader", "kind: trader\ncolour: red", "colour"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    """Unknown keys, wrong words, paths that leave the tree, doubles."""
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, TRADER.replace(old, new))


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    """The two commonest mistakes on the command line."""
    for path in (tmp_path, tmp_path / "missing.yml"):
        with pytest.raises(ConfigError):
            load_definition(path)


def test_a_meaning_is_its_words() -> None:
    """D05: line breaks and indentation are not part of a flag's meaning; a word is."""
    assert meaning_digest("a b\n  c ") == meaning_digest("a b c")
    assert meaning_digest("a b c") != meaning_digest("a b d")
