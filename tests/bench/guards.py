"""Many guards on one machine for the kill bench: each with its own folder, state, stop page, certificate and TLS socket, each
verifying, deciding and recording with the guard's own code. Only the trader is missing, and the beat is slower.

`with many_guards(folder, 1000) as fleet:` starts the processes; `python -m tests.bench.guards COUNT` measures a bare kill.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from tests.support.people import FLEET, People
from tradeops.base.clock import NS_PER_MS, SystemClock
from tradeops.contracts.directive import ALL_HOSTS, DirectiveReply, Verb
from tradeops.contracts.host import SCHEMA as HOST_SCHEMA
from tradeops.contracts.host import HostFile
from tradeops.contracts.layout import HostLayout
from tradeops.fleet.tls import TlsFiles, create_ca, issue_client, issue_guard
from tradeops.guard.api import Api, bind, tls_context
from tradeops.guard.core import Guard
from tradeops.guard.site import read_host

_REPO = Path(__file__).parents[2]
_BEAT_S = 10.0
_CONCURRENCY = 128


@dataclass(frozen=True)
class ManyGuards:
    """ports: host name -> port on 127.0.0.1.  tls: the CA and a client's certificate.  people: who may speak."""

    ports: dict[str, int]
    tls: TlsFiles
    people: People


def memory_folder() -> Path | None:
    """A folder that is not on a disk, where there is one: a thousand hosts have a thousand disks, this machine has one."""
    shm = Path("/dev/shm")  # noqa: S108  the memory file system itself, a fresh folder of ours below it
    return shm if shm.is_dir() and os.access(shm, os.W_OK) else None


@contextlib.contextmanager
def many_guards(folder: Path, count: int, *, processes: int = 2) -> Iterator[ManyGuards]:
    """`count` guards in a few processes, up and answering; ended by pid."""
    people, tls = People(), TlsFiles(folder / "ca")
    now_ns = SystemClock().wall_ns()
    create_ca(tls, FLEET, now_ns=now_ns)
    issue_client(tls, "operator-1", now_ns=now_ns)
    names = [f"host-{number:04d}" for number in range(1, count + 1)]
    policy = msgspec.json.encode(people.signed_policy())
    for name in names:
        issue_guard(tls, name, now_ns=now_ns)
        _enrol(HostLayout(folder / name), name, policy, tls)
    environment = {**os.environ, "PYTHONPATH": str(_REPO)}
    started = []
    try:
        for share in range(processes):
            argv = [sys.executable, "-m", "tests.bench.guards", "--serve", str(folder)]
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=_REPO, env=environment)
            started.append(process)
            assert process.stdin
            process.stdin.write(json.dumps(names[share::processes]).encode() + b"\n")
            process.stdin.flush()
        ports: dict[str, int] = {}
        for process in started:
            assert process.stdout
            ports |= json.loads(process.stdout.readline())
        yield ManyGuards(ports, tls, people)
    finally:
        for process in started:
            process.terminate()
            process.communicate(timeout=60)


def _enrol(layout: HostLayout, name: str, policy: bytes, tls: TlsFiles) -> None:
    for path in (layout.guard_state, layout.tls, layout.stop_page.parent, layout.latched):
        path.mkdir(parents=True)
    host = HostFile(HOST_SCHEMA, name, FLEET, "trader", "systemd", {}, "guard", sys.executable, "127.0.0.1", 0)
    layout.host_file.write_bytes(msgspec.json.encode(host))
    layout.policy_file.write_bytes(policy)
    for source, target in ((tls.ca, "ca.pem"), (tls.guard(name), "guard.pem"), (tls.guard_key(name), "guard.key")):
        (layout.tls / target).write_bytes(source.read_bytes())


async def _serve(folder: Path, names: list[str]) -> None:
    clock = SystemClock()
    ports = {}
    async with asyncio.TaskGroup() as tasks:
        for name in names:
            layout = HostLayout(folder / name)
            host = read_host(layout)
            guard = Guard(layout, host, clock, scan=lambda _: (), beat_s=_BEAT_S)
            sock = bind(host)
            ports[name] = sock.getsockname()[1]
            tasks.create_task(guard.run())
            tasks.create_task(Api(guard, clock).run(sock, tls_context(layout)))
        await asyncio.sleep(1.0)
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()


async def _kill_all(fleet: ManyGuards, body: bytes) -> list[DirectiveReply]:
    context = ssl.create_default_context(cafile=str(fleet.tls.ca))
    room = asyncio.Semaphore(_CONCURRENCY)

    async def one(name: str, port: int) -> DirectiveReply:
        async with room:
            return await post(name, port)

    async def post(name: str, port: int) -> DirectiveReply:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        head = f"POST /v1/directives?wait_ms=1000 HTTP/1.1\r\nHost: {name}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.read()
        writer.close()
        return msgspec.json.decode(answer.partition(b"\r\n\r\n")[2], type=DirectiveReply)

    return await asyncio.gather(*(one(name, port) for name, port in fleet.ports.items()))


def measure(count: int) -> dict[str, float]:
    """A bare kill of `count` guards from one process: seconds for all, and how many confirmed blocked."""
    clock = SystemClock()
    with TemporaryDirectory(dir=memory_folder()) as folder, many_guards(Path(folder), count) as fleet:
        body = msgspec.json.encode(fleet.people.say(Verb.KILL, hosts=(ALL_HOSTS,)))
        began_ns = clock.monotonic_ns()
        replies = asyncio.run(_kill_all(fleet, body))
        took_ns = clock.monotonic_ns() - began_ns
    return {"guards": count, "seconds": took_ns / NS_PER_MS / 1000, "blocked": sum(reply.blocked for reply in replies)}


def main() -> None:
    """Serve a share (names on stdin), or measure."""
    if sys.argv[1:2] == ["--serve"]:
        logging.basicConfig(level=logging.ERROR)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(Path(sys.argv[2]), json.loads(sys.stdin.readline())))
    else:
        sys.stdout.write(json.dumps(measure(int(sys.argv[1]))) + "\n")


if __name__ == "__main__":
    main()
