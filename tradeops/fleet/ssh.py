"""The only door to fabric and paramiko: pinned keys, explicit configuration, and a deadline on everything that can hang.

paramiko waits for ever in several places (the reply to `exec`, a full send buffer, an exit status); each is cut by closing
the socket when its time is up. A missing exit status is unknown, never 0.
"""

from __future__ import annotations

import base64
import logging
import shlex
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko
from fabric import Config, Connection

from tradeops.base.clock import Clock, SystemClock
from tradeops.base.errors import ConfigError, OutcomeUnknown, Unreachable
from tradeops.fleet.channel import Channel, ChannelBroken, Finished, cut_after
from tradeops.fleet.dial import Budget, Target, at_host, dial, key_mismatch
from tradeops.fleet.fleetfile import Deadlines
from tradeops.fleet.host import Host, JumpHost, SshEntry

OUTPUT_BYTES_MAX = 8 << 20
_KEEPALIVE_S = 10
_SSH_PORT = 22
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_KEY_CLASSES = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
_BREAKS = (paramiko.SSHException, OSError, EOFError)

AskPassphrase = Callable[[str], str]
"""Asks the person for the passphrase of the key at a path; handed in only where there is a terminal."""

# Every failure is raised as one of our errors; paramiko's own account of it, with traceback, would only say it twice.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


