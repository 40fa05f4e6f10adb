"""A command's stream on a host: lines and bytes both ways, a deadline on every read and write, an exit status or none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.base.errors import Unreachable

SLICE_BYTES = 32 << 10
"""One `sendall` of a large buffer copies the rest at every step; slices do not."""
_STDERR_TAIL_BYTES = 4096
_LISTEN_S = 0.2
"""A wait for output is broken up to drain complaints: a command stalls when nobody takes those."""


class ChannelBroken(Unreachable):
    """The stream ended, broke, or was silent for too long."""


class RawChannel(Protocol):
    """What is used of a paramiko channel."""

    status_event: threading.Event
    exit_status: int

    def settimeout(self, timeout: float | None) -> None: ...
    def recv(self, _bytes_max: int, /) -> bytes: ...
    def send(self, s: bytes) -> int: ...
    def recv_stderr_ready(self) -> bool: ...
    def recv_stderr(self, _bytes_max: int, /) -> bytes: ...
    def shutdown_write(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Finished:
    """A command that ended. exit_status: None when the host told none (killed by a signal, connection lost): unknown."""

    exit_status: int | None
    stdout: bytes
    stderr: bytes


@contextmanager
def cut_after(seconds: float, cut: Callable[[], None]) -> Iterator[threading.Event]:
    """Call `cut` from another thread unless the block ends in time: for calls that know no timeout. Yields: set once it was cut."""
    was_cut = threading.Event()

    def end_it() -> None:
        was_cut.set()
        cut()

    timer = threading.Timer(seconds, end_it)
    timer.daemon = True
    timer.start()
    try:
        yield was_cut
    finally:
        timer.cancel()


class Channel:
    """Not for several threads at once. bytes_sent: payload, counted for the whole life."""

    def __init__(self, raw: RawChannel, *, cut: Callable[[], None], clock: Clock, breaks: tuple[type[Exception], ...]) -> None:
        """cut: closes the whole connection, whatever it hangs in.  breaks: what `raw` raises when it is broken."""
        self._raw = raw
        self._cut = cut
        self._clock = clock
        self._breaks = breaks
        self._buffer = bytearray()
        self._stderr = b""
        self.closed = False
        self.bytes_sent = 0

    def readline(self, timeout_s: float, *, bytes_max: int) -> bytes:
        """The next line without its newline. Raises ChannelBroken: silent for `timeout_s` in all, ended, too long."""
        end_ns = self._clock.monotonic_ns() + int(timeout_s * NS_PER_S)
        searched = 0
        while (at := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > bytes_max:
                raise self._broken(f"it sent a line longer than {bytes_max} bytes")
            left_s = (end_ns - self._clock.monotonic_ns()) / NS_PER_S
            if left_s <= 0:
                raise self._broken(f"no whole line came within {timeout_s:g} s")
            if not self._fill(left_s, timeout_s):
                raise self._broken("it closed the stream")
        if at > bytes_max:
            raise self._broken(f"it sent a line longer than {bytes_max} bytes")
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        return line

    def write(self, data: bytes | memoryview, timeout_s: float) -> None:
        """Send all of `data` in slices. Raises ChannelBroken when a slice is not taken within `timeout_s`."""
        view = memoryview(data)
        silence = f"took no more data for {timeout_s:g} s"
        self._raw.settimeout(timeout_s)
        while view:
            try:
                with cut_after(timeout_s, self._cut) as cut:
                    sent = self._raw.send(bytes(view[:SLICE_BYTES]))
            except self._breaks as error:
                raise self._broken(_why(error, silence, cut=cut.is_set())) from None
            if sent == 0:
                raise self._broken(f"it {silence}" if cut.is_set() else "it closed the stream")
            self.bytes_sent += sent
            view = view[sent:]

    def finish(self, timeout_s: float, *, output_max: int) -> Finished:
        """Close our side, and read the other to its end: the rest of its output and its exit status.

        timeout_s: for all of it. Raises ChannelBroken when it does not end in time or says too much.
        """
        end_ns = self._clock.monotonic_ns() + int(timeout_s * NS_PER_S)
        try:
            with cut_after(timeout_s, self._cut) as cut:
                self._raw.shutdown_write()
        except self._breaks as error:
            raise self._broken(_why(error, f"did not end within {timeout_s:g} s", cut=cut.is_set())) from None
        while self._fill(max(0.001, (end_ns - self._clock.monotonic_ns()) / NS_PER_S), timeout_s):
            if len(self._buffer) > output_max:
                raise self._broken(f"it wrote more than {output_max} bytes")
        status = self.exit_status(max(0.001, (end_ns - self._clock.monotonic_ns()) / NS_PER_S))
        self._drain_stderr()
        return Finished(status, bytes(self._buffer), self._stderr)

    def exit_status(self, timeout_s: float) -> int | None:
        """The command's exit status; None when none came in time or ever will."""
        self._raw.status_event.wait(timeout_s)
        return self._raw.exit_status if self._raw.exit_status >= 0 else None

    def stderr_tail(self) -> str:
        """The end of what the command complained about, for error texts: one line, printable."""
        self._drain_stderr()
        return printable(self._stderr.decode("utf-8", "replace"), chars_max=300)

    def close(self) -> None:
        """End the stream; the connection stays. Never raises."""
        self.closed = True
        try:
            with cut_after(1.0, self._cut):
                self._raw.close()
        except self._breaks:
            return

    def _fill(self, left_s: float, timeout_s: float) -> int:
        """Wait for bytes; how many came, 0 at the end of the stream."""
        end_ns = self._clock.monotonic_ns() + int(left_s * NS_PER_S)
        while True:
            self._drain_stderr()
            self._raw.settimeout(min(left_s, _LISTEN_S))
            try:
                data = self._raw.recv(SLICE_BYTES)
            except self._breaks as error:
                left_s = (end_ns - self._clock.monotonic_ns()) / NS_PER_S
                if isinstance(error, TimeoutError) and left_s > 0:
                    continue
                raise self._broken(_why(error, f"was silent for {timeout_s:g} s")) from None
            self._buffer += data
            return len(data)

    def _drain_stderr(self) -> None:
        """Keep only the tail: a command that complains without end must not stall on a full window."""
        try:
            while self._raw.recv_stderr_ready():
                self._stderr = (self._stderr + self._raw.recv_stderr(SLICE_BYTES))[-_STDERR_TAIL_BYTES:]
        except self._breaks:
            return

    def _broken(self, what: str) -> ChannelBroken:
        self.closed = True
        return ChannelBroken(what)


def printable(text: str, *, chars_max: int) -> str:
    """The end of what a host said as one line without control characters: it must not write on the person's terminal."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())[-chars_max:]


def _why(error: Exception, silence: str, *, cut: bool = False) -> str:
    """cut: the connection broke because we cut it, after that silence."""
    if cut or isinstance(error, TimeoutError):
        return f"it {silence}"
    return f"the connection broke: {error}" if str(error) else "the connection broke"
