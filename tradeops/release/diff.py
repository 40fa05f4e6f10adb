"""In what two releases differ: files, flags, limits, start, journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tradeops.contracts.manifest import File, Release

_COMPARED = ("version", "start", "python", "removed", "journal_reads", "journal_writes", "contracts", "expires_wall_ns")


@dataclass(frozen=True)
class ReleaseDiff:
    """added, removed, changed: paths.  bytes_new: content of `new` that `old` lacks.  settings: name -> (old, new)."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    bytes_new: int
    flags: Mapping[str, tuple[str, str]]
    limits: Mapping[str, tuple[Any, Any]]
    settings: Mapping[str, tuple[Any, Any]]

    def same(self) -> bool:
        """Whether nothing differs but number and ancestry."""
        return not (self.added or self.removed or self.changed or self.flags or self.limits or self.settings)


def diff(old: Release, new: Release) -> ReleaseDiff:
    """What going from `old` to `new` changes."""
    was, now = {file.path: file for file in old.files}, {file.path: file for file in new.files}
    there = {file.digest for file in old.files}
    return ReleaseDiff(
        added=tuple(sorted(now.keys() - was.keys())),
        removed=tuple(sorted(was.keys() - now.keys())),
        changed=tuple(sorted(path for path in was.keys() & now.keys() if was[path] != now[path])),
        bytes_new=sum(_by_digest(new, there).values()),
        flags=_changed(_flags(old), _flags(new), "absent"),
        limits=_changed(_plain(old.limits), _plain(new.limits), None),
        settings=_changed(_settings(old), _settings(new), None),
    )


def _by_digest(release: Release, there: set[str]) -> dict[str, int]:
    return {file.digest: file.size for file in release.files if _travels(file, there)}


def _travels(file: File, there: set[str]) -> bool:
    return file.link is None and file.digest not in there


def _flags(release: Release) -> dict[str, str]:
    return {flag.id: f"{'on' if flag.on else 'off'}, meaning {flag.meaning}" for flag in release.flags}


def _settings(release: Release) -> dict[str, Any]:
    plain = _plain(release)
    return {name: plain[name] for name in _COMPARED}


def _plain(document: msgspec.Struct | None) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(document) if document is not None else {}
    return plain


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], absent: Any) -> dict[str, tuple[Any, Any]]:
    pairs = {name: (old.get(name, absent), new.get(name, absent)) for name in sorted(old.keys() | new.keys())}
    return {name: (before, after) for name, (before, after) in pairs.items() if before != after}
