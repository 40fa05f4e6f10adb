"""Money and quantities: integers in 1e-9 units inside, decimal text at the edges, never floats."""

from __future__ import annotations

import re
from typing import Final

UNIT: Final = 1_000_000_000
PPM: Final = 1_000_000
_DIGITS: Final = 9
_DECIMAL: Final = re.compile(r"(-?)(\d{1,18})(?:\.(\d{1,9})0*)?")


def parse_units(text: str) -> int:
    """`"61800.30"` as 61_800_300_000_000. Raises ValueError: not a decimal, or finer than 1e-9."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a decimal number with at most 9 places")
    sign, whole, fraction = match.groups()
    units = int(whole) * UNIT + int((fraction or "").ljust(_DIGITS, "0") or 0)
    return -units if sign else units


def format_units(units: int) -> str:
    """The shortest decimal text of `units`."""
    whole, fraction = divmod(abs(units), UNIT)
    tail = f".{fraction:09d}".rstrip("0").rstrip(".")
    return f"{'-' if units < 0 else ''}{whole}{tail}"


def value_of(price: int, quantity: int) -> int:
    """price × quantity in 1e-9 units, rounded away from zero: a value is never understated."""
    product = price * quantity
    return -(-product // UNIT) if product >= 0 else product // UNIT


def ppm_of(amount: int, ppm: int) -> int:
    """`ppm` parts per million of `amount`, rounded down."""
    return amount * ppm // PPM
