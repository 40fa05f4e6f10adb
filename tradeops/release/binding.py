"""Bindings and overlays: signed for one host or fleet, read back only when the policy says so."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import Refused
from tradeops.contracts.binding import BINDING_SCHEMA, OVERLAY_SCHEMA, Binding, Overlay
from tradeops.contracts.codec import decode, encode
from tradeops.contracts.entitle import entitled, signed_bytes
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.policy import Policy
from tradeops.contracts.signature import Signer

_BYTES_MAX = 16 << 20

Document = TypeVar("Document", Binding, Overlay)


def sign_document(document: Binding | Overlay, signer: Signer) -> Envelope:
    """A binding or overlay, signed. Raises what the signer raises."""
    body = encode(document)
    return Envelope.of(body, signer.sign(body, _purpose(type(document))))


def sign_bindings(bindings: Iterable[Binding], signer: Signer, folder: Path) -> dict[str, Envelope]:
    """Sign one binding per host and keep each as `HOST.json`. Raises what the signer raises, OSError."""
    signed = {binding.host: sign_document(binding, signer) for binding in bindings}
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for host, envelope in signed.items():
        write_atomic(folder / f"{host}.json", msgspec.json.encode(envelope))
    return signed


def load_bindings(folder: Path, hosts: Iterable[str]) -> dict[str, Envelope]:
    """The signed bindings of `hosts` that are there; not verified yet. Raises UsageError when one is malformed."""
    found = {}
    for host in hosts:
        path = folder / f"{host}.json"
        try:
            found[host] = decode(read_bounded(path, _BYTES_MAX), Envelope, source=str(path))
        except FileNotFoundError:
            continue
    return found


def open_document(envelope: Envelope, kind: type[Document], policy: Policy) -> Document:
    """The binding or overlay inside, when entitled people signed it. Raises SignatureInvalid, Refused, UsageError."""
    verb, schema = ("binding", BINDING_SCHEMA) if kind is Binding else ("overlay", OVERLAY_SCHEMA)
    entitled(policy, verb, envelope, _purpose(kind), now_ns=None, host=None)
    document = decode(signed_bytes(envelope), kind, source=verb)
    if document.schema != schema:
        raise Refused(f"a {verb} of schema {document.schema[:64]!r} is not understood")
    if document.fleet != policy.fleet:
        raise Refused(f"the {verb} is for fleet {document.fleet!r}, not {policy.fleet!r}")
    return document


def _purpose(kind: type[Binding] | type[Overlay]) -> Purpose:
    """An overlay is a directive in all but name: it takes effect at once."""
    return Purpose.BINDING if issubclass(kind, Binding) else Purpose.DIRECTIVE
