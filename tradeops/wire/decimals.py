"""Decimal strings of the outside world to integers in 1e-9 units and back, without floats."""

from __future__ import annotations

from typing import Final

_PLACES: Final = 9
_SCALE: Final[tuple[int, ...]] = tuple(int(10 ** (_PLACES - places)) for places in range(_PLACES + 1))
_DIGITS_MAX: Final = 27


def parse_amount(text: str) -> int:
    """`61800.20` as 61800200000000. Raises ValueError: empty, signed, exponent, not ASCII digits, over nine places or 27 digits."""
    whole, point, fraction = text.partition(".")
    digits = whole + fraction
    if not digits.isascii() or not digits.isdigit() or not whole or (point and not fraction) or len(digits) > _DIGITS_MAX:
        raise ValueError(f"{text!r:.60} is not a plain decimal number")
    if len(fraction) > _PLACES:
        raise ValueError(f"{text!r:.60} has more than {_PLACES} decimal places")
    return int(digits) * _SCALE[len(fraction)]


def format_amount(amount: int) -> str:
    """61800200000000 as `61800.2`."""
    sign, size = ("-", -amount) if amount < 0 else ("", amount)
    whole, rest = divmod(size, _SCALE[0])
    fraction = f"{rest:09d}".rstrip("0")
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"
