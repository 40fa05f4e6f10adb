"""OpenSSH signatures in process, held against the real ssh-keygen both ways, and against every flipped byte."""

from __future__ import annotations

import base64
import hashlib
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from hypothesis import given, settings
from hypothesis import strategies as st

from tradeops.base.errors import SignatureInvalid, UsageError
from tradeops.contracts.envelope import Purpose
from tradeops.contracts.signature import RunKey, fingerprint, normalise, verify
from tradeops.contracts.sshwire import pack_mpint, pack_string

needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
MESSAGE = b"stop everything\n"
KINDS = [("ed25519", None), ("rsa", "2048"), ("rsa", "3072"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521")]


def keygen(*args: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["ssh-keygen", *map(str, args)], input=stdin, capture_output=True, check=False, timeout=60)


def new_key(folder: Path, kind: str, bits: str | None) -> tuple[Path, str]:
    path = folder / "key"
    keygen("-q", "-t", kind, *(("-b", bits) if bits else ()), "-N", "", "-C", "a comment", "-f", path)
    return path, path.with_suffix(".pub").read_text()


def armor(blob: bytes) -> str:
    return f"-----BEGIN SSH SIGNATURE-----\n{base64.b64encode(blob).decode()}\n-----END SSH SIGNATURE-----\n"


def signed(namespace: bytes, message: bytes, algorithm: str = "sha512") -> bytes:
    digest = hashlib.new(algorithm, message).digest()
    return b"SSHSIG" + b"".join(map(pack_string, (namespace, b"", algorithm.encode(), digest)))


def sshsig(public: bytes, namespace: bytes, signature: bytes, *, algorithm: bytes = b"sha512", reserved: bytes = b"") -> str:
    return armor(b"SSHSIG" + struct.pack(">I", 1) + b"".join(map(pack_string, (public, namespace, reserved, algorithm, signature))))


def sk_tail(application: bytes, flags: int, counter: int, message: bytes) -> tuple[bytes, bytes]:
    tail = bytes([flags]) + struct.pack(">I", counter)
    return tail, hashlib.sha256(application).digest() + tail + hashlib.sha256(message).digest()


def sk_ed25519(flags: int = 1) -> str:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    kind, namespace = b"sk-ssh-ed25519@openssh.com", Purpose.DIRECTIVE.value.encode()
    public = b"".join(map(pack_string, (kind, key.public_key().public_bytes_raw(), b"ssh:")))
    tail, to_sign = sk_tail(b"ssh:", flags, 7, signed(namespace, MESSAGE))
    return sshsig(public, namespace, pack_string(kind) + pack_string(key.sign(to_sign)) + tail)


def sk_ecdsa(flags: int = 1) -> str:
    key = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())
    kind, namespace = b"sk-ecdsa-sha2-nistp256@openssh.com", Purpose.DIRECTIVE.value.encode()
    numbers = key.public_key().public_numbers()
    point = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    public = b"".join(map(pack_string, (kind, b"nistp256", point, b"ssh:")))
    tail, to_sign = sk_tail(b"ssh:", flags, 7, signed(namespace, MESSAGE))
    r, s = utils.decode_dss_signature(key.sign(to_sign, ec.ECDSA(hashes.SHA256())))
    return sshsig(public, namespace, pack_string(kind) + pack_string(pack_mpint(r) + pack_mpint(s)) + tail)


@needs_keygen
@pytest.mark.parametrize(("kind", "bits"), KINDS)
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_verifies_what_ssh_keygen_signs(tmp_path: Path, kind: str, bits: str | None, algorithm: str) -> None:
    """Each key type ssh-keygen can make, with both message hashes; another message or purpose fails."""
    path, public = new_key(tmp_path, kind, bits)
    ran = keygen("-Y", "sign", "-f", path, "-n", Purpose.DIRECTIVE, "-O", f"hashalg={algorithm}", stdin=MESSAGE)
    armored = ran.stdout.decode()
    assert verify(armored, MESSAGE, Purpose.DIRECTIVE) == normalise(public)
    with pytest.raises(SignatureInvalid, match="does not belong"):
        verify(armored, MESSAGE + b"!", Purpose.DIRECTIVE)
    with pytest.raises(SignatureInvalid, match="not for"):
        verify(armored, MESSAGE, Purpose.RELEASE)


@needs_keygen
def test_ssh_keygen_verifies_what_a_run_key_signs(tmp_path: Path) -> None:
    """The run key's signature is good for ssh-keygen -Y verify, byte for byte in its format."""
    key = RunKey.generate()
    (tmp_path / "allowed").write_text(f"run {key.public_line}\n")
    (tmp_path / "sig").write_text(key.sign(MESSAGE, Purpose.SESSION))
    args = ("-Y", "verify", "-f", tmp_path / "allowed", "-I", "run", "-n", Purpose.SESSION, "-s", tmp_path / "sig")
    ran = keygen(*args, stdin=MESSAGE)
    assert ran.returncode == 0, ran.stderr
    assert keygen(*args, stdin=MESSAGE + b"!").returncode != 0


@needs_keygen
@pytest.mark.parametrize("make", [sk_ed25519, sk_ecdsa])
def test_ssh_keygen_agrees_on_security_keys(tmp_path: Path, make: Callable[[], str]) -> None:
    """The FIDO2 signatures built by hand here are what ssh-keygen takes for one, so the parser is held to the real format."""
    line = verify(make(), MESSAGE, Purpose.DIRECTIVE)
    (tmp_path / "allowed").write_text(f"operator-1 {line}\n")
    (tmp_path / "sig").write_text(make())
    ran = keygen(
        "-Y", "verify", "-f", tmp_path / "allowed", "-I", "operator-1", "-n", Purpose.DIRECTIVE, "-s", tmp_path / "sig", stdin=MESSAGE
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("make", [sk_ed25519, sk_ecdsa])
def test_a_security_key_that_nobody_touched_is_refused(make: Callable[[int], str]) -> None:
    """The user-present flag is asked for; other flags beside it are fine."""
    assert verify(make(0x05), MESSAGE, Purpose.DIRECTIVE).startswith("sk-")
    with pytest.raises(SignatureInvalid, match="touched"):
        verify(make(0x04), MESSAGE, Purpose.DIRECTIVE)


@needs_keygen
@pytest.mark.parametrize(("kind", "bits"), [("rsa", "1024"), ("dsa", None)])
def test_weak_keys_are_refused(tmp_path: Path, kind: str, bits: str | None) -> None:
    """RSA below 2048 bits and DSA count for nothing."""
    path, public = new_key(tmp_path, kind, bits)
    ran = keygen("-Y", "sign", "-f", path, "-n", Purpose.DIRECTIVE, stdin=MESSAGE)
    attempts: list[Callable[[], str]] = [lambda: normalise(public), lambda: verify(ran.stdout.decode(), MESSAGE, Purpose.DIRECTIVE)]
    for attempt in attempts:
        with pytest.raises(SignatureInvalid):
            attempt()


@needs_keygen
@pytest.mark.parametrize(("kind", "bits"), KINDS)
def test_fingerprint_is_ssh_keygens(tmp_path: Path, kind: str, bits: str | None) -> None:
    """The same SHA256:… that people compare by eye."""
    path, public = new_key(tmp_path, kind, bits)
    assert keygen("-l", "-f", path).stdout.decode().split()[1] == fingerprint(public)


GOLDEN = {
    "run key": RunKey.from_private_bytes(b"\x07" * 32).sign(MESSAGE, Purpose.DIRECTIVE),
    "sk ed25519": sk_ed25519(),
    "sk ecdsa": sk_ecdsa(),
}


@pytest.mark.parametrize("name", GOLDEN)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_flipped_bit_of_the_armored_text_fails(name: str, data: st.DataObject) -> None:
    """A05: no bit of a signature may change and leave it standing for the same key."""
    armored = GOLDEN[name]
    line = verify(armored, MESSAGE, Purpose.DIRECTIVE)
    raw = bytearray(armored.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 6))
    try:
        assert verify(raw.decode(), MESSAGE, Purpose.DIRECTIVE) != line
    except SignatureInvalid:
        return


@pytest.mark.parametrize("name", GOLDEN)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_changed_byte_of_the_blob_fails(name: str, data: st.DataObject) -> None:
    """A05: below the armor as well, for every field."""
    blob = bytearray(base64.b64decode("".join(GOLDEN[name].splitlines()[1:-1])))
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SignatureInvalid):
        verify(armor(bytes(blob)), MESSAGE, Purpose.DIRECTIVE)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_hostile_bytes_raise_only_signature_invalid(junk: bytes) -> None:
    """Any bytes at all, as blob, as key, as armored text: one kind of error."""
    attempts: list[Callable[[], str]] = [
        lambda: verify(armor(b"SSHSIG\0\0\0\1" + junk), MESSAGE, Purpose.DIRECTIVE),
        lambda: verify(junk.decode("latin-1"), MESSAGE, Purpose.DIRECTIVE),
        lambda: normalise("ssh-rsa " + base64.b64encode(pack_string(b"ssh-rsa") + junk).decode()),
        lambda: normalise("ecdsa-sha2-nistp256 " + base64.b64encode(pack_string(b"ecdsa-sha2-nistp256") + junk).decode()),
        lambda: normalise(junk.decode("latin-1")),
    ]
    for attempt in attempts:
        with pytest.raises(SignatureInvalid):
            attempt()


