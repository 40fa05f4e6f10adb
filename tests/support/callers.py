"""A bounded load of plain HTTP requests, and what came of each."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Calls:
    """answers: body -> how often.  failures: what went wrong, in words."""

    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many were made."""
        return self.answers.total() + len(self.failures)


def call(port: int, path: str = "/") -> tuple[int, str]:
    """One GET, on a connection of its own: status and body. Raises OSError, HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@contextmanager
def calling(port: int, *, at_most: int, every_s: float = 0.05) -> Iterator[Calls]:
    """One call after another while the block runs, `at_most` in all."""
    calls, enough = Calls(), threading.Event()

    def go() -> None:
        for _ in range(at_most):
            try:
                status, body = call(port)
                if status == http.client.OK:
                    calls.answers[body] += 1
                else:
                    calls.failures.append(f"{status} {body[:80]}")
            except (OSError, http.client.HTTPException) as error:
                calls.failures.append(repr(error))
            if enough.wait(every_s):
                return

    thread = threading.Thread(target=go)
    thread.start()
    try:
        yield calls
    finally:
        enough.set()
        thread.join(30)
