"""Directives that people sign: composed once, signed by one or more, the same bytes to every guard."""

from __future__ import annotations

import msgspec

from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import UsageError
from tradeops.contracts.codec import decode, encode
from tradeops.contracts.directive import SCHEMA, Directive, Scope, Verb
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.signature import Signer

EXPIRES_S = 900
"""How long a directive may be taken after it was written; a kill never expires."""


def compose(
    verb: Verb,
    *,
    id: str,
    fleet: str,
    hosts: tuple[str, ...],
    reason: str,
    now_ns: int,
    scope: Scope = Scope(),
    ends: tuple[str, ...] = (),
    args: dict[str, object] | None = None,
) -> Directive:
    """A directive. Raises UsageError without hosts or without a reason."""
    if not hosts:
        raise UsageError("no host is named", next="name hosts, tags, or --all")
    if not reason.strip():
        raise UsageError("a reason is needed: it is kept for good", next="add --reason TEXT")
    expires_ns = 0 if verb is Verb.KILL else now_ns + EXPIRES_S * NS_PER_S
    return Directive(SCHEMA, id, verb, fleet, hosts, reason.strip(), now_ns, expires_ns, scope, ends, None, args or {})


def sign(directive: Directive, signer: Signer) -> Envelope:
    """The first signature."""
    body = encode(directive)
    return Envelope.of(body, signer.sign(body, Purpose.DIRECTIVE))


def cosign(envelope: Envelope, signer: Signer) -> Envelope:
    """One more signature over the very same bytes. Raises ValueError when the envelope is broken."""
    armored = signer.sign(envelope.body(), Purpose.DIRECTIVE)
    return msgspec.structs.replace(envelope, signatures=(*envelope.signatures, Envelope.of(b"", armored).signatures[0]))


def read(envelope: Envelope, *, source: str) -> Directive:
    """The directive inside. Raises UsageError naming `source`."""
    try:
        return decode(envelope.body(), Directive, source=source)
    except ValueError as error:
        raise UsageError(f"not an envelope: {error}", where=source) from None
