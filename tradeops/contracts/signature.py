"""OpenSSH signatures (PROTOCOL.sshsig), verified in process; and the run key, which signs in process.

People's own signers (files, agent, FIDO2 keys through ssh-keygen) are in release/sign.py.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import textwrap
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tradeops.base.errors import SignatureInvalid, UsageError
from tradeops.contracts.envelope import Purpose
from tradeops.contracts.publickey import fingerprint, normalise, parse_blob
from tradeops.contracts.sshwire import WireReader, pack_string

__all__ = ["RunKey", "Signer", "fingerprint", "normalise", "verify"]

ARMORED_CHARS_MAX = 16384
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_LINE_CHARS = 70
_MAGIC = b"SSHSIG"
_VERSION = 1
_HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}


class Signer(Protocol):
    """Something that signs for one key."""

    @property
    def public_line(self) -> str:
        """`type base64` of its public half."""

    def sign(self, message: bytes, purpose: Purpose) -> str:
        """The armored signature. Raises TradeopsError when the key cannot be used."""


def verify(armored: str, message: bytes, purpose: Purpose) -> str:
    """The public key line (`type base64`) whose signature over `message` for `purpose` this is.

    Says nothing about whose key it is or what it may do: that is entitle's. Raises SignatureInvalid.
    """
    reader = WireReader(_unarmor(armored))
    if reader.take(len(_MAGIC)) != _MAGIC or reader.uint32() != _VERSION:
        raise SignatureInvalid("not an OpenSSH signature of version 1")
    key = parse_blob(reader.string())
    namespace, reserved, algorithm, signature = reader.string(), reader.string(), reader.string(), reader.string()
    reader.end()
    if namespace != purpose.value.encode():
        raise SignatureInvalid(f"signed for {namespace[:64].decode('ascii', 'replace')!r}, not for {purpose.value!r}")
    if reserved:
        raise SignatureInvalid("the signature's reserved field is not empty")
    if algorithm not in _HASHES:
        raise SignatureInvalid("the signature's message hash is neither sha256 nor sha512")
    key.verify(signature, _signed_bytes(namespace, algorithm, message))
    return key.line


def _signed_bytes(namespace: bytes, algorithm: bytes, message: bytes) -> bytes:
    digest = _HASHES[algorithm](message).digest()
    return _MAGIC + pack_string(namespace) + pack_string(b"") + pack_string(algorithm) + pack_string(digest)


def _unarmor(armored: str) -> bytes:
    if len(armored) > ARMORED_CHARS_MAX:
        raise SignatureInvalid(f"the signature is longer than {ARMORED_CHARS_MAX} characters")
    lines = armored.removesuffix("\n").split("\n")
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise SignatureInvalid("not an armored OpenSSH signature")
    text = "".join(lines[1:-1])
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SignatureInvalid("the armored signature is not base64") from None
    if base64.b64encode(blob).decode() != text:
        raise SignatureInvalid("the armored signature is oddly written")
    return blob


class RunKey:
    """An ed25519 key of one run (or of the sentinel, or of a CI job): signs in this process, without ssh-keygen."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._blob = pack_string(b"ssh-ed25519") + pack_string(private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> RunKey:
        """A new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_private_bytes(cls, raw: bytes) -> RunKey:
        """A key kept earlier. Raises UsageError when it is not 32 bytes."""
        if len(raw) != 32:
            raise UsageError("a run key is 32 bytes", next="resume the run on the machine that started it")
        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    def private_bytes(self) -> bytes:
        """The 32 secret bytes: for a file of mode 0600, for nothing else."""
        return self._private.private_bytes_raw()

    @property
    def public_line(self) -> str:
        """`ssh-ed25519 base64`."""
        return f"ssh-ed25519 {base64.b64encode(self._blob).decode()}"

    def sign(self, message: bytes, purpose: Purpose) -> str:
        """The armored signature, as ssh-keygen writes it."""
        namespace, algorithm = purpose.value.encode(), b"sha512"
        value = self._private.sign(_signed_bytes(namespace, algorithm, message))
        fields = (self._blob, namespace, b"", algorithm, pack_string(b"ssh-ed25519") + pack_string(value))
        blob = _MAGIC + _VERSION.to_bytes(4, "big") + b"".join(pack_string(field) for field in fields)
        return "\n".join([_BEGIN, *textwrap.wrap(base64.b64encode(blob).decode(), _LINE_CHARS), _END, ""])