@dataclass
class _Link:
    """One connection, made once and used by all who need it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    connection: Connection | None = None

    def transport(self) -> paramiko.Transport | None:
        """The live transport, if any."""
        transport = self.connection.client.get_transport() if self.connection else None
        return transport if transport is not None and transport.is_active() else None


class Ssh:
    """Connections to hosts: one per host and user, kept open until `close`. Safe for many threads."""

    def __init__(
        self,
        *,
        deadlines: Deadlines,
        jumps: Mapping[str, JumpHost] | None = None,
        known_hosts: Path | None = None,
        ask_passphrase: AskPassphrase | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._deadlines = deadlines
        self._jumps = dict(jumps or {})
        self._known_hosts = _read_known_hosts(known_hosts)
        self._keys = _KeyRing(ask_passphrase)
        self._clock = clock or SystemClock()
        self._guard = threading.Lock()
        self._links: dict[tuple[str, str], _Link] = {}

    def open_channel(self, host: Host, command: str, *, timeout_s: float) -> Channel:
        """Start `command` (a fixed text of ours) on the host as its user. Raises Unreachable, HostKeyMismatch."""
        return self._exec(Target.of_host(host, host.user), command, timeout_s)

    def unlock(self, hosts: Sequence[Host]) -> None:
        """Open the keys of these hosts now: a passphrase is then asked for once, before anything runs side by side.

        Raises Unreachable when a key cannot be used.
        """
        agent = paramiko.Agent()
        try:
            for identity_file in dict.fromkeys(host.identity_file for host in hosts):
                self._keys.candidates(identity_file, agent)
        finally:
            agent.close()

    def exec_admin(self, host: Host, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> Finished:
        """Run one command as the host's admin and wait for its end: for enrolment only.

        Raises Unreachable, HostKeyMismatch; OutcomeUnknown when it was started and its end was not seen.
        """
        channel = self._exec(Target.of_host(host, host.admin_user), shlex.join(argv), timeout_s)
        try:
            channel.write(stdin, min(timeout_s, self._deadlines.silence))
            return channel.finish(timeout_s, output_max=OUTPUT_BYTES_MAX)
        except ChannelBroken as error:
            what = f"`{argv[0]}` was started and its end was not seen: {error.what}"
            raise OutcomeUnknown(what, where=host.name, holds="it may still run, or be half done") from None
        finally:
            channel.close()

    def tunnel(self, host: Host, port: int, *, timeout_s: float) -> paramiko.Channel:
        """A stream to `port` of a host behind a jump host, opened by the jump host. Raises Unreachable, HostKeyMismatch."""
        if host.jump is None:
            raise ConfigError("has no jump host to tunnel through", where=host.name)
        budget = Budget(self._clock, timeout_s)
        return self._direct(host.name, host.jump, host.address, port, budget)

    def close(self) -> None:
        """End every connection. Never raises."""
        with self._guard:
            links = list(self._links.values())
            self._links.clear()
        for link in links:
            if link.connection:
                link.connection.client.close()

    def _exec(self, target: Target, command: str, timeout_s: float) -> Channel:
        budget = Budget(self._clock, timeout_s)
        transport = self._transport(target, budget)
        cut = transport.close
        wait_s = budget.left(self._deadlines.command)
        try:
            with cut_after(wait_s, cut):
                raw = transport.open_session(timeout=wait_s)
                raw.exec_command(command)
        except _BREAKS as error:
            raise Unreachable(f"the session did not start within {wait_s:g} s: {_text(error)}", where=target.name) from None
        return Channel(raw, cut=cut, clock=self._clock, breaks=_BREAKS)

    def _transport(self, target: Target, budget: Budget) -> paramiko.Transport:
        """The live connection of a target, made if need be; who comes second waits for the first."""
        with self._guard:
            link = self._links.setdefault((target.name, target.user), _Link())
        with link.lock:
            transport = link.transport()
            if transport is None:
                link.connection = self._connect(target, budget)
                transport = link.transport()
        if transport is None:
            raise Unreachable("closed the connection right after the login", where=target.name)
        return transport

    def _connect(self, target: Target, budget: Budget) -> Connection:
        """Keys first: a person may be typing a passphrase, and no host waits for that."""
        agent = paramiko.Agent()
        try:
            login = _Login(target, self._keys.candidates(target.identity_file, agent))
            return self._log_in(target, login, self._dial(target, budget), budget)
        except Unreachable as error:
            raise at_host(target.name, error) from None
        finally:
            agent.close()

    def _log_in(self, target: Target, login: _Login, sock: Any, budget: Budget) -> Connection:
        connect_s = budget.left(self._deadlines.connect)
        connection = Connection(
            target.address,
            user=target.user,
            port=target.port,
            config=Config(lazy=True, ssh_config=paramiko.SSHConfig()),  # its own: fabric builds it anew while others read it
            gateway=False,
            forward_agent=False,
            connect_kwargs={
                "sock": sock,
                "timeout": connect_s,
                "banner_timeout": connect_s,
                "auth_timeout": self._deadlines.auth,
                "channel_timeout": self._deadlines.command,
                "auth_strategy": login,
            },
        )
        connection.client = self._client(target)
        try:
            with cut_after(budget.left(connect_s + self._deadlines.auth), sock.close):
                connection.open()
        except (*_BREAKS, Unreachable) as error:
            connection.client.close()
            sock.close()
            raise self._refusal(target, login, error, connect_s) from None
        connection.transport.set_keepalive(_KEEPALIVE_S)
        return connection

    def _client(self, target: Target) -> paramiko.SSHClient:
        """A client that knows this target's keys and no others."""
        client = paramiko.SSHClient()
        name = target.address if target.port == _SSH_PORT else f"[{target.address}]:{target.port}"
        keys = [_public_key(target.host_key)] if target.host_key else list((self._known_hosts.lookup(name) or {}).values())
        for key in keys:
            client.get_host_keys().add(name, key.get_name(), key)
        client.set_missing_host_key_policy(_RefuseUnknown(target))
        return client

    def _dial(self, target: Target, budget: Budget) -> Any:
        """A connected stream to the target: a socket, or a channel of its jump host."""
        if target.jump is not None:
            return self._direct(target.name, target.jump, target.address, target.port, budget)
        return dial(target, budget, connect_s=self._deadlines.connect, silence_s=self._deadlines.silence)

    def _direct(self, name: str, jump: str, address: str, port: int, budget: Budget) -> paramiko.Channel:
        hop = self._jumps.get(jump)
        if hop is None:
            raise ConfigError(f"its jump host {jump!r} is not in the fleet file", where=name)
        transport = self._transport(Target.of_jump(hop), budget)
        wait_s = budget.left(self._deadlines.connect)
        try:
            with cut_after(wait_s + 1, transport.close):
                return transport.open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=wait_s)
        except _BREAKS as error:
            raise Unreachable(f"the jump host {jump} does not reach {address}:{port}: {_text(error)}", where=name) from None

    def _refusal(self, target: Target, login: _Login, error: Exception, connect_s: float) -> Unreachable:
        """What went wrong on the way in, in our words."""
        if isinstance(error, Unreachable):
            return at_host(target.name, error)
        if isinstance(error, paramiko.BadHostKeyException):
            return key_mismatch(target, _line(error.key), _line(error.expected_key))
        if isinstance(error, paramiko.AuthenticationException):
            return Unreachable(
                f"the login of {target.user} failed ({login.tried()}): {_text(error)}",
                where=target.name,
                next="load the key into the SSH agent, or name it as identity_file",
            )
        stage = f"in the login within {self._deadlines.auth:g} s" if login.begun else f"with an SSH greeting within {connect_s:.3g} s"
        return Unreachable(f"{target.address}:{target.port} accepted and did not answer {stage}: {_text(error)}", where=target.name)


