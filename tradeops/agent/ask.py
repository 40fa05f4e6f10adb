"""Reads a request's arguments strictly: every one typed and bounded, anything else is a bad request."""

from __future__ import annotations

from typing import Any

from .errors import bad_request
from .names import SLOTS, is_digest, is_id

TEXT_CHARS_MAX = 4096


def text(args: dict[str, Any], name: str, *, chars_max: int = TEXT_CHARS_MAX) -> str:
    """A string that is not too long."""
    value = args.get(name)
    if not isinstance(value, str) or len(value) > chars_max:
        raise bad_request(f"{name} must be text of at most {chars_max} characters")
    return value


def number(args: dict[str, Any], name: str, *, low: float, high: float, default: float | None = None) -> float:
    """A number from `low` to `high`."""
    value = args.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise bad_request(f"{name} must be a number from {low:g} to {high:g}")
    return value


def whole(args: dict[str, Any], name: str, *, low: int, high: int, default: int | None = None) -> int:
    """A whole number from `low` to `high`."""
    value = args.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise bad_request(f"{name} must be a whole number from {low} to {high}")
    return value


def flag(args: dict[str, Any], name: str) -> bool:
    """True or false; absent is false."""
    value = args.get(name, False)
    if not isinstance(value, bool):
        raise bad_request(f"{name} must be true or false")
    return value


def mapping(args: dict[str, Any], name: str) -> dict[str, Any]:
    """A JSON object."""
    value = args.get(name)
    if not isinstance(value, dict):
        raise bad_request(f"{name} must be an object")
    return value


def slot(args: dict[str, Any]) -> str:
    """A slot's name."""
    value = args.get("slot")
    if value not in SLOTS:
        raise bad_request(f"slot must be one of {', '.join(SLOTS)}")
    return str(value)


def digest(args: dict[str, Any], name: str) -> str:
    """A content address."""
    value = args.get(name)
    if not is_digest(value):
        raise bad_request(f"{name} must be a digest (sha256: and 64 hex digits)")
    return str(value)


def identifier(value: object, name: str) -> str:
    """A name that may become a file's name."""
    if not is_id(value):
        raise bad_request(f"{name} must be an identifier of at most 128 letters, digits and _.:@+-")
    return str(value)
