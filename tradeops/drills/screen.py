"""A command that draws on a terminal: run on one of its own, whose picture is passed on while what it said is kept."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_SEQUENCE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_SIZE_BYTES = 8
_READ_BYTES = 1 << 16


def run_on(
    screen: int, command: Sequence[str], *, folder: Path, environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run `command` with its errors on a terminal as large as `screen`, a file descriptor, to which they go as they come.

    stderr of what is returned: the same without what moves a cursor. Raises OSError, subprocess.TimeoutExpired.
    """
    inner, outer = pty.openpty()
    try:
        with contextlib.suppress(OSError):  # a screen without a size is as large as terminals are
            fcntl.ioctl(outer, termios.TIOCSWINSZ, fcntl.ioctl(screen, termios.TIOCGWINSZ, b"\0" * _SIZE_BYTES))
        child = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=outer, text=True
        )
    except OSError:
        os.close(inner)
        raise
    finally:
        os.close(outer)
    kept: list[bytes] = []
    passing = threading.Thread(target=_pass_on, args=(inner, screen, kept))
    passing.start()
    with child:
        try:
            said, _ = child.communicate(timeout=timeout_s)
        finally:
            child.kill()  # nothing to one that has ended
            passing.join()
            os.close(inner)
    drawn = b"".join(kept).decode(errors="replace").replace("\r\n", "\n")
    return subprocess.CompletedProcess(command, child.returncode, said, _SEQUENCE.sub("", drawn))


def _pass_on(inner: int, screen: int, kept: list[bytes]) -> None:
    """Until the last process that holds the terminal has ended."""
    while True:
        try:
            piece = os.read(inner, _READ_BYTES)
        except OSError:  # Linux says so when nobody holds the other end
            return
        if not piece:
            return
        kept.append(piece)
        with contextlib.suppress(OSError):  # a screen that is gone stops nobody
            os.write(screen, piece)
