"""Bindings: signed for one host, read back only when the policy says so."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import Refused
from tradeops.contracts.binding import BINDING_SCHEMA, Binding
from tradeops.contracts.codec import decode, encode
from tradeops.contracts.entitle import entitled, signed_bytes
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.policy import Policy
from tradeops.contracts.signature import Signer

_BYTES_MAX = 16 << 20


def sign_binding(binding: Binding, signer: Signer) -> Envelope:
    """A binding, signed. Raises what the signer raises."""
    body = encode(binding)
    return Envelope.of(body, signer.sign(body, Purpose.BINDING))


def sign_bindings(bindings: Iterable[Binding], signer: Signer, folder: Path) -> dict[str, Envelope]:
    """Sign one binding per host and keep each as `HOST.json`. Raises what the signer raises, OSError."""
    signed = {binding.host: sign_binding(binding, signer) for binding in bindings}
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


def open_binding(envelope: Envelope, policy: Policy) -> Binding:
    """The binding inside, when entitled people signed it. Raises SignatureInvalid, Refused, UsageError."""
    entitled(policy, "binding", envelope, Purpose.BINDING, now_ns=None, host=None)
    binding = decode(signed_bytes(envelope), Binding, source="binding")
    if binding.schema != BINDING_SCHEMA:
        raise Refused(f"a binding of schema {binding.schema[:64]!r} is not understood")
    if binding.fleet != policy.fleet:
        raise Refused(f"the binding is for fleet {binding.fleet!r}, not {policy.fleet!r}")
    return binding
