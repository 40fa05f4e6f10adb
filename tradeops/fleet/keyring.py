"""The keys that log in: private key files, each opened once, and the person's SSH agent under a deadline.

With fleet.ssh the door to paramiko.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import paramiko
from paramiko.agent import AgentSSH

from tradeops.base.errors import Unreachable

_AGENT_S = 2.0
"""What an SSH agent may take to list its keys: one that hangs holds up nobody for longer."""
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_KEY_CLASSES = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)

AskPassphrase = Callable[[str], str]
"""Asks the person for the passphrase of the key at a path; handed in only where there is a terminal."""


class HeldKeys(AgentSSH):
    """The person's SSH agent, asked when its keys are first needed; paramiko's own would wait for a hung one for ever."""

    def __init__(self, sign_s: float) -> None:
        """sign_s: for a signature: a person may have to confirm it."""
        super().__init__()
        self._sign_s = sign_s
        self._sock: socket.socket | None = None

    def __enter__(self) -> HeldKeys:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sock is not None:
            self._sock.close()

    def held(self) -> dict[bytes, paramiko.PKey]:
        """Blob -> key; none where there is no agent, or none that answers."""
        path = os.environ.get("SSH_AUTH_SOCK")
        if path and self._sock is None:
            self._sock = socket.socket(socket.AF_UNIX)
            try:
                self._sock.settimeout(_AGENT_S)
                self._sock.connect(path)
                self._connect(self._sock)  # type: ignore[attr-defined]  # the half of paramiko.Agent() that lists the keys
                self._sock.settimeout(self._sign_s)
            except (paramiko.SSHException, OSError, EOFError, struct.error):
                return {}
        return {key.asbytes(): key for key in self.get_keys()}


class KeyRing:
    """Private keys, each opened once; a passphrase is asked for once, by one thread at a time."""

    def __init__(self, ask: AskPassphrase | None) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._opened: dict[Path, paramiko.PKey] = {}

    def candidates(self, identity_file: str | None, agent: HeldKeys) -> list[tuple[str, paramiko.PKey]]:
        """(what it is called, key) in the order to try: the named one, or the agent's and then the usual files.

        Raises Unreachable when the named key cannot be used, or the only usual one is encrypted and stays so.
        """
        if identity_file is not None:
            path = Path(identity_file).expanduser()
            from_agent = None if self._opens(path) else agent.held().get(_public_half(path) or b"")
            return [(f"{path} by the agent", from_agent) if from_agent else (str(path), self._open(path))]
        found: list[tuple[str, paramiko.PKey]] = [(f"the agent's {key.get_name()}", key) for key in agent.held().values()]
        for path in (Path.home() / ".ssh" / name for name in _DEFAULT_KEYS):
            if not found and path.exists():
                found.append((str(path), self._open(path)))
        return found

    def _opens(self, path: Path) -> bool:
        """Whether it can be used without passphrase and agent."""
        with self._lock:
            if path not in self._opened:
                try:
                    self._opened[path] = _private_key(path, None)
                except (paramiko.PasswordRequiredException, Unreachable):
                    return False
            return True

    def _open(self, path: Path) -> paramiko.PKey:
        with self._lock:
            if path not in self._opened:
                self._opened[path] = self._read(path)
            return self._opened[path]

    def _read(self, path: Path) -> paramiko.PKey:
        try:
            return _private_key(path, None)
        except paramiko.PasswordRequiredException:
            hint = f"load it into the SSH agent: ssh-add {path}"
            if self._ask is None:
                raise Unreachable(f"the key {path} is encrypted and there is no terminal to ask for its passphrase", next=hint) from None
        try:
            return _private_key(path, self._ask(str(path)))
        except paramiko.SSHException:
            raise Unreachable(f"the passphrase does not open the key {path}", next=hint) from None


def _private_key(path: Path, passphrase: str | None) -> paramiko.PKey:
    """Raises PasswordRequiredException, SSHException (wrong passphrase), Unreachable (no usable key)."""
    for kind in _KEY_CLASSES:
        try:
            return kind.from_private_key_file(str(path), passphrase)
        except paramiko.PasswordRequiredException:
            raise
        except paramiko.SSHException:
            continue
        except OSError as error:
            raise Unreachable(f"the key {path} cannot be read: {error.strerror}") from None
    if passphrase is not None:
        raise paramiko.SSHException("wrong passphrase")
    raise Unreachable(f"{path} holds no private key of a kind that is used here (ed25519, ECDSA, RSA)")


def _public_half(path: Path) -> bytes | None:
    """The blob of `path`.pub, where there is one."""
    try:
        return public_key(path.with_name(path.name + ".pub").read_text()).asbytes()
    except (OSError, UnicodeDecodeError, IndexError, paramiko.SSHException):
        return None


def public_key(line: str) -> paramiko.PKey:
    """A public key line as a key. Raises SSHException, IndexError, binascii.Error when it is none."""
    kind, encoded = line.split()[:2]
    return paramiko.PKey.from_type_string(kind, base64.b64decode(encoded))
