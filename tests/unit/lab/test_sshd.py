"""The way into a local host, served and used within one process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import asyncssh
import msgspec
import pytest

from tests.support.wait import until
from tradeops.lab.keys import make_key
from tradeops.lab.local import config, sshd
from tradeops.lab.local.config import LocalHost

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def host(tmp_path: Path) -> LocalHost:
    """Not running. Its forced command prints what it was asked for and what it reads."""
    run = tmp_path / "r"
    (tmp_path / "root").mkdir()
    run.mkdir()
    key = make_key(tmp_path / "key")
    make_key(tmp_path / "stranger")
    make_key(tmp_path / "host_key")
    (tmp_path / "keys").write_text(f"\n{key} somebody\n")
    said = "import os, sys; print(os.environ['SSH_ORIGINAL_COMMAND'], sys.stdin.read())"
    return LocalHost(
        schema=config.SCHEMA,
        lab="abcdef",
        name="h1",
        address="127.0.0.1",
        port=0,
        control_port=0,
        control_address="127.0.0.1",
        folder=str(tmp_path),
        root=str(tmp_path / "root"),
        run=str(run),
        admin_user="admin",
        user="tradeops",
        shells=str(tmp_path / "keys"),
        forced=str(tmp_path / "keys"),
        forced_argv=(sys.executable, "-I", "-c", said),
        interpreter=sys.executable,
        service="trader",
        host_key=str(tmp_path / "host_key"),
    )


def _with(host: LocalHost, act: Callable[[sshd.Doors, int], Awaitable[None]]) -> None:
    """Run `act` with the doors open, and the port of the SSH one."""

    async def scenario() -> None:
        doors = sshd.Doors(host)
        await doors.listen("ssh", host.address, 0)
        acceptor = doors._open["ssh"]
        assert isinstance(acceptor, asyncssh.SSHAcceptor)
        try:
            await act(doors, acceptor.get_port())
        finally:
            doors.close("ssh")

    asyncio.run(scenario())


def _connect(host: LocalHost, port: int, user: str = "admin", key: str = "key") -> Awaitable[asyncssh.SSHClientConnection]:
    return asyncssh.connect(
        host.address, port, username=user, client_keys=[str(Path(host.folder, key))], known_hosts=None, config=None, agent_path=None
    )


def test_streams_status_and_signals(host: LocalHost) -> None:
    """Both outputs, the exit status, a signal sent and a signal died of, and a command that is not there."""

    async def act(_doors: sshd.Doors, port: int) -> None:
        async with await _connect(host, port) as connection:
            done = await connection.run("cat; echo err >&2; exit 7", input="in")
            assert (done.exit_status, done.stdout, done.stderr) == (7, "in", "err\n")
            running = await connection.create_process("echo up; exec sleep 60")
            assert await running.stdout.readline() == "up\n"
            running.send_signal("TERM")
            ended = await running.wait()
            assert ended.exit_signal is not None
            assert ended.exit_signal[0] == "TERM"
            assert (await connection.run("no-such-command")).exit_status == 127

    _with(host, act)


def test_the_operator_gets_the_forced_command_whatever_is_asked(host: LocalHost) -> None:
    """Also when a shell is asked for."""

    async def act(_doors: sshd.Doors, port: int) -> None:
        async with await _connect(host, port, "tradeops") as connection:
            assert (await connection.run("rm -r /", input="x")).stdout == "rm -r / x\n"
            assert (await connection.run(input="y")).stdout == " y\n"
        async with await _connect(host, port) as connection:
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.run(input="y")

    _with(host, act)


def test_a_forced_command_that_cannot_start_is_127(host: LocalHost) -> None:
    """As a shell says it."""
    broken = msgspec.structs.replace(host, forced_argv=("/no/such/agent",))

    async def act(_doors: sshd.Doors, port: int) -> None:
        async with await _connect(broken, port, "tradeops") as connection:
            done = await connection.run()
            assert done.exit_status == 127
            assert "No such file" in str(done.stderr)

    _with(broken, act)


def test_strangers_stay_out(host: LocalHost) -> None:
    """Another key, another user, a file of keys that is gone."""

    async def act(_doors: sshd.Doors, port: int) -> None:
        for user, key in (("admin", "stranger"), ("root", "key")):
            with pytest.raises(asyncssh.PermissionDenied):
                await _connect(host, port, user, key)
        Path(host.shells).unlink()
        with pytest.raises(asyncssh.PermissionDenied):
            await _connect(host, port)

    _with(host, act)


def test_much_goes_through_in_both_directions_at_once(host: LocalHost) -> None:
    """Backpressure both ways, no byte lost: the end of the input comes while the pipe still empties itself."""
    data = bytes(range(256)) * 20_000

    async def act(_doors: sshd.Doors, port: int) -> None:
        async with await _connect(host, port) as connection:
            for _ in range(3):
                assert (await connection.run("cat", input=data, encoding=None)).stdout == data

    _with(host, act)


def test_a_lost_client_ends_the_input_of_its_command(host: LocalHost) -> None:
    """The command is not killed."""
    note = Path(host.folder, "note")

    async def act(_doors: sshd.Doors, port: int) -> None:
        connection = await _connect(host, port)
        running = await connection.create_process(f"echo up; cat > /dev/null; touch {note}")
        assert await running.stdout.readline() == "up\n"
        connection.abort()
        await asyncio.to_thread(until, note.exists, 10)

    _with(host, act)


def test_doors_are_moved_and_shut_by_order(host: LocalHost) -> None:
    """Over the socket that faults use; nonsense is answered, and changes nothing."""

    async def act(_doors: sshd.Doors, _port: int) -> None:
        serving = asyncio.create_task(sshd.serve(host))
        await asyncio.to_thread(until, host.door_socket.exists, 10)
        assert host.door_socket.stat().st_mode & 0o777 == 0o600
        for door in ("ssh", "control"):
            assert await asyncio.to_thread(sshd.order, host, door, ("127.0.0.1", 0)) == "ok"
            assert await asyncio.to_thread(sshd.order, host, door, None) == "ok"
        assert "KeyError" in await asyncio.to_thread(sshd.order, host, "window", ("127.0.0.1", 0))
        assert "Error" in await asyncio.to_thread(sshd.order, host, "ssh", ("192.0.2.1", 0))
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving

    _with(host, act)


def test_the_control_door_passes_on_to_the_guard(host: LocalHost) -> None:
    """And resets a client when no guard listens."""

    async def scenario() -> None:
        async def guard(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"pong")
            writer.close()

        server = await asyncio.start_server(guard, "127.0.0.1", 0)
        behind = msgspec.structs.replace(host, control_port=server.sockets[0].getsockname()[1])
        doors = sshd.Doors(behind)
        await doors.listen("control", "127.0.0.1", 0)
        front = doors._open["control"]
        assert isinstance(front, asyncio.Server)
        place = front.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*place)
        assert await reader.read() == b"pong"
        writer.close()
        server.close()
        reader, writer = await asyncio.open_connection(*place)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        doors.close("control")

    asyncio.run(scenario())
