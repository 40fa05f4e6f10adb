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


def _refused(problem: str, source: str) -> Refused:
    return Refused(problem, where=source, holds="what is in force stays in force", next="lay a new overlay, or restore this one")
