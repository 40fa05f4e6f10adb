"""Releases that a gate rejected: kept with the fleet's state, and not deployed again until a person lifts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from tradeops.base.digest import short
from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import Refused, UsageError
from tradeops.contracts.codec import decode

SCHEMA = "tradeops/quarantine/v1"
_BYTES_MAX = 1 << 20


class Entry(msgspec.Struct, frozen=True):
    """Why a release is not deployed. lifted_by: who allowed it again, "" while nobody has. When is in the audit chain."""

    schema: str
    release: str
    run: str
    why: str
    lifted_by: str = ""
    reason: str = ""

    @property
    def stands(self) -> bool:
        """Whether the release may not be deployed."""
        return not self.lifted_by

    def words(self) -> str:
        """For a person: by which run, why, and who has allowed it again since."""
        lifted = f"; lifted by {self.lifted_by}: {self.reason}" if self.lifted_by else ""
        return f"rejected in run {self.run}: {self.why}{lifted}"


@dataclass(frozen=True)
class Quarantine:
    """A file per release in `folder`."""

    folder: Path

    def put(self, release: str, *, run: str, why: str) -> None:
        """Reject a release, once for a run: what was lifted since stays lifted. Raises OSError."""
        try:
            entry = self.find(release)
        except UsageError:  # nothing is known for it: it is rejected now
            entry = None
        if entry is None or entry.run != run:
            self._write(Entry(SCHEMA, release, run, why))

    def find(self, release: str) -> Entry | None:
        """The newest word on a release. Raises UsageError when it cannot be read: then nothing is known for it."""
        path = self._path(release)
        return decode(read_bounded(path, _BYTES_MAX), Entry, source=str(path)) if path.exists() else None

    def refuse(self, release: str) -> None:
        """Raises Refused for a release that stands rejected."""
        entry = self.find(release)
        if entry and entry.stands:
            raise Refused(
                f"the release was {entry.words()}",
                where=short(release),
                holds="nothing was touched",
                next=f'mend it and build anew; or, the cause known, `tradeops releases lift {short(release)} --reason "..."`',
            )

    def lift(self, release: str, *, by: str, reason: str) -> Entry:
        """Allow a rejected release again. Raises UsageError when it is not rejected or no reason is given; OSError."""
        entry = self.find(release)
        if entry is None or not entry.stands:
            raise UsageError("this release is not in quarantine", where=short(release), next="`tradeops releases show` tells")
        if not reason.strip():
            raise UsageError("a reason is needed: it is kept for good", next="add --reason TEXT")
        lifted = msgspec.structs.replace(entry, lifted_by=by, reason=reason.strip())
        self._write(lifted)
        return lifted

    def _write(self, entry: Entry) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(self._path(entry.release), msgspec.json.encode(entry))

    def _path(self, release: str) -> Path:
        return self.folder / f"{release.removeprefix('sha256:')}.json"
