"""Is an envelope a directive for this host, now? Everything that can be said before the marks are asked. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import Refused
from tradeops.contracts import codec
from tradeops.contracts.directive import RISK_REDUCING, SCHEMA, Directive, Scope, Verb
from tradeops.contracts.envelope import Envelope

SIGNATURES_MAX: Final = 16
AHEAD_NS_MAX: Final = 30 * NS_PER_S
"""How far in the future a directive may have been signed, by this host's clock."""
LIFE_NS_MAX: Final = 24 * 3600 * NS_PER_S
"""How long a directive may stay valid: what bounds the list of spent ids."""


class Refusal(Refused):
    """A directive that is not obeyed. code: stable, for programs; status: of HTTP."""

    code: str

    def __init__(self, code: str, what: str, next: str = "", *, status: int = 409) -> None:
        super().__init__(what, next=next or None)
        self.code = code
        self.status = status


class _KillShape(msgspec.Struct, frozen=True):
    """The part of a kill that must be readable; whatever else came with it is not held against it."""

    id: str
    verb: str
    fleet: str
    hosts: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True)
class Parsed:
    """A directive as read, not yet believed. unknown: names that this guard does not know."""

    directive: Directive
    unknown: frozenset[str]


def parse(envelope: Envelope) -> Parsed:
    """Read the payload. Raises Refusal: malformed."""
    try:
        body = envelope.body()
    except ValueError:
        raise Refusal("malformed", "the payload is not base64", status=400) from None
    if not 1 <= len(envelope.signatures) <= SIGNATURES_MAX:
        raise Refusal("malformed", f"{len(envelope.signatures)} signatures, 1 to {SIGNATURES_MAX} allowed", status=400)
    try:
        directive = codec.parse(body, Directive)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        directive = _bare_kill(body, str(error))
    return Parsed(directive, _unknown(body))


def _bare_kill(body: bytes, problem: str) -> Directive:
    try:
        shape = codec.parse(body, _KillShape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refusal("malformed", f"not a directive: {problem}", status=400) from None
    if shape.verb != Verb.KILL:
        raise Refusal("malformed", f"not a directive: {problem}", status=400)
    return Directive(SCHEMA, shape.id, Verb.KILL, shape.fleet, shape.hosts, shape.reason, 0, 0)


def _unknown(body: bytes) -> frozenset[str]:
    names = codec.unknown_fields(body, Directive)
    scope = msgspec.json.decode(body).get("scope")
    if isinstance(scope, dict):
        names |= {f"scope.{name}" for name in set(scope) - set(Scope.__struct_fields__)}
    return frozenset(names)


def address(directive: Directive, *, host: str, fleet: str) -> None:
    """Is it meant for us? Raises Refusal."""
    if not directive.id or len(directive.id) > 200:
        raise Refusal("malformed", "the id is empty or longer than 200 characters", status=400)
    if directive.fleet != fleet:
        raise Refusal("wrong_fleet", f"meant for fleet {directive.fleet!r}, this is {fleet!r}")
    if not directive.names(host):
        raise Refusal("wrong_host", f"not meant for {host}")


def widen(parsed: Parsed) -> Directive:
    """The directive as it is to be obeyed: a narrowing that this guard does not understand narrows nothing."""
    directive = parsed.directive
    if any(name.startswith("scope.") for name in parsed.unknown):
        return msgspec.structs.replace(directive, scope=Scope())
    return directive


def fresh(parsed: Parsed, now_ns: int) -> None:
    """Age, shape and unknown fields; a kill passes whatever they are. Raises Refusal."""
    directive = parsed.directive
    if directive.verb is Verb.KILL:
        return
    if directive.schema != SCHEMA:
        raise Refusal("unknown_schema", f"schema {directive.schema!r}, this guard knows {SCHEMA!r}")
    clock = "compare this host's clock with yours: `tradeops status` shows both"
    if directive.expires_ns <= now_ns:
        raise Refusal(
            "expired", f"it expired {(now_ns - directive.expires_ns) / NS_PER_S:.1f} s ago by this host's clock", f"sign it anew; {clock}"
        )
    if directive.issued_ns > now_ns + AHEAD_NS_MAX:
        ahead_s = (directive.issued_ns - now_ns) / NS_PER_S
        raise Refusal("not_yet", f"it was signed {ahead_s:.1f} s in the future by this host's clock", clock)
    if directive.expires_ns - directive.issued_ns > LIFE_NS_MAX:
        raise Refusal("too_long", "it is valid for longer than 24 hours", "sign it with a nearer end")
    if parsed.unknown and directive.verb not in RISK_REDUCING:
        names = ", ".join(sorted(parsed.unknown))
        raise Refusal(
            "unknown_fields", f"{directive.verb} adds risk and carries what this guard does not know: {names}", "upgrade the platform"
        )
