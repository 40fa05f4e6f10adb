"""What a guard's answer is worth: read strictly, and believed only when it speaks for the host that was asked."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from tradeops.base.errors import OutcomeUnknown, Refused, TradeopsError
from tradeops.contracts.codec import parse
from tradeops.contracts.directive import Directive, DirectiveReply, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.identity import IdentityReport
from tradeops.contracts.status import Health, Status
from tradeops.fleet.channel import printable

Report = TypeVar("Report", IdentityReport, Status, Health)

_FORBIDDEN = 403
_SERVER_ERRORS = 500
_TEXT_CHARS_MAX = 500


class _Head(msgspec.Struct):
    """As much of a directive as decides how it travels."""

    id: str
    verb: str


def head_of(envelope: Envelope) -> tuple[str, bool]:
    """(id, is it a kill) of a directive. Raises TradeopsError when it is none: nothing was sent then."""
    try:
        head = parse(envelope.body(), _Head)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise TradeopsError(f"the envelope holds no {Directive.__name__}: {error}", holds="nothing was sent") from None
    return head.id, head.verb == Verb.KILL


def read_report(host: str, status: int, body: bytes, kind: type[Report]) -> Report:
    """The answer to a GET. Raises TradeopsError: refused, not a report, or another host's."""
    if status != 200:
        raise not_ok(host, status, body)
    try:
        report = parse(body, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TradeopsError(f"its guard's answer is no {kind.__name__}: {error}", where=host) from None
    if report.host != host:
        raise _other_host(host, report.host)
    return report


def read_document(host: str, status: int, body: bytes) -> Envelope:
    """A signed document that a guard keeps. Raises TradeopsError: there is none, or what came is none."""
    if status != 200:
        raise not_ok(host, status, body)
    try:
        return parse(body, Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TradeopsError(f"its guard's answer is no signed document: {error}", where=host) from None


def read_reply(host: str, status: int, body: bytes, directive: str) -> DirectiveReply:
    """The answer to a directive. Raises Refused, TradeopsError (another host's or directive's), OutcomeUnknown (no answer at all)."""
    try:
        reply = parse(body, DirectiveReply)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if 400 <= status < _SERVER_ERRORS:
            raise not_ok(host, status, body) from None
        raise OutcomeUnknown(
            f"its guard took the directive and answered {status} with something else than a reply",
            where=host,
            holds="it may or may not have been done there",
            next="`tradeops status`",
        ) from None
    if reply.host != host:
        raise _other_host(host, reply.host)
    if not reply.accepted:
        error = Refused(
            f"its guard refused: {printable(reply.error or reply.code or 'no reason given', chars_max=_TEXT_CHARS_MAX)}",
            where=host,
            next=printable(reply.next, chars_max=_TEXT_CHARS_MAX) or None,
        )
        error.code = printable(reply.code, chars_max=40)
        raise error
    if reply.id != directive:
        raise TradeopsError("its guard answers about another directive", where=host, next="treat this host as not reached")
    return reply


def not_ok(host: str, status: int, body: bytes) -> TradeopsError:
    """An HTTP status that is no answer."""
    said = printable(body[:_TEXT_CHARS_MAX].decode("utf-8", "replace"), chars_max=_TEXT_CHARS_MAX)
    kind, hint = (Refused, "is this machine's client certificate the fleet's?") if status == _FORBIDDEN else (TradeopsError, None)
    return kind(f"its guard answered {status}" + (f": {said}" if said else ""), where=host, next=hint)


def _other_host(host: str, said: str) -> TradeopsError:
    name = printable(said, chars_max=80)
    return TradeopsError(f"the guard at its address speaks for {name!r}", where=host, next="correct the address in the fleet file")
