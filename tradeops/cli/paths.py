"""Files that a person names: a path that cannot be read or written is a mistake in the command, not in tradeops."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tradeops.base.errors import UsageError

_WRONG = (
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ELOOP,
    errno.ENAMETOOLONG,
)


@contextmanager
def named(option: str, path: Path) -> Iterator[None]:
    """A name that cannot be used as it is becomes UsageError naming `option`; other errors, as of a full disk, pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _WRONG:
            raise
        said = f"{option}: {error.strerror or error}"
        raise UsageError(said, where=str(path), next="name a file or folder that is there and yours") from None


def new_file(option: str, path: Path) -> None:
    """Before anything is done: could `path` be written? Raises UsageError when its folder is none, or it is a folder itself."""
    if path.is_dir():
        raise UsageError(f"{option}: it is a folder", where=str(path), holds="nothing was done", next="name a file")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{option}: there is no such folder", where=str(path.parent), holds="nothing was done", next="make it first")
    if not os.access(path.absolute().parent, os.W_OK):
        raise UsageError(f"{option}: the folder is not yours to write in", where=str(path.parent), holds="nothing was done")
