"""Where a story is played: a new folder, in memory where there is room, since nothing of it outlives the story."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")  # noqa: S108  # a folder of its own is made there, for its owner alone
ROOM_BYTES: Final = 4 << 30
"""Eight hosts with their releases take a third of this."""


def new_folder(name: str, memory: Path = MEMORY, *, room_bytes: int = ROOM_BYTES) -> Path:
    """On disk where memory is short or no program may be run from it, and where TMPDIR says so. Raises OSError."""
    in_memory = "TMPDIR" not in os.environ and _roomy(memory, room_bytes)
    return Path(tempfile.mkdtemp(prefix=f"tradeops-{name}-", dir=memory if in_memory else None))


def _roomy(memory: Path, wanted_bytes: int) -> bool:
    free_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        found = os.statvfs(memory)
    except OSError:
        return False
    room_bytes = min(free_bytes, found.f_bavail * found.f_frsize)
    return room_bytes >= wanted_bytes and not found.f_flag & os.ST_NOEXEC and os.access(memory, os.W_OK | os.X_OK)
