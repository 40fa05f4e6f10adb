"""The overlay in force: it travels and is kept inside the directive that set it, and is believed only by that one's signatures."""

from __future__ import annotations

import msgspec

from tradeops.base.errors import Refused, UsageError
from tradeops.contracts.binding import OVERLAY_SCHEMA, Overlay
from tradeops.contracts.codec import convert, decode
from tradeops.contracts.directive import Directive, Verb
from tradeops.contracts.entitle import entitled, signed_bytes
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.policy import Policy


def open_overlay(envelope: Envelope, policy: Policy, *, fleet: str, host: str | None, source: str) -> Overlay:
    """The overlay inside a directive that entitled people signed. host: where it is to act; None: on no single one.

    Raises UsageError (malformed), Refused, SignatureInvalid.
    """
    entitled(policy, "overlay", envelope, Purpose.DIRECTIVE, now_ns=None, host=host)
    directive = decode(signed_bytes(envelope), Directive, source=source)
    if directive.verb is not Verb.OVERLAY or not (host is None or directive.names(host)):
        raise _refused(f"not an overlay for {host or 'this fleet'}", source)
    try:
        overlay = convert(directive.args.get("overlay"), Overlay)
    except msgspec.ValidationError as error:
        raise UsageError(f"not an overlay: {error}", where=source) from None
    if overlay.schema != OVERLAY_SCHEMA:
        raise _refused(f"schema {overlay.schema[:64]!r} is not an overlay", source)
    if overlay.fleet != fleet:
        raise _refused(f"the overlay is for fleet {overlay.fleet!r}, this is {fleet!r}", source)
    return overlay


def brought_back(old: Overlay, new: Overlay) -> list[str]:
    """What `old` turned off or buried and `new` would bring back, whatever runs now (D05, D06)."""
    flags = [f"flag {flag}" for flag, number in old.flags_off.items() if new.flags_off.get(flag, 0) < number]
    return flags + [f"tombstone {flag}" for flag in old.flags_retired if flag not in new.flags_retired]


def loosened(old: Overlay, new: Overlay) -> list[str]:
    """What else `new` would allow where `old` does not."""
    found = [f"symbol {symbol}" for symbol in old.symbols_blocked if symbol not in new.symbols_blocked]
    found += [f"limit {name}" for name, value in old.limits.items() if name not in new.limits or new.limits[name] > value]
    if old.flow_cap_ppm is not None and (new.flow_cap_ppm is None or new.flow_cap_ppm > old.flow_cap_ppm):
        found.append("the flow cap")
    return found


def _refused(problem: str, source: str) -> Refused:
    return Refused(problem, where=source, holds="what is in force stays in force", next="lay a new overlay, or restore this one")
