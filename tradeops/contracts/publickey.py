"""OpenSSH public keys: parsed strictly, verified with `cryptography`. ed25519, RSA, ECDSA, and their FIDO2 kinds.

A key has one spelling only (shortest numbers, uncompressed points), so that equal keys are equal lines. Certificates,
DSA, RSA below 2048 bits and SHA-1 are refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from tradeops.base.errors import SignatureInvalid
from tradeops.contracts.sshwire import WireReader

LINE_CHARS_MAX = 8192
_RSA_BITS_MIN, _RSA_BITS_MAX, _RSA_EXPONENT_BITS_MAX = 2048, 16384, 64
_USER_PRESENT = 0x01
_SK_ED25519 = "sk-ssh-ed25519@openssh.com"
_SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com"
_RSA_HASHES: dict[str, hashes.HashAlgorithm] = {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512()}
_CURVES: dict[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "nistp256": (ec.SECP256R1(), hashes.SHA256()),
    "nistp384": (ec.SECP384R1(), hashes.SHA384()),
    "nistp521": (ec.SECP521R1(), hashes.SHA512()),
}

_Check = Callable[[bytes, bytes], None]
"""(signature blob as on the wire, signed bytes); raises SignatureInvalid, InvalidSignature, ValueError."""


@dataclass(frozen=True)
class PublicKey:
    """A parsed key. line: `type base64`.  material: what the private half depends on; equal = the same secret."""

    line: str
    material: bytes
    check: _Check

    def verify(self, signature: bytes, message: bytes) -> None:
        """Whether `signature` (SSH signature blob) is this key's over `message`. Raises SignatureInvalid."""
        try:
            self.check(signature, message)
        except (InvalidSignature, ValueError):
            raise SignatureInvalid("the signature does not belong to these bytes") from None


