"""What a build should tell of code and flags that have had their day (D04). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tradeops.contracts.manifest import Release
from tradeops.release.ledger import LedgerFlag
from tradeops.release.matrix import matrix

_NAMED = 3


def remarks(
    new: Release, before: Release | None, known: Sequence[tuple[str, Release]], ledger: Mapping[str, LedgerFlag], *, now_ns: int
) -> tuple[str, ...]:
    """A line each: code declared removed, code gone without a word, flags to be made plain code.

    before: the release that `new` follows.  known: the releases of the service, the newest first, `new` among them.
    """
    rows = matrix(ledger, known, None, None, now_ns=now_ns)
    said = [f"flag {row.id}: {row.stale}" for row in rows if row.stale]
    if before is None:
        return tuple(said)
    fresh = [path for path in new.removed if path not in before.removed]
    silent = undeclared(new, before)
    if fresh:
        said.insert(0, f"removed since {before.number}: {_few(fresh)}; a deploy proves it absent on every host")
    if silent:
        said.append(f"gone since {before.number}, not declared under `removed`: {_few(silent)}")
    return tuple(said)


def undeclared(new: Release, before: Release) -> list[str]:
    """Files of the release before that are neither in this one nor under a path that it declares removed."""
    there = {file.path for file in new.files}
    return [file.path for file in before.files if file.path not in there and not _declared(file.path, new.removed)]


def _declared(path: str, removed: Sequence[str]) -> bool:
    return any(path == gone or path.startswith(f"{gone}/") for gone in removed)


def _few(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more
