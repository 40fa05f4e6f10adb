"""JSON for contract structs: tolerant of extra fields when decoding, canonical when encoding."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from tradeops.base.digest import canonical_json
from tradeops.base.errors import UsageError

Document = TypeVar("Document", bound=msgspec.Struct)


def encode(document: msgspec.Struct) -> bytes:
    """The canonical bytes: what is hashed and signed."""
    return canonical_json(msgspec.to_builtins(document))


def decode(data: bytes, kind: type[Document], *, source: str) -> Document:
    """Bytes as a `kind`; unknown fields are passed over. Raises UsageError naming `source`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"not a {kind.__name__}: {error}", where=source) from None


def unknown_fields(data: bytes, kind: type[Document]) -> set[str]:
    """Top-level names in `data` that a `kind` does not have: a risk-adding verb is refused over them."""
    raw = msgspec.json.decode(data)
    return set(raw) - set(kind.__struct_fields__) if isinstance(raw, dict) else set()
