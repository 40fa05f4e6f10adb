"""Flags: the digest of a written meaning, and which are in force. One rule for the daemon and for who proves it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tradeops.base.digest import digest_bytes
from tradeops.contracts.manifest import Flag


def meaning_digest(meaning: str) -> str:
    """Digest of a flag's written meaning; line breaks and indentation are not part of it."""
    return digest_bytes(" ".join(meaning.split()).encode())


def active_flags(flags: Iterable[Flag], off: Mapping[str, int]) -> dict[str, str]:
    """Flags in force, id -> digest of the meaning: turned on by the release, and off by no overlay that the release does not end.

    off: flag id -> number of the overlay that turned it off last.
    """
    return {flag.id: flag.meaning for flag in flags if flag.on and off.get(flag.id, 0) <= flag.ends}