def test_odd_spellings_are_refused() -> None:
    """Huge text, another version, a filled reserved field, another hash, spaces in the armor, something after the end."""
    key = RunKey.from_private_bytes(b"\x07" * 32)
    good = key.sign(MESSAGE, Purpose.DIRECTIVE)
    blob = base64.b64decode("".join(good.splitlines()[1:-1]))
    public = base64.b64decode(key.public_line.split()[1])
    namespace = Purpose.DIRECTIVE.value.encode()
    bad = [
        "x" * 20_000,
        armor(blob.replace(b"SSHSIG\0\0\0\1", b"SSHSIG\0\0\0\2")),
        armor(blob + b"\0"),
        sshsig(public, namespace, b"", reserved=b"x"),
        sshsig(public, namespace, b"", algorithm=b"md5"),
        good + "more",
        good.replace("\n", "\r\n"),
        good.replace("\n", " \n"),
        "",
    ]
    for armored in bad:
        with pytest.raises(SignatureInvalid):
            verify(armored, MESSAGE, Purpose.DIRECTIVE)


def test_one_key_has_one_spelling() -> None:
    """A04: a key padded or named otherwise cannot pass for a second one."""
    line = RunKey.from_private_bytes(b"\x07" * 32).public_line
    blob = base64.b64decode(line.split()[1])
    numbers = (3).to_bytes(1, "big"), b"\0" + (1 << 2047 | 1).to_bytes(256, "big")
    rsa_blob = b"".join(map(pack_string, (b"ssh-rsa", *numbers)))
    padded = b"".join(map(pack_string, (b"ssh-rsa", b"\0\3", numbers[1])))
    assert normalise(f"  {line} somebody@somewhere \n") == line
    assert normalise(f"ssh-rsa {base64.b64encode(rsa_blob).decode()}")
    for odd in (
        f"ssh-rsa {base64.b64encode(padded).decode()}",
        line.replace("ssh-ed25519", "ssh-rsa", 1),
        f"ssh-ed25519 {base64.b64encode(blob + b'x').decode()}",
        f"{line}\n{line}",
        f'command="x" {line}',
        "ssh-ed25519",
    ):
        with pytest.raises(SignatureInvalid):
            normalise(odd)


def test_a_run_key_survives_its_file() -> None:
    """The key kept in a run's folder signs as before; a damaged file is refused."""
    key = RunKey.generate()
    again = RunKey.from_private_bytes(key.private_bytes())
    assert verify(again.sign(MESSAGE, Purpose.DELEGATION), MESSAGE, Purpose.DELEGATION) == key.public_line
    with pytest.raises(UsageError):
        RunKey.from_private_bytes(b"short")
