"""Sessions with an agent, spoken by hand: over pipes in a thread of the test, or with a real process."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Sequence
from typing import IO, Any, TypeVar

from tradeops.agent.clock import Clock
from tradeops.agent.hostfile import Context
from tradeops.agent.session import Session
from tradeops.agent.wire import Wire
from tradeops.base.clock import NS_PER_S

SomeAgent = TypeVar("SomeAgent", bound="Agent")


class AgentGone(Exception):
    """The agent's end closed."""


class Agent:
    """A session with an agent, spoken by hand so that a test can also speak it badly."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests, self._answers = requests, answers
        self.hello = self.read()
        self.run: str | None = None
        self.fence: int | None = None

    def read(self) -> dict[str, Any]:
        """The next line. Raises AgentGone."""
        line = self._answers.readline()
        if not line:
            raise AgentGone
        answer: dict[str, Any] = json.loads(line)
        return answer

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._requests.write(data)
        self._requests.flush()

    def ask(self, verb: str, body: bytes | None = None, **args: Any) -> dict[str, Any]:
        """One request under this session's run and fence; the whole answer."""
        request: dict[str, Any] = {"id": 1, "verb": verb, "run": self.run, "fence": self.fence, "args": args}
        if body is not None:
            request["bytes"] = len(body)
        self.raw(json.dumps(request).encode() + b"\n" + (body or b""))
        return self.read()

    def do(self, verb: str, body: bytes | None = None, **args: Any) -> dict[str, Any]:
        """The result of a request that must work."""
        answer = self.ask(verb, body, **args)
        assert answer["ok"], answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def code(self, verb: str, body: bytes | None = None, **args: Any) -> str:
        """The code of a request that must be refused."""
        answer = self.ask(verb, body, **args)
        assert not answer["ok"], answer
        assert answer["error"]["what"]
        return str(answer["error"]["code"])

    def hang_up(self) -> None:
        """Close the operator's end of the channel."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()

    def close(self) -> None:
        """Hang up and wait for the other end."""
        self.hang_up()
        self._answers.close()


class ThreadAgent(Agent):
    """The agent's own session over pipes, in a thread of the test: quick, and its clock is the test's."""

    def __init__(self, context: Context) -> None:
        read_requests, write_requests = os.pipe()
        read_answers, write_answers = os.pipe()

        def serve() -> None:
            try:
                Session(context, Wire(read_requests, write_answers, idle_s=60, body_silence_s=30)).serve()
            finally:
                os.close(read_requests)
                os.close(write_answers)

        self._thread = threading.Thread(target=serve)
        self._thread.start()
        super().__init__(os.fdopen(write_requests, "wb"), os.fdopen(read_answers, "rb"))

    def close(self) -> None:
        """Hang up and wait for the thread."""
        self.hang_up()
        self._thread.join(30)
        super().close()


class ProcessAgent(Agent):
    """A real agent process, as the forced command starts it."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdin and self.process.stdout
        super().__init__(self.process.stdin, self.process.stdout)

    def close(self) -> None:
        """End the session as an operator would: close the channel."""
        self.hang_up()
        self.process.wait(20)
        super().close()
        if self.process.stderr:
            self.process.stderr.close()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(10)


class ShiftedClock(Clock):
    """The host's clock, which a test may set forward."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_s = 0.0

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + int(self.ahead_s * NS_PER_S)
