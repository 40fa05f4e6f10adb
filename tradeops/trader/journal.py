"""What must survive this process: SQLite with a write-ahead log. An order is durable here before it is sent.

A commit survives the death of the process at once. Against a power cut, sequences are reserved in blocks with a full sync:
a lost tail can hide orders (the venue is asked about those), never hand out an id twice.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from tradeops.base.errors import TradeopsError
from tradeops.trader.messages import Entry

VERSION: Final = 1
"""Of the entries' format: what a release's manifest names as `journal_writes`."""
READS: Final = (1,)
BLOCK: Final = 10_000
"""Sequences reserved at a time."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(Entry).decode


class JournalError(TradeopsError):
    """The journal cannot be opened, read or written: nothing may be sent without it."""

    runbook = "journal"


class Journal:
    """Entries in order, and named integers beside them. One process at a time holds it, under an activation that only rises."""

    def __init__(self, folder: Path, *, token: int = 0) -> None:
        """Open or make the journal in `folder`. token: number of the activation under which it is to be written.

        Raises JournalError: held by another, damaged, of an unreadable version, written under a later activation.
        """
        self._path = folder / "journal.sqlite"
        self._lock = _hold(folder / "journal.lock")
        self._waiting: list[tuple[bytes]] = []
        self._facts: dict[str, int] = {}
        try:
            self._db = sqlite3.connect(self._path, isolation_level=None)
            self._prepare(token)
            self._reserved = self._fact("sequence_reserved", 0)
        except sqlite3.Error as error:
            os.close(self._lock)
            raise self._broken("cannot be opened", error) from None
        except JournalError:
            os.close(self._lock)
            raise
        self._next = self._reserved + 1

    def next_sequence(self) -> int:
        """A number that no order of this journal ever had. Raises JournalError."""
        if self._next > self._reserved:
            self._reserve()
        self._next += 1
        return self._next - 1

    def append(self, entry: Entry) -> None:
        """Write an entry with the next commit."""
        self._waiting.append((_ENCODE(entry),))

    def note(self, name: str, value: int) -> None:
        """Set a named integer with the next commit."""
        self._facts[name] = value

    def fact(self, name: str, default: int) -> int:
        """A named integer as last committed. Raises JournalError."""
        try:
            return self._fact(name, default)
        except sqlite3.Error as error:
            raise self._broken("cannot be read", error) from None

    def commit(self) -> None:
        """Make what waits durable, all or nothing. Raises JournalError: then it still waits."""
        if not self._waiting and not self._facts:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT INTO entries (body) VALUES (?)", self._waiting)
                if self._facts:
                    self._db.executemany("REPLACE INTO facts VALUES (?, ?)", list(self._facts.items()))
                self._db.execute("COMMIT")
            except sqlite3.Error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._broken("cannot be written", error) from None
        self._waiting.clear()
        self._facts.clear()

    def replay(self, *, after: int = 0) -> Iterator[Entry]:
        """The entries behind number `after`, in order. Raises JournalError for one that cannot be read."""
        try:
            yield from (entry for _, entry in read_entries(self._db, after, self._path))
        except sqlite3.Error as error:
            raise self._broken("cannot be read", error) from None

    @property
    def last(self) -> int:
        """The number of the last entry that is committed, 0 before the first. Raises JournalError."""
        try:
            row = self._db.execute("SELECT max(number) FROM entries").fetchone()
        except sqlite3.Error as error:
            raise self._broken("cannot be read", error) from None
        return int(row[0] or 0)

    @property
    def waiting(self) -> bool:
        """Whether something waits for a commit."""
        return bool(self._waiting or self._facts)

    def checkpoint(self) -> None:
        """Move the log into the database file, on a connection of its own: may run in another thread. Raises JournalError."""
        try:
            db = sqlite3.connect(self._path, isolation_level=None, timeout=1.0)
            try:
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                db.close()
        except sqlite3.Error as error:
            raise self._broken("cannot be checkpointed", error) from None

    def close(self) -> None:
        """Commit what waits and let go. Raises JournalError when the last commit fails; it is closed then too."""
        try:
            self.commit()
        finally:
            self._db.close()
            os.close(self._lock)

    def _prepare(self, token: int) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA wal_autocheckpoint=0")  # a checkpoint syncs the disk: never in the hot loop
        self._db.executescript(_SCHEMA)
        check_version(self._fact("version", 0), self._path)
        if token < self._fact("token", 0):
            said = f"activation {token}, and it was written under {self._fact('token', 0)}"
            raise JournalError(said, where=str(self._path), holds="nothing was changed", next="activate a slot under a higher number")
        self._db.execute("REPLACE INTO facts VALUES ('version', ?), ('token', ?)", (VERSION, token))

    def _reserve(self) -> None:
        """Reserve the next block, on the disk before any of it is used."""
        try:
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("REPLACE INTO facts VALUES ('sequence_reserved', ?)", (self._reserved + BLOCK,))
            self._db.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.Error as error:
            raise self._broken("cannot be written", error) from None
        self._reserved += BLOCK

    def _fact(self, name: str, default: int) -> int:
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else default

    def _broken(self, what: str, error: Exception) -> JournalError:
        return broken(what, error, self._path)


def read_entries(db: sqlite3.Connection, after: int, path: Path, *, most: int = -1) -> Iterator[tuple[int, Entry]]:
    """At most `most` entries behind number `after`, each with its number. Raises JournalError, sqlite3.Error."""
    for number, body in db.execute("SELECT number, body FROM entries WHERE number > ? ORDER BY number LIMIT ?", (after, most)):
        try:
            yield number, _DECODE(body)
        except (msgspec.DecodeError, TypeError) as error:
            raise broken(f"entry {number} is not readable", error, path) from None


def check_version(version: int, path: Path) -> None:
    """Raises JournalError for entries of a format that this release does not read."""
    if version not in (0, *READS):
        raise JournalError(
            f"format {version}; this release reads {', '.join(map(str, READS))}",
            where=str(path),
            holds="nothing was changed",
            next="start the release that wrote it, or one that reads it",
        )


def broken(what: str, error: Exception, path: Path) -> JournalError:
    """The error of a journal that cannot be used."""
    return JournalError(
        f"the journal {what}: {error}",
        where=str(path),
        holds="no order is sent without it; working orders can be cancelled",
        next="free or repair the disk, or restore the journal from its backup; see the runbook",
    )


def _hold(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"cannot be locked: {error}", where=str(path)) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise JournalError(
            "held by another trader of this host", where=str(path), holds="the other one runs on", next="stop the other one first"
        ) from None
    return fd