def fingerprint(public_line: str) -> str:
    """`SHA256:…` as ssh-keygen prints it. Raises SignatureInvalid."""
    blob = base64.b64decode(parse_line(public_line).line.split(" ")[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def normalise(public_line: str) -> str:
    """`type base64` of a public key line, its comment dropped. Raises SignatureInvalid."""
    return parse_line(public_line).line


@lru_cache(maxsize=1024)
def parse_line(public_line: str) -> PublicKey:
    """A line as in `id_ed25519.pub`. Raises SignatureInvalid."""
    words = public_line.split(None, 2) if len(public_line) <= LINE_CHARS_MAX else []
    if len(words) < 2 or "\n" in public_line.strip():
        raise SignatureInvalid("not an OpenSSH public key line (`type base64`)")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise SignatureInvalid("the public key is not base64") from None
    key = parse_blob(blob)
    if key.line != f"{words[0]} {words[1]}":
        raise SignatureInvalid("the public key is of another type than it says, or oddly written")
    return key


@lru_cache(maxsize=1024)
def parse_blob(blob: bytes) -> PublicKey:
    """The wire form of a public key. Raises SignatureInvalid."""
    reader = WireReader(blob)
    kind = _name(reader.string())
    line = f"{kind} {base64.b64encode(blob).decode()}"
    try:
        material, check = _key(kind, reader)
    except ValueError:
        raise SignatureInvalid(f"not a valid {kind} key") from None
    reader.end()
    return PublicKey(line, material, check)


def _name(raw: bytes) -> str:
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        raise SignatureInvalid("the name of an algorithm is not ASCII") from None


def _key(kind: str, reader: WireReader) -> tuple[bytes, _Check]:
    if kind == "ssh-ed25519":
        return _ed25519(reader)
    if kind == "ssh-rsa":
        return _rsa(reader)
    if kind == _SK_ED25519:
        return _sk_ed25519(reader)
    if kind == _SK_ECDSA:
        return _sk_ecdsa(reader)
    if kind.startswith("ecdsa-sha2-"):
        return _ecdsa(kind, reader)
    raise SignatureInvalid(
        f"keys of type {kind[:64]!r} are not supported", next="use an ed25519, RSA (2048 bits or more), ECDSA or FIDO2 key"
    )


def _ed25519_key(reader: WireReader) -> tuple[bytes, ed25519.Ed25519PublicKey]:
    raw = reader.string()
    return b"ed25519:" + raw, ed25519.Ed25519PublicKey.from_public_bytes(raw)


def _ec_key(reader: WireReader, expected: str) -> tuple[bytes, ec.EllipticCurvePublicKey, hashes.HashAlgorithm]:
    name, point = _name(reader.string()), reader.string()
    if name != expected or name not in _CURVES or point[:1] != b"\x04":
        raise SignatureInvalid("the ECDSA key's curve or point is not one OpenSSH writes")
    curve, algorithm = _CURVES[name]
    return name.encode() + b":" + point, ec.EllipticCurvePublicKey.from_encoded_point(curve, point), algorithm


def _open(signature: bytes, *kinds: str) -> tuple[str, bytes, WireReader]:
    """The signature blob's algorithm, its value, and what follows."""
    reader = WireReader(signature)
    kind, value = _name(reader.string()), reader.string()
    if kind not in kinds:
        raise SignatureInvalid(f"a {kind[:64]!r} signature does not fit this key")
    return kind, value, reader


def _der(value: bytes, key: ec.EllipticCurvePublicKey) -> bytes:
    reader = WireReader(value)
    r, s = reader.mpint(key.key_size), reader.mpint(key.key_size)
    reader.end()
    return utils.encode_dss_signature(r, s)


def _ed25519(reader: WireReader) -> tuple[bytes, _Check]:
    material, key = _ed25519_key(reader)

    def check(signature: bytes, message: bytes) -> None:
        _, value, rest = _open(signature, "ssh-ed25519")
        rest.end()
        key.verify(value, message)

    return material, check


def _rsa(reader: WireReader) -> tuple[bytes, _Check]:
    exponent, modulus = reader.mpint(_RSA_EXPONENT_BITS_MAX), reader.mpint(_RSA_BITS_MAX)
    if modulus.bit_length() < _RSA_BITS_MIN:
        raise SignatureInvalid(f"the RSA key has {modulus.bit_length()} bits; at least {_RSA_BITS_MIN} are asked for")
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()

    def check(signature: bytes, message: bytes) -> None:
        kind, value, rest = _open(signature, *_RSA_HASHES)
        rest.end()
        key.verify(value, message, padding.PKCS1v15(), _RSA_HASHES[kind])

    return b"rsa:" + modulus.to_bytes(_RSA_BITS_MAX // 8, "big"), check


def _ecdsa(kind: str, reader: WireReader) -> tuple[bytes, _Check]:
    material, key, algorithm = _ec_key(reader, kind.removeprefix("ecdsa-sha2-"))

    def check(signature: bytes, message: bytes) -> None:
        _, value, rest = _open(signature, kind)
        rest.end()
        key.verify(_der(value, key), message, ec.ECDSA(algorithm))

    return material, check


def _sk_signed(rest: WireReader, application: bytes, message: bytes) -> bytes:
    """What a security key signs: the application, its flags and counter, the message. Raises without a touch."""
    flags, counter = rest.byte(), rest.take(4)
    rest.end()
    if not flags & _USER_PRESENT:
        raise SignatureInvalid("nobody touched the security key", next="sign again without `no-touch-required`")
    return hashlib.sha256(application).digest() + bytes([flags]) + counter + hashlib.sha256(message).digest()


def _sk_ed25519(reader: WireReader) -> tuple[bytes, _Check]:
    material, key = _ed25519_key(reader)
    application = reader.string()

    def check(signature: bytes, message: bytes) -> None:
        _, value, rest = _open(signature, _SK_ED25519)
        key.verify(value, _sk_signed(rest, application, message))

    return material, check


def _sk_ecdsa(reader: WireReader) -> tuple[bytes, _Check]:
    material, key, algorithm = _ec_key(reader, "nistp256")
    application = reader.string()

    def check(signature: bytes, message: bytes) -> None:
        _, value, rest = _open(signature, _SK_ECDSA)
        key.verify(_der(value, key), _sk_signed(rest, application, message), ec.ECDSA(algorithm))

    return material, check
