"""The way into one local host. SSH: commands as processes, streams both ways, signals, exit status. And the guard's port."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from pathlib import Path
from typing import Any, cast

import asyncssh

from tradeops.lab.local.config import HOST_MARK, LocalHost
from tradeops.lab.proxy import Mischief, Proxy

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEEPALIVE_S = 15
_starting: set[asyncio.Task[None]] = set()
"""Held here until they are done: the loop itself forgets its tasks."""


class _Login(asyncssh.SSHServer):
    """Public keys only, per user; a session is a command, never a terminal or a tunnel."""

    def __init__(self, host: LocalHost) -> None:
        self._host = host
        self._user = ""

    def begin_auth(self, username: str) -> bool:
        self._user = username
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        files = {self._host.admin_user: self._host.shells, self._host.user: self._host.forced}
        if username not in files:
            return False
        return _key_text(key.export_public_key().decode()) in {_key_text(line) for line in _lines(Path(files[username]))}

    def session_requested(self) -> asyncssh.SSHServerSession[bytes]:
        return _Session(self._host, forced=self._user == self._host.user)


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except OSError:
        return []


def _key_text(line: str) -> tuple[str, ...]:
    return tuple(line.split()[:2])


class _Session(asyncssh.SSHServerSession[bytes]):
    """One exec request as one process."""

    def __init__(self, host: LocalHost, *, forced: bool) -> None:
        self._host = host
        self._forced = forced
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._process: asyncio.SubprocessTransport | None = None
        self._early: list[bytes | None] = []
        self._command = ""

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan
        chan.set_encoding(None)

    def shell_requested(self) -> bool:
        return self._forced  # a forced command runs whatever was asked for; the admin must name one

    def exec_requested(self, command: str) -> bool:
        self._command = command
        return True

    def session_started(self) -> None:
        starting = asyncio.get_running_loop().create_task(self._start())
        _starting.add(starting)
        starting.add_done_callback(_starting.discard)

    async def _start(self) -> None:
        argv = list(self._host.forced_argv) if self._forced else ["/bin/sh", "-c", self._command]
        home = Path(self._host.root).parent
        environment = {"PATH": _PATH, "HOME": str(home), "LANG": "C.UTF-8", "USER": self._host.admin_user, HOST_MARK: self._host.mark}
        if self._forced:
            environment["USER"] = self._host.user
            environment["SSH_ORIGINAL_COMMAND"] = self._command
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.subprocess_exec(lambda: _Process(self), *argv, cwd=home, env=environment, start_new_session=True)
        except OSError as error:
            self._write_stderr(f"{argv[0]}: {error.strerror}\n".encode())
            self.ended(127)
            return
        self._process = transport
        early, self._early = self._early, []
        for piece in early:
            self._input(piece)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self._input(data)

    def eof_received(self) -> bool:
        self._input(None)
        return True  # the process may still have something to say

    def _input(self, data: bytes | None) -> None:
        """Bytes for the process, or None for the end of them."""
        if self._process is None:
            self._early.append(data)
            return
        pipe = cast(asyncio.WriteTransport | None, self._process.get_pipe_transport(0))
        if pipe is None or pipe.is_closing():
            return
        if data is None:
            pipe.write_eof()
        else:
            pipe.write(data)

    def signal_received(self, name: str) -> None:
        number = getattr(signal, f"SIG{name}", None)
        if self._process is not None and number is not None and self._process.get_returncode() is None:
            self._process.send_signal(number)

    def connection_lost(self, exc: Exception | None) -> None:
        """As OpenSSH does without a terminal: the process is not killed, its pipes are closed."""
        if self._process is not None:
            for number in (0, 1, 2):
                if (pipe := self._process.get_pipe_transport(number)) and not pipe.is_closing():
                    pipe.close()

    def pause_writing(self) -> None:
        self._flow("pause_reading")

    def resume_writing(self) -> None:
        self._flow("resume_reading")

    def _flow(self, act: str) -> None:
        """The client reads slowly: so do we read its process."""
        for number in (1, 2):
            if self._process is not None and (pipe := self._process.get_pipe_transport(number)) and not pipe.is_closing():
                getattr(pipe, act)()

    def input_paused(self, paused: bool) -> None:
        """The process reads slowly: so do we read the client."""
        if self._channel is not None:
            (self._channel.pause_reading if paused else self._channel.resume_reading)()

    def output(self, number: int, data: bytes) -> None:
        """Bytes the process wrote to its standard output (1) or error (2)."""
        if number == 2:
            self._write_stderr(data)
        elif self._channel is not None and not self._channel.is_closing():
            self._channel.write(data)

    def _write_stderr(self, data: bytes) -> None:
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write_stderr(data)

    def ended(self, code: int) -> None:
        """The process is gone and has said all: tell the client how it ended."""
        if self._channel is None or self._channel.is_closing():
            return
        if code < 0:
            self._channel.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
        else:
            self._channel.exit(code)


class _Process(asyncio.SubprocessProtocol):
    """Passes on what the process says; it has ended when it exited and both its streams are closed."""

    def __init__(self, session: _Session) -> None:
        self._session = session
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._session.output(fd, data)

    def pause_writing(self) -> None:
        self._session.input_paused(True)

    def resume_writing(self) -> None:
        # not from within: the pipe would take data and its end while it still empties itself, and lose the data
        asyncio.get_running_loop().call_soon(self._session.input_paused, False)

    def connection_lost(self, exc: Exception | None) -> None:
        code = None
        if self._transport is not None:
            code = self._transport.get_returncode()
            self._transport.close()
        self._session.ended(255 if code is None else code)


class Doors:
    """The host's two listeners, `ssh` and `control`, which faults move or take away while open connections live on."""

    def __init__(self, host: LocalHost) -> None:
        self._host = host
        self._open: dict[str, asyncio.Server | asyncssh.SSHAcceptor] = {}

    async def listen(self, door: str, address: str, port: int) -> None:
        """Listen there and nowhere else. Raises OSError, KeyError for a door that is not there."""
        if door not in ("ssh", "control"):
            raise KeyError(door)
        self.close(door)
        self._open[door] = await (self._listen_ssh(address, port) if door == "ssh" else self._listen_control(address, port))

    def close(self, door: str) -> None:
        """Refuse new connections."""
        if server := self._open.pop(door, None):
            server.close()

    async def _listen_ssh(self, address: str, port: int) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            address,
            port,
            server_factory=lambda: _Login(self._host),
            server_host_keys=[self._host.host_key],
            encoding=None,
            reuse_address=True,
            login_timeout=20,
            keepalive_interval=_KEEPALIVE_S,
            allow_scp=False,
        )

    async def _listen_control(self, address: str, port: int) -> asyncio.Server:
        """Passes on to the guard, so that a cut cable cuts it off while it goes on guarding."""
        return await Proxy((self._host.control_address, self._host.control_port), Mischief("pass")).listen(address, port)

    async def obey(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One order a connection: {"door": name, "listen": [address, port] or null}; answers `ok` or what went wrong."""
        answer = "ok"
        try:
            asked: Any = json.loads(await reader.readline())
            door, where = asked["door"], asked["listen"]
            await self.listen(door, *where) if where else self.close(door)
        except (OSError, ValueError, KeyError, TypeError) as error:
            answer = f"{type(error).__name__}: {error}"
        writer.write(answer.encode() + b"\n")
        writer.close()


async def serve(host: LocalHost) -> None:
    """Run both doors until cancelled. Raises OSError when one cannot listen."""
    doors = Doors(host)
    await doors.listen("control", host.address, host.control_port)
    await doors.listen("ssh", host.address, host.port)
    # Orders last: one that came before the doors are open would be undone by their opening.
    host.door_socket.unlink(missing_ok=True)
    orders = await asyncio.start_unix_server(doors.obey, str(host.door_socket))
    host.door_socket.chmod(0o600)
    async with orders:
        await orders.serve_forever()


def order(host: LocalHost, door: str, listen: tuple[str, int] | None, timeout_s: float = 5.0) -> str:
    """Tell a running server where a door is; its answer. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        connection.connect(str(host.door_socket))
        connection.sendall(json.dumps({"door": door, "listen": listen}).encode() + b"\n")
        with connection.makefile() as answer:
            return answer.readline().strip()
