"""People's signers: an SSH key in a file, in an agent, on a FIDO2 key, or, for CI, in an environment variable.

ssh-keygen signs, so that every key it can use can sign here; this process never sees a private key, except CI's, which
goes from the environment to ssh-keygen through memory (or a 0600 file where there is no memfd), never as an argument.
"""

from __future__ import annotations

import base64
import binascii
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tradeops.base.errors import SignatureInvalid, TradeopsError, UsageError
from tradeops.contracts.envelope import Purpose
from tradeops.contracts.signature import Signer, fingerprint, normalise, verify

CI_KEY_VARIABLE = "TRADEOPS_SIGNING_KEY"
_SIGN_S = 120
_ASK_S = 10
_AGENT_S = 2
_AGENT_VARIABLE = "SSH_AUTH_SOCK"
_PRIVATE_BYTES_MAX = 65536
_OPENSSH = "-----BEGIN OPENSSH PRIVATE KEY-----"
_NO_CIPHER = b"openssh-key-v1\0\0\0\0\4none"
_PUBLIC_BYTES_MAX = 16384
_DEFAULT_FILES = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")


def signer_for(key: str | None, *, known: Collection[str] = (), environ: Mapping[str, str] | None = None) -> Signer:
    """The signer to use.

    key: path of a private key, or of a public one whose private half an agent holds, or an agent key's `SHA256:…`.
    None: the key in TRADEOPS_SIGNING_KEY when it is set; else the first key of the agent, then of ~/.ssh, that is
    among `known` (public lines of the policy). Raises UsageError when there is none.
    """
    env = dict(os.environ if environ is None else environ)
    ci_key = env.pop(CI_KEY_VARIABLE, None)
    if key is not None and key.startswith("SHA256:"):
        return _agent_signer(key, env)
    if key is not None:
        return FileSigner(Path(key).expanduser(), env)
    if ci_key:
        return MemorySigner(ci_key, env)
    return _first_known({normalise(line) for line in known}, env)


class FileSigner:
    """Signs with a key file, or with the agent that holds the private half of a public key file."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        """Raises UsageError when there is no such key, TradeopsError when its public half cannot be read."""
        self._path = path
        self._environ = environ
        if not path.is_file():
            raise UsageError("no such key file", where=str(path), next="name your SSH key with --key, or load it into an agent")
        self.public_line = _public_of(path, environ)

    def sign(self, message: bytes, purpose: Purpose) -> str:
        """The armored signature. Raises TradeopsError when the key cannot be used."""
        # ssh-keygen asks the agent first, and for as long as that is silent: not where the file alone will do.
        private = self._path.with_suffix("") if self._path.suffix == ".pub" else self._path
        if _is_plain(private):
            return _sign(self._path, message, purpose, self.public_line, _without_agent(self._environ))
        try:
            return _sign(self._path, message, purpose, self.public_line, _with_living_agent(self._environ))
        except SignatureInvalid:
            raise
        except TradeopsError as error:
            if error.next:
                raise
            raise UsageError(
                f"the key is locked, or not in your agent: {error.what}",
                where=error.where,
                next="`ssh-add` it to a running agent, or sign at a terminal",
            ) from None


class AgentSigner:
    """Signs with a key that only an agent holds."""

    def __init__(self, public_line: str, environ: Mapping[str, str]) -> None:
        self.public_line = normalise(public_line)
        self._environ = environ

    def sign(self, message: bytes, purpose: Purpose) -> str:
        """The armored signature. Raises TradeopsError when the agent cannot or will not."""
        with tempfile.TemporaryDirectory(prefix="tradeops-sign-") as folder:
            public = Path(folder) / "key.pub"
            public.write_text(self.public_line + "\n")
            return _sign(public, message, purpose, self.public_line, _with_living_agent(self._environ))


class MemorySigner:
    """Signs with private key text held in memory: a CI job's."""

    def __init__(self, private_text: str, environ: Mapping[str, str]) -> None:
        """Raises UsageError when it is no private key without a passphrase."""
        self._text = _openssh(private_text.strip()) + "\n"
        self._environ = _without_agent(environ)
        with _held(self._text) as (path, fd):
            try:
                self.public_line = _derived(path, self._environ, fd)
            except TradeopsError:
                raise UsageError(
                    f"{CI_KEY_VARIABLE} holds no usable private key", next="give it an OpenSSH private key without a passphrase"
                ) from None

    def sign(self, message: bytes, purpose: Purpose) -> str:
        """The armored signature. Raises TradeopsError when the key cannot be used."""
        with _held(self._text) as (path, fd):
            return _sign(path, message, purpose, self.public_line, self._environ, fd)


def _openssh(text: str) -> str:
    """A private key of another format in OpenSSH's, the only one that ssh-keygen signs with from memory; anything else as it is."""
    if text.startswith(_OPENSSH):
        return text
    try:
        key = load_pem_private_key(text.encode(), None)
        return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode().strip()
    except (ValueError, TypeError, UnsupportedAlgorithm):  # no key, protected, or of a kind that SSH does not know
        return text


