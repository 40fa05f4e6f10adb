"""The host's journal as a standby reads it while another process writes it: read only, without its lock."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tradeops.trader.journal import broken, check_version, read_entries
from tradeops.trader.messages import Entry

READ_MOST: Final = 2_000
"""Entries taken in one go: the loop has other work."""


class Follower:
    """Where a standby has read to. The file may not be there yet."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal.sqlite"
        self._db: sqlite3.Connection | None = None
        self.last = 0

    def new(self) -> Iterator[Entry]:
        """What was committed since, a bounded part of it. Raises JournalError: unreadable, or of a format not known here."""
        if self._db is None and not self._path.exists():
            return
        try:
            db = self._db = self._db or self._open()
            for number, entry in list(read_entries(db, self.last, self._path, most=READ_MOST)):
                self.last = number
                yield entry
        except sqlite3.Error as error:
            self.close()
            raise broken("cannot be followed", error, self._path) from None

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            row = db.execute("SELECT value FROM facts WHERE name = 'version'").fetchone()
            check_version(int(row[0]) if row else 0, self._path)
        except BaseException:
            db.close()
            raise
        return db
