"""What reached the venue and what it answered, in order: the truth that tests and drills ask for."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Final

import msgspec

from tradeops.venue.orders import Answer
from tradeops.wire.protocol import CancelAll, CancelOrder, ChangeOrder, NewOrder, QueryOrder

_ENCODE: Final = msgspec.json.Encoder().encode


class Entry(msgspec.Struct, frozen=True):
    """direction: in or out. ns: wall time."""

    ns: int
    direction: str
    account: str
    session: str
    seq: int
    message: NewOrder | ChangeOrder | CancelOrder | CancelAll | QueryOrder | Answer


class Journal:
    """The latest entries in memory; all of them in a JSON-lines file when one is given."""

    def __init__(self, *, entries_max: int, file: Path | None = None) -> None:
        """Raises OSError when the file cannot be opened."""
        self.entries: deque[Entry] = deque(maxlen=entries_max)
        self.counts = {"in": 0, "out": 0}
        self._file = file.open("ab") if file is not None else None

    def add(self, entry: Entry) -> None:
        """Note one message. Raises OSError."""
        self.entries.append(entry)
        self.counts[entry.direction] += 1
        if self._file is not None:
            self._file.write(_ENCODE(entry) + b"\n")

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Flush and close the file."""
        if self._file is not None:
            self._file.close()
