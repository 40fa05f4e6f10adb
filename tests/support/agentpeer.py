"""An agent played over a real SSH connection: it says hello, then whatever a test has it say."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.badssh import bad_ssh
from tests.support.sshd import host, make_key
from tradeops.contracts.agent import PROTOCOL
from tradeops.fleet.agent import SshAgents, SshAgentSession
from tradeops.fleet.fleetfile import Deadlines
from tradeops.fleet.ssh import Ssh

HELLO = {"agent": PROTOCOL, "host": "host-1", "fleet": "test-fleet", "platform": "sha256:p", "nonce": "00", "fence": 4}
Talk = Callable[[Any], Awaitable[None]]


def line(value: object) -> bytes:
    """A JSON line."""
    return json.dumps(value).encode() + b"\n"


@contextmanager
def agents_to(talk: Talk, folder: Path, *, hello: bytes | None = None) -> Iterator[Callable[[], SshAgentSession]]:
    """A function that opens sessions with an agent that greets with `hello` and then does `talk`."""
    make_key(folder / "agent_key")

    async def handle(process: Any) -> None:
        process.stdout.write(line(HELLO) if hello is None else hello)
        await talk(process)

    with bad_ssh(handle) as server:
        ssh = Ssh(deadlines=Deadlines())
        one = host(port=server.port, host_key=server.host_key, identity=folder / "agent_key")
        try:
            yield lambda: SshAgents(ssh, fleet="test-fleet").open(one, timeout_s=3)
        finally:
            ssh.close()
