"""One row of the audit chain: its fields, its one spelling, its hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from tradeops.base.digest import canonical_json, digest_bytes
from tradeops.base.errors import TradeopsError, UsageError
from tradeops.base.logs import redact
from tradeops.contracts.codec import convert

NOTHING_BEFORE = "sha256:" + "0" * 64
ROW_BYTES_MAX = 1 << 20
_TEXT_CHARS_MAX = 16384
_DEPTH_MAX = 12
_INT_MAX = 1 << 63


class Kind(StrEnum):
    """What a row tells. late: written after the act, because the log could not be written before it (kill only)."""

    GENESIS = "genesis"
    INTENT = "intent"
    OUTCOME = "outcome"
    LATE = "late"
    MENDED = "mended"


class Row(msgspec.Struct, frozen=True):
    """of: with an outcome, the number of its intent.  result: with an outcome, what came of it.  wall_ns: UTC."""

    seq: int
    wall_ns: int
    prev: str
    kind: Kind
    actor: str
    verb: str
    hash: str
    run: str | None = None
    hosts: tuple[str, ...] = ()
    of: int | None = None
    result: str = ""
    detail: dict[str, Any] = {}


def spell(fields: Mapping[str, Any]) -> bytes:
    """The line of a row whose `fields` are all there but the hash. Raises TradeopsError when it is too large."""
    digest = digest_bytes(canonical_json(fields))
    line = canonical_json({**fields, "hash": digest})
    if len(line) > ROW_BYTES_MAX:
        raise TradeopsError(f"a record of {len(line)} bytes is more than the {ROW_BYTES_MAX} that fit in a row")
    return line


def parse_row(line: bytes) -> Row:
    """A line as a row whose own hash holds. Raises UsageError saying what is wrong."""
    try:
        fields = json.loads(line)
        row = convert(fields, Row)
        spelled = canonical_json(fields)
        del fields["hash"]
        digest = digest_bytes(canonical_json(fields))
    except (ValueError, msgspec.ValidationError, RecursionError) as error:
        raise UsageError(f"not a row: {str(error)[:200]}") from None
    if spelled != line:
        raise UsageError("the row is not spelled as it was written")
    if digest != row.hash:
        raise UsageError("the row's hash is not that of its content")
    return row


def presentable(detail: Mapping[str, Any]) -> dict[str, Any]:
    """`detail` as plain JSON values without secrets, its texts bounded."""
    return {str(name): _plain(str(name), value, 0) for name, value in detail.items()}


def _plain(name: str, value: Any, depth: int) -> Any:
    value = redact(name, value)
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < _INT_MAX):
        return value
    if isinstance(value, int):
        return _text(hex(value))
    if depth > _DEPTH_MAX:
        return "[too deep]"
    if isinstance(value, Mapping):
        return {str(key): _plain(str(key), part, depth + 1) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        parts = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [_plain(name, part, depth + 1) for part in parts]
    # Floats as text: a number's spelling must not depend on who reads the row back.
    return _text(str(value))


def _text(value: str) -> str:
    clean = value.encode("utf-8", "replace").decode()
    return clean if len(clean) <= _TEXT_CHARS_MAX else clean[:_TEXT_CHARS_MAX] + f"… ({len(clean)} characters)"
