"""The only door to fabric and paramiko: pinned keys, explicit configuration, and a deadline on everything that can hang.

paramiko waits for ever in several places (the reply to `exec`, a full send buffer, an exit status); each is cut by closing
the socket when its time is up. A missing exit status is unknown, never 0.
"""

from __future__ import annotations

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
from tradeops.fleet.keyring import AskPassphrase, HeldKeys, KeyRing, public_key

OUTPUT_BYTES_MAX = 8 << 20
_KEEPALIVE_S = 10
_SSH_PORT = 22
_BREAKS = (paramiko.SSHException, OSError, EOFError)

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
        self._known_hosts = known_hosts
        self._keys = KeyRing(ask_passphrase)
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
        with HeldKeys(self._deadlines.auth) as agent:
            for identity_file in dict.fromkeys(host.identity_file for host in hosts):
                self._keys.candidates(identity_file, agent)

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
        try:
            with HeldKeys(self._deadlines.auth) as agent:
                login = _Login(target, self._keys.candidates(target.identity_file, agent))
                client = self._client(target)
                return self._log_in(target, login, client, self._dial(target, budget), budget)
        except Unreachable as error:
            raise at_host(target.name, error) from None

    def _log_in(self, target: Target, login: _Login, client: paramiko.SSHClient, sock: Any, budget: Budget) -> Connection:
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
        connection.client = client
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
        if target.host_key:
            keys = [public_key(target.host_key)]
        else:
            keys = list((_read_known_hosts(self._known_hosts).lookup(name) or {}).values())
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
        port = found.get("port")
        if port is not None and not port.isdecimal():
            raise ConfigError(f"the port of {address} is {port!r}", where=str(path))
        return SshEntry(
            host_name=found["hostname"] if found["hostname"] != address else None,
            port=int(port) if port else None,
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


def _line(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def _text(error: BaseException | None) -> str:
    return str(error) or type(error).__name__
