"""The overlay in force: the highest number that entitled people signed."""

from __future__ import annotations

from pathlib import Path

from tradeops.base.durable import read_bounded
from tradeops.contracts.binding import Overlay
from tradeops.contracts.codec import decode
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.policy import Policy
from tradeops.release.binding import open_document

_BYTES_MAX = 1 << 20


def newest_overlay(folder: Path, policy: Policy) -> tuple[Envelope, Overlay] | None:
    """The one with the highest number in `folder` (`NUMBER.json`), or None.

    Raises SignatureInvalid, Refused, UsageError when that one is not what the policy allows: an older one is no stand-in.
    """
    numbers = [int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal()]
    if not numbers:
        return None
    path = folder / f"{max(numbers)}.json"
    envelope = decode(read_bounded(path, _BYTES_MAX), Envelope, source=str(path))
    return envelope, open_document(envelope, Overlay, policy)
