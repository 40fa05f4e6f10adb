"""The overlay in force: the highest number that entitled people signed, and the next one, which may only tighten."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tradeops.base.durable import read_bounded, write_atomic
from tradeops.contracts.binding import OVERLAY_SCHEMA, Overlay
from tradeops.contracts.codec import decode
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.overlay import open_overlay
from tradeops.contracts.policy import Policy

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
    return envelope, open_overlay(envelope, policy, fleet=policy.fleet, host=None, source=str(path))


def keep_overlay(folder: Path, overlay: Overlay, envelope: Envelope) -> None:
    """Keep it as the newest. envelope: the directive that carries it. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(folder / f"{overlay.number}.json", msgspec.json.encode(envelope))


def forget_overlay(folder: Path, overlay: Overlay) -> None:
    """It came into force nowhere. Raises OSError."""
    (folder / f"{overlay.number}.json").unlink()


def turned_off(current: Overlay | None, flag: str, *, fleet: str) -> Overlay:
    """The next overlay, by which `flag` is off, whatever release came before."""
    following = _next(current, fleet)
    return msgspec.structs.replace(following, flags_off={**following.flags_off, flag: following.number})


def buried(current: Overlay | None, flag: str, *, fleet: str) -> Overlay:
    """The next overlay, in which `flag` has its tombstone."""
    following = _next(current, fleet)
    return msgspec.structs.replace(following, flags_retired=tuple(sorted({*following.flags_retired, flag})))


def _next(current: Overlay | None, fleet: str) -> Overlay:
    if current is None:
        return Overlay(OVERLAY_SCHEMA, fleet, 1)
    return msgspec.structs.replace(current, number=current.number + 1)