@contextmanager
def _held(text: str) -> Iterator[tuple[Path, int | None]]:
    """A path at which ssh-keygen finds the key, for as long as the block lasts, and the descriptor it must inherit."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("key", 0)
        try:
            os.fchmod(fd, 0o600)
            os.write(fd, text.encode())
            yield Path(f"/proc/self/fd/{fd}"), fd
        finally:
            os.close(fd)
        return
    with tempfile.TemporaryDirectory(prefix="tradeops-key-") as folder:
        path = Path(folder) / "key"
        path.touch(mode=0o600)
        path.write_text(text)
        yield path, None


def _sign(path: Path, message: bytes, purpose: Purpose, public_line: str, environ: Mapping[str, str], fd: int | None = None) -> str:
    # A person may have to touch a security key or type a passphrase: let ssh-keygen say so where somebody can see it.
    ran = _keygen(["-q", "-Y", "sign", "-f", str(path), "-n", purpose.value], environ, message, fd, timeout_s=_SIGN_S, seen=True)
    armored = ran.decode("ascii", "replace")
    if verify(armored, message, purpose) != public_line:
        raise SignatureInvalid("ssh-keygen signed with another key than was asked for", where=str(path))
    return armored


def _public_of(path: Path, environ: Mapping[str, str]) -> str:
    """From the .pub file beside it, without asking for a passphrase; else from the key itself."""
    public = path if path.suffix == ".pub" else path.with_name(path.name + ".pub")
    try:
        with public.open("rb") as file:
            return normalise(file.read(_PUBLIC_BYTES_MAX).decode("ascii", "replace"))
    except FileNotFoundError:
        return _derived(path, environ, None)


def _derived(path: Path, environ: Mapping[str, str], fd: int | None) -> str:
    return normalise(_keygen(["-y", "-f", str(path)], environ, b"", fd, timeout_s=_ASK_S, seen=False).decode("ascii", "replace"))


def _keygen(args: list[str], environ: Mapping[str, str], message: bytes, fd: int | None, *, timeout_s: float, seen: bool) -> bytes:
    program = shutil.which("ssh-keygen", path=environ.get("PATH"))
    if program is None:
        raise UsageError("ssh-keygen is not installed", next="install OpenSSH's client programs")
    stderr = None if seen and sys.stderr.isatty() else subprocess.PIPE
    try:
        ran = subprocess.run(
            [program, *args],
            input=message,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=dict(environ),
            pass_fds=() if fd is None else (fd,),
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TradeopsError(
            f"ssh-keygen waited {timeout_s:.0f} s for a touch or a passphrase", next="sign again and touch the key"
        ) from None
    if ran.returncode != 0:
        said = (ran.stderr or b"").decode(errors="replace").strip().splitlines()
        raise TradeopsError(
            f"ssh-keygen could not use the key: {said[-1][:300] if said else 'see above'}", where=args[-3] if "-n" in args else args[-1]
        )
    return ran.stdout


def _is_plain(private: Path) -> bool:
    """Whether the file holds a private key that no passphrase protects."""
    try:
        with private.open("rb") as file:
            text = file.read(_PRIVATE_BYTES_MAX).decode("ascii", "replace").strip()
        if text.startswith(_OPENSSH):
            return base64.b64decode("".join(text.removeprefix(_OPENSSH).split())[:32]).startswith(_NO_CIPHER)
    except (OSError, binascii.Error):
        return False
    return "PRIVATE KEY-----" in text and "ENCRYPTED" not in text


def _without_agent(environ: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in environ.items() if name != _AGENT_VARIABLE}


def _with_living_agent(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The same, without an agent that does not answer; one that does may then take its time for a touch."""
    return environ if _agent_says(environ) is not None else _without_agent(environ)


def _agent_says(environ: Mapping[str, str]) -> str | None:
    """What the agent offers; None when there is none, or it does not answer."""
    program = shutil.which("ssh-add", path=environ.get("PATH"))
    if program is None or not environ.get(_AGENT_VARIABLE):
        return None
    try:
        ran = subprocess.run([program, "-L"], env=dict(environ), capture_output=True, timeout=_AGENT_S, check=False)
    except subprocess.TimeoutExpired:
        return None
    return ran.stdout.decode("ascii", "replace") if ran.returncode == 0 else None


def _agent_lines(environ: Mapping[str, str]) -> list[str]:
    """The public lines that the agent offers and that can sign here; none when there is no agent."""
    lines = []
    for line in (_agent_says(environ) or "").splitlines():
        try:
            lines.append(normalise(line))
        except SignatureInvalid:
            continue
    return lines


def _agent_signer(wanted: str, environ: Mapping[str, str]) -> Signer:
    for line in _agent_lines(environ):
        if fingerprint(line) == wanted:
            return AgentSigner(line, environ)
    raise UsageError(f"the agent holds no key {wanted}", next="`ssh-add -l` shows what it holds")


def _first_known(known: set[str], environ: Mapping[str, str]) -> Signer:
    for line in _agent_lines(environ):
        if line in known:
            return AgentSigner(line, environ)
    folder = Path(environ.get("HOME") or Path.home()) / ".ssh"
    for name in _DEFAULT_FILES:
        if (folder / name).is_file() and (folder / f"{name}.pub").is_file():
            signer = FileSigner(folder / name, environ)
            if signer.public_line in known:
                return signer
    raise UsageError(
        "none of your SSH keys is one that the policy names", next=f"name a key with --key, load it into an agent, or set {CI_KEY_VARIABLE}"
    )
