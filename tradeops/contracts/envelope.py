"""A signed document: exact bytes, and OpenSSH signatures over them, each for one purpose (namespace)."""

from __future__ import annotations

import base64
from enum import StrEnum

import msgspec


class Purpose(StrEnum):
    """OpenSSH signature namespaces; a signature for one is worth nothing for another."""

    RELEASE = "tradeops.release"
    DIRECTIVE = "tradeops.directive"
    APPROVAL = "tradeops.approval"
    POLICY = "tradeops.policy"
    ROSTER = "tradeops.roster"
    BINDING = "tradeops.binding"
    DELEGATION = "tradeops.delegation"
    PLATFORM = "tradeops.platform"
    SESSION = "tradeops.session"
    EXCLUSION = "tradeops.exclusion"


class Signature(msgspec.Struct, frozen=True):
    """One signature; the armored text holds the public key (PROTOCOL.sshsig)."""

    armored: str


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """`payload` is base64 of the signed bytes; `delegation` lets a run key speak for a person."""

    payload: str
    signatures: tuple[Signature, ...]
    delegation: Envelope | None = None

    @classmethod
    def of(cls, payload: bytes, *armored: str, delegation: Envelope | None = None) -> Envelope:
        """An envelope around `payload`."""
        return cls(base64.b64encode(payload).decode(), tuple(Signature(text) for text in armored), delegation)

    def body(self) -> bytes:
        """The signed bytes. Raises ValueError when the base64 is broken."""
        return base64.b64decode(self.payload, validate=True)
