"""Content addresses: `sha256:<64 hex>` over bytes, and the one canonical JSON that is hashed and signed."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20


def digest_bytes(data: bytes) -> str:
    """The address of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    """The address of a file's content, read in slices. Raises OSError."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
    return "sha256:" + hasher.hexdigest()


def is_digest(text: str) -> bool:
    """Whether `text` is a whole, well-formed address."""
    return _DIGEST.fullmatch(text) is not None


def short(digest: str) -> str:
    """The first twelve hex digits: for screens, never for decisions."""
    return digest.removeprefix("sha256:")[:12]


def canonical_json(value: object) -> bytes:
    """Sorted keys, no spaces, UTF-8, no floats that JSON cannot hold. Raises ValueError, TypeError."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
