"""A stream that says it is a terminal, and keeps what was written on it."""

from __future__ import annotations

import io
import threading


class Terminal(io.StringIO):
    """What a person would watch."""

    encoding = "utf-8"

    def __init__(self) -> None:
        super().__init__()
        self._written = threading.Condition()

    def isatty(self) -> bool:
        """It says so."""
        return True

    def write(self, text: str) -> int:
        """Keep it, and wake who waits for it."""
        with self._written:
            self._written.notify_all()
            return super().write(text)

    def wait_for(self, words: str, *, timeout_s: float) -> None:
        """Until these words were written. Raises AssertionError."""
        with self._written:
            assert self._written.wait_for(lambda: words in self.getvalue(), timeout_s), self.getvalue()
