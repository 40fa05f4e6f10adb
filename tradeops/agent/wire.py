"""The two ends of the SSH channel: bounded lines, raw bodies, and a bound on silence."""

from __future__ import annotations

import json
import os
import select
from typing import Any

LINE_BYTES_MAX = 16 << 20
_CHUNK_BYTES = 1 << 16


class PeerGone(Exception):
    """The operator's end closed, or was silent for too long: the session ends, its lease runs out by itself."""


class LineTooLong(Exception):
    """More than LINE_BYTES_MAX without a newline."""


class Wire:
    """Reads requests from one descriptor, writes answers to another."""

    def __init__(self, fd_in: int, fd_out: int, *, idle_s: float, body_silence_s: float) -> None:
        self._in = fd_in
        self._out = fd_out
        self._idle_s = idle_s
        self._body_silence_s = body_silence_s
        self._buffer = bytearray()
        self._searched = 0

    def line(self) -> bytes | None:
        """The next line without its newline, None at the end. Raises LineTooLong, PeerGone."""
        while True:
            at = self._buffer.find(b"\n", self._searched)
            if at >= 0:
                line = bytes(self._buffer[:at])
                del self._buffer[: at + 1]
                self._searched = 0
                return line
            self._searched = len(self._buffer)
            if self._searched > LINE_BYTES_MAX:
                raise LineTooLong
            chunk = self._receive(self._idle_s)
            if not chunk:
                return None
            self._buffer += chunk

    def read(self, count: int) -> bytes:
        """Some bytes of a body, at least one and at most `count`. Raises PeerGone at the end."""
        if self._buffer:
            chunk = bytes(self._buffer[:count])
            del self._buffer[: len(chunk)]
            return chunk
        chunk = self._receive(self._body_silence_s, min(count, _CHUNK_BYTES))
        if not chunk:
            raise PeerGone("closed in the middle of a body")
        return chunk

    def write(self, message: dict[str, Any]) -> None:
        """Send one line. Raises PeerGone."""
        view = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        try:
            while view:
                view = view[os.write(self._out, view) :]
        except OSError as error:
            raise PeerGone(str(error)) from None

    def _receive(self, silence_s: float, count: int = _CHUNK_BYTES) -> bytes:
        try:
            ready, _, _ = select.select([self._in], [], [], silence_s)
            if not ready:
                raise PeerGone(f"silent for {silence_s:g} s")
            return os.read(self._in, count)
        except OSError as error:
            raise PeerGone(str(error)) from None


class Body:
    """The raw bytes that follow one request; what a verb leaves is drained, so that the next line is found."""

    def __init__(self, wire: Wire, size: int) -> None:
        self._wire = wire
        self.left = size

    def read(self) -> bytes:
        """The next bytes, empty at the end. Raises PeerGone."""
        if not self.left:
            return b""
        chunk = self._wire.read(min(self.left, _CHUNK_BYTES))
        self.left -= len(chunk)
        return chunk

    def drain(self) -> None:
        """Pass over the rest. Raises PeerGone."""
        while self.read():
            pass
