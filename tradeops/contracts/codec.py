"""JSON for contract structs: tolerant of extra fields when decoding, canonical when encoding.

The one door to msgspec's decoding. It looks up a type's fields at their first use, and two threads that do so at once end
the process (a segmentation fault, seen with msgspec 0.22 where eight threads read eight hosts): here one looks, the others wait.
"""

from __future__ import annotations

import threading
from typing import Any, Final, TypeVar

import msgspec

from tradeops.base.digest import canonical_json
from tradeops.base.errors import UsageError

Document = TypeVar("Document", bound=msgspec.Struct)
T = TypeVar("T")
_READY: Final[set[object]] = set()
_LOOKING = threading.Lock()


def encode(document: msgspec.Struct) -> bytes:
    """The canonical bytes: what is hashed and signed."""
    return canonical_json(msgspec.to_builtins(document))


def decode(data: bytes, kind: type[Document], *, source: str) -> Document:
    """Bytes as a `kind`; unknown fields are passed over. Raises UsageError naming `source`."""
    try:
        return parse(data, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"not a {kind.__name__}: {error}", where=source) from None


def parse(data: bytes | str, kind: type[T]) -> T:
    """Bytes as a `kind`. Raises msgspec.DecodeError (ValidationError is one), UnicodeDecodeError."""
    return msgspec.json.decode(data, type=_ready(kind))


def convert(value: Any, kind: type[T]) -> T:
    """Plain JSON values as a `kind`. Raises msgspec.ValidationError."""
    return msgspec.convert(value, _ready(kind))


def _ready(kind: type[T]) -> type[T]:
    """The same type, its fields looked up."""
    if kind not in _READY:
        with _LOOKING:
            msgspec.json.Decoder(kind)
            _READY.add(kind)
    return kind


def unknown_fields(data: bytes, kind: type[Document]) -> set[str]:
    """Top-level names in `data` that a `kind` does not have: a risk-adding verb is refused over them."""
    raw = msgspec.json.decode(data)
    return set(raw) - set(kind.__struct_fields__) if isinstance(raw, dict) else set()
