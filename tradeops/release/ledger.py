"""The flag ledger: every flag id ever used, with its written meaning; retired ids are kept for ever (D05)."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import Refused, UsageError
from tradeops.contracts.codec import decode
from tradeops.contracts.flags import meaning_digest
from tradeops.release.definition import FlagEntry

SCHEMA = "tradeops/flags/v1"
_ID = re.compile(r"[a-z][a-z0-9-]{0,63}")
_BYTES_MAX = 8 << 20
_MEANING_CHARS_MIN = 10


class LedgerFlag(msgspec.Struct, frozen=True):
    """One id. retired_ns, retired_by: the tombstone."""

    id: str
    meaning: str
    digest: str
    declared_ns: int
    declared_by: str
    retired_ns: int | None = None
    retired_by: str | None = None


class _File(msgspec.Struct, frozen=True):
    schema: str
    flags: tuple[LedgerFlag, ...] = ()


class FlagLedger:
    """The ledger's file; belongs beside the service's source, under its version control."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def flags(self) -> dict[str, LedgerFlag]:
        """All ids, retired ones too. Raises UsageError when the file is damaged: an unknown past is no clean past."""
        try:
            file = decode(read_bounded(self._path, _BYTES_MAX), _File, source=str(self._path))
        except FileNotFoundError:
            return {}
        if file.schema != SCHEMA:
            raise UsageError(f"schema {file.schema[:64]!r} is not understood", where=str(self._path))
        for flag in file.flags:
            if flag.digest != meaning_digest(flag.meaning):
                raise UsageError(f"the meaning of {flag.id!r} was changed in place", where=str(self._path), next="restore the file")
        return {flag.id: flag for flag in file.flags}

    def declare(self, flag: str, meaning: str, *, by: str, now_ns: int) -> LedgerFlag:
        """Enter a new id. Raises Refused when it was ever used; UsageError for an ill-formed id or empty meaning."""
        if not _ID.fullmatch(flag):
            raise UsageError(f"{flag[:80]!r} is not a flag id", next="use lower-case letters, digits and dashes")
        if len(meaning.strip()) < _MEANING_CHARS_MIN:
            raise UsageError(f"{flag!r} has no written meaning", next="say what turning it on does")
        with self._changing() as flags:
            if old := flags.get(flag):
                state = "retired" if old.retired_ns is not None else "declared already"
                raise Refused(f"the flag id {flag!r} is {state}; ids are never used again (D05)", next="choose a new id")
            flags[flag] = LedgerFlag(flag, meaning.strip(), meaning_digest(meaning), now_ns, by)
            return flags[flag]

    def retire(self, flag: str, *, by: str, now_ns: int) -> LedgerFlag:
        """Put the tombstone on an id. Raises Refused when it is unknown or retired already."""
        with self._changing() as flags:
            old = flags.get(flag)
            if old is None or old.retired_ns is not None:
                raise Refused(f"the flag id {flag!r} is {'retired already' if old else 'unknown'}")
            flags[flag] = msgspec.structs.replace(old, retired_ns=now_ns, retired_by=by)
            return flags[flag]

    def check(self, entries: Iterable[FlagEntry]) -> None:
        """Raises Refused when a release would carry a flag that is undeclared, retired, or means something else."""
        known = self.flags()
        for entry in entries:
            old = known.get(entry.id)
            if old is None:
                raise Refused(f"the flag {entry.id!r} is not declared", where=str(self._path), next="`tradeops flags declare` it first")
            if old.retired_ns is not None:
                raise Refused(f"the flag {entry.id!r} is retired; ids are never used again (D05)", next="choose a new id")
            if old.digest != meaning_digest(entry.meaning):
                raise Refused(f"the flag {entry.id!r} was declared with another meaning (D05)", next="a new meaning takes a new id")

    @contextmanager
    def _changing(self) -> Iterator[dict[str, LedgerFlag]]:
        """The ids, to be changed; written when the block ends well. One process at a time."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # The folder itself is the lock: no stray file beside what lies under version control.
        lock = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            flags = self.flags()
            yield flags
            file = _File(SCHEMA, tuple(flags[name] for name in sorted(flags)))
            write_atomic(self._path, msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n", mode=0o644)
        finally:
            os.close(lock)
