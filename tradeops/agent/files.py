"""Durable files, bounded reads, file locks, and removal of read-only trees."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from .clock import Clock
from .errors import INTERNAL, LOCKED, AgentError

DOCUMENT_BYTES_MAX = 64 << 20
_POLL_S = 0.01
_HASH_BYTES = 1 << 18


def fsync_dir(folder: Path) -> None:
    """Make the names in `folder` durable. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_tree(folder: Path) -> None:
    """Make all that was written below `folder` durable: its file system and no other, for others are the traders'. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if libc.syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(fd)


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
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


def write_all(file: FileIO, data: bytes) -> None:
    """Write to an unbuffered file, whatever it takes at a time. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def relink(link: Path, target: str) -> None:
    """Point `link` at `target` in one step. Raises OSError."""
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)
    fsync_dir(link.parent)


def canonical(value: object) -> bytes:
    """The JSON that is hashed and signed: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def parse_object(data: bytes, source: str) -> dict[str, Any]:
    """A JSON object. Raises AgentError (internal) naming `source`."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AgentError(INTERNAL, f"{source} is not JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise AgentError(INTERNAL, f"{source} is not a JSON object")
    return value


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None when there is no such file. Raises AgentError (internal), OSError."""
    try:
        with path.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    if len(data) > DOCUMENT_BYTES_MAX:
        raise AgentError(INTERNAL, f"{path} is larger than {DOCUMENT_BYTES_MAX} bytes")
    return parse_object(data, str(path))


@contextmanager
def flocked(path: Path, clock: Clock, wait_s: float) -> Iterator[None]:
    """Hold the file lock at `path`, which dies with its process. Raises AgentError (locked) after `wait_s`, OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = clock.deadline(wait_s)
        while not _try_lock(fd):
            if deadline.passed():
                raise AgentError(
                    LOCKED, f"another session on this host has been at work for {wait_s:g} s", next="wait for it, then run it again"
                )
            clock.sleep_s(_POLL_S)
        yield
    finally:
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def hash_file(path: Path) -> str:
    """The address of a file's content. Raises OSError."""
    hasher = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_HASH_BYTES):
            hasher.update(chunk)
    return f"sha256:{hasher.hexdigest()}"


def remove_tree(folder: Path) -> None:
    """Remove a file, or a tree whose folders may be read-only. A missing one is fine. Raises OSError."""
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink(missing_ok=True)
        return
    folder.chmod(0o700)
    for here, names, _ in os.walk(folder):
        for name in names:
            path = Path(here, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder)


def sweep(folder: Path, prefix: str) -> None:
    """Remove what dead processes left half-written: entries named `PREFIX<pid>-…`. Raises OSError."""
    for path in folder.glob(f"{prefix}*"):
        pid = path.name[len(prefix) :].split("-", 1)[0]
        if not (pid.isdigit() and Path("/proc", pid).exists()):
            remove_tree(path)
