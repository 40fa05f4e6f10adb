"""Figures three lines high, for the one number that everybody in the room looks at."""

from __future__ import annotations

_SIGNS = {
    "0": ("█▀█", "█ █", "▀▀▀"),
    "1": ("▀█ ", " █ ", "▀▀▀"),
    "2": ("▀▀█", "█▀▀", "▀▀▀"),
    "3": ("▀▀█", "▀▀█", "▀▀▀"),
    "4": ("█ █", "▀▀█", "  ▀"),
    "5": ("█▀▀", "▀▀█", "▀▀▀"),
    "6": ("█▀▀", "█▀█", "▀▀▀"),
    "7": ("▀▀█", "  █", "  ▀"),
    "8": ("█▀█", "█▀█", "▀▀▀"),
    "9": ("█▀█", "▀▀█", "▀▀▀"),
    "/": ("  █", " █ ", "▀  "),
}


def large(figures: str) -> tuple[str, str, str]:
    """Three lines of the same length. figures: digits and `/`."""
    first, second, third = (" ".join(_SIGNS[sign][row] for sign in figures) for row in range(3))
    return first, second, third