class _RefuseUnknown(paramiko.MissingHostKeyPolicy):
    """No key of this kind is known: refused, with what is known and what was shown."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def missing_host_key(self, _client: paramiko.SSHClient, _hostname: str, key: paramiko.PKey) -> None:
        raise key_mismatch(self._target, _line(key), self._target.host_key)


class _Login:
    """Public keys only, each tried once. Stands in for paramiko's AuthStrategy, which swallows why a key failed."""

    def __init__(self, target: Target, keys: Sequence[tuple[str, paramiko.PKey]]) -> None:
        self._target = target
        self._keys = keys
        self.begun = False

    def tried(self) -> str:
        """The keys, for the error text."""
        return ", ".join(label for label, _ in self._keys) or "there was no key to try"

    def authenticate(self, transport: paramiko.Transport) -> None:
        """Raises AuthenticationException, SSHException."""
        self.begun = True
        last = paramiko.AuthenticationException("no key was accepted")
        for _, key in self._keys:
            try:
                if not transport.auth_publickey(self._target.user, key):
                    return
                last = paramiko.AuthenticationException("the host wants more than a key")
            except paramiko.AuthenticationException as error:
                last = error
                if not transport.is_active():
                    break
        raise last


class _KeyRing:
    """Private keys, each opened once; a passphrase is asked for once, by one thread at a time."""

    def __init__(self, ask: AskPassphrase | None) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._opened: dict[Path, paramiko.PKey] = {}

    def candidates(self, identity_file: str | None, agent: paramiko.Agent) -> list[tuple[str, paramiko.PKey]]:
        """(what it is called, key) in the order to try: the named one, or the agent's and then the usual files.

        Raises Unreachable when the named key cannot be used, or the only usual one is encrypted and stays so.
        """
        held = {key.asbytes(): key for key in agent.get_keys()}
        if identity_file is not None:
            path = Path(identity_file).expanduser()
            from_agent = held.get(_public_half(path) or b"")
            return [(f"{path} by the agent", from_agent) if from_agent else (str(path), self._open(path))]
        found: list[tuple[str, paramiko.PKey]] = [(f"the agent's {key.get_name()}", key) for key in held.values()]
        for path in (Path.home() / ".ssh" / name for name in _DEFAULT_KEYS):
            if not found and path.exists():
                found.append((str(path), self._open(path)))
        return found

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
        return _public_key(path.with_name(path.name + ".pub").read_text()).asbytes()
    except (OSError, UnicodeDecodeError, IndexError, paramiko.SSHException):
        return None


def read_ssh_config(path: Path) -> Callable[[str], SshEntry]:
    """How to ask an OpenSSH client configuration about an address. Raises ConfigError when it cannot be read."""
    try:
        config = paramiko.SSHConfig.from_path(str(path))
    except (paramiko.ConfigParseError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"not an SSH client configuration: {error}", where=str(path)) from None

    def ask(address: str) -> SshEntry:
        found = config.lookup(address)
        files = [name for name in found.get("identityfile", ()) if Path(name).expanduser().exists()]
        jump = found.get("proxyjump", "none")
        return SshEntry(
            host_name=found["hostname"] if found["hostname"] != address else None,
            port=int(found["port"]) if "port" in found else None,
            user=found.get("user"),
            identity_file=files[0] if files else None,
            proxy_jump=() if jump == "none" else tuple(hop.strip() for hop in jump.split(",")),
        )

    return ask


def _read_known_hosts(path: Path | None) -> paramiko.HostKeys:
    keys = paramiko.HostKeys()
    if path is not None and path.exists():
        try:
            keys.load(str(path))
        except (paramiko.SSHException, OSError, UnicodeDecodeError, ValueError) as error:
            raise ConfigError(f"known hosts cannot be read: {error}", where=str(path)) from None
    return keys


def _public_key(line: str) -> paramiko.PKey:
    kind, encoded = line.split()[:2]
    return paramiko.PKey.from_type_string(kind, base64.b64decode(encoded))


def _line(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def _text(error: BaseException | None) -> str:
    return str(error) or type(error).__name__
