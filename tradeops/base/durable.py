"""Files that survive a power cut: written beside, fsynced, renamed, and the folder fsynced."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from tradeops.base.errors import UsageError


def fsync_dir(folder: Path) -> None:
    """Make the names in `folder` durable. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` by `data` wholly or not at all. Raises OSError; the old content then stands."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


def append_durable(path: Path, line: bytes, *, mode: int = 0o600) -> None:
    """Append one line with its newline and fsync it; a torn line before it is cut off. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        _cut_torn(fd)
        view = memoryview(line + b"\n")
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def _cut_torn(fd: int) -> None:
    """What stands behind the last line's end was never confirmed: a line written right behind it would be lost with it."""
    end = size = os.fstat(fd).st_size
    while end and os.pread(fd, 1, end - 1) != b"\n":
        end -= 1
    if end < size:
        os.ftruncate(fd, end)


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The whole file, refused when larger than `max_bytes` or no file: a pipe would be waited for. Raises OSError, UsageError."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        kind = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise UsageError("no regular file", where=str(path))
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise UsageError(f"larger than the {max_bytes} bytes allowed", where=str(path))
    return data
