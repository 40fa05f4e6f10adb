"""OpenSSH public keys and signatures as far as the agent looks inside: which key signed, and whose secret it is."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass

from .errors import SIGNATURE, AgentError

_ARMOR_HEAD = "-----BEGIN SSH SIGNATURE-----"
_ARMOR_TAIL = "-----END SSH SIGNATURE-----"
_MAGIC = b"SSHSIG"
_ARMOR_CHARS_MAX = 65536


@dataclass(frozen=True)
class PublicKey:
    """line: `type base64`.  material: what the private half depends on; equal = the same secret (A04)."""

    line: str
    material: bytes


def parse_line(line: object) -> PublicKey | None:
    """A public key line, its comment dropped; None when this version cannot read it: it then counts for nothing."""
    words = line.split(None, 2) if isinstance(line, str) else []
    if len(words) < 2:
        return None
    try:
        key = _parse_blob(base64.b64decode(words[1], validate=True))
    except (AgentError, binascii.Error):
        return None
    return key if key.line == f"{words[0]} {words[1]}" else None


def signing_key(armored: str) -> PublicKey:
    """The key that an armored signature says it is by; whether it holds is asked of ssh-keygen. Raises AgentError."""
    text = armored.strip()
    if len(text) > _ARMOR_CHARS_MAX or not (text.startswith(_ARMOR_HEAD) and text.endswith(_ARMOR_TAIL)):
        raise _broken("it is not an armored OpenSSH signature")
    try:
        blob = base64.b64decode("".join(text[len(_ARMOR_HEAD) : -len(_ARMOR_TAIL)].split()), validate=True)
    except binascii.Error:
        raise _broken("it is not base64") from None
    if not blob.startswith(_MAGIC):
        raise _broken("it does not begin as a signature does")
    key, _ = _string(blob, len(_MAGIC) + 4)
    return _parse_blob(key)


def _parse_blob(blob: bytes) -> PublicKey:
    kind, at = _string(blob, 0)
    parts = []
    while at < len(blob):
        part, at = _string(blob, at)
        parts.append(part)
    try:
        name = kind.decode("ascii")
    except UnicodeDecodeError:
        raise _broken("the name of its algorithm is not ASCII") from None
    return PublicKey(f"{name} {base64.b64encode(blob).decode()}", _material(name, parts))


def _material(kind: str, parts: list[bytes]) -> bytes:
    """RSA: the modulus. ed25519, security key or not: the point. ECDSA: curve and point."""
    if kind == "ssh-rsa" and len(parts) == 2:
        return b"rsa:" + parts[1].lstrip(b"\0")
    if kind in ("ssh-ed25519", "sk-ssh-ed25519@openssh.com") and parts:
        return b"ed25519:" + parts[0]
    if kind.startswith(("ecdsa-sha2-", "sk-ecdsa-sha2-")) and len(parts) >= 2:
        return parts[0] + b":" + parts[1]
    raise _broken(f"keys of type {kind[:64]!r} are not supported")


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    if at + 4 > len(data):
        raise _broken("it is cut short")
    (length,) = struct.unpack_from(">I", data, at)
    end = at + 4 + length
    if end > len(data):
        raise _broken("it is cut short")
    return data[at + 4 : end], end


def _broken(why: str) -> AgentError:
    return AgentError(SIGNATURE, f"the key or signature cannot be read: {why}")
