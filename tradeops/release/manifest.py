"""The manifest of a tree: every file with normalised mode, size and digest; and what makes a manifest sound."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import msgspec

from tradeops.base.digest import canonical_json, digest_bytes, digest_file, is_digest
from tradeops.base.errors import Refused, UsageError
from tradeops.contracts.manifest import PREDICATE_TYPE, STATEMENT_TYPE, File, Manifest, PythonAbi, Release, Subject
from tradeops.release.definition import Definition, StartEntry
from tradeops.release.paths import link_problem, path_problem

FILES_MAX = 200_000
FILE_BYTES_MAX = 2 << 30
TREE_BYTES_MAX = 8 << 30
MODE_PLAIN, MODE_PROGRAM = 0o644, 0o755
ALWAYS_LEFT_OUT = ("__pycache__", ".git", ".hg", ".svn", ".venv", ".tradeops", ".DS_Store", "*.swp", "*~")
"""Never part of a release: caches, histories, and the folder in which the operator's keys lie."""
_ANY_EXECUTE = 0o111


@dataclass(frozen=True)
class Origin:
    """What a release needs that is in no tree. number rises with every release of the service (A07)."""

    number: int
    previous: str | None = None
    python: PythonAbi | None = None
    expires_wall_ns: int | None = None
    provenance: Mapping[str, Any] | None = None


def walk(tree: Path, left_out: Iterable[str] = ()) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file and link below `tree` as (relative path, entry), in path order, without what matches `left_out`.

    A pattern without a slash is held against names, one with a slash against whole paths. Raises OSError.
    """
    patterns = tuple(left_out)
    folders = [""]
    found: list[tuple[str, os.DirEntry[str]]] = []
    while folders:
        folder = folders.pop()
        with os.scandir(tree / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if any(fnmatch(path if "/" in pattern else entry.name, pattern) for pattern in patterns):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                else:
                    found.append((path, entry))
    return iter(sorted(found))


def scan(tree: Path, left_out: Iterable[str] = ()) -> tuple[File, ...]:
    """The file table of a tree. Raises UsageError for what a release cannot hold (devices, links that leave it, odd names)."""
    files = []
    for path, entry in walk(tree, left_out):
        if problem := path_problem(path):
            raise UsageError(f"{path[:200]!r} {problem}", where=str(tree), next="rename it, or name it under `exclude`")
        files.append(_file(path, Path(entry.path), entry.stat(follow_symlinks=False)))
    if problem := table_problem(files):
        raise UsageError(problem, where=str(tree))
    return tuple(files)


def _file(path: str, real: Path, found: os.stat_result) -> File:
    if stat.S_ISLNK(found.st_mode):
        target = str(real.readlink())
        return File(path, 0o777, len(target.encode()), digest_bytes(target.encode()), target)
    if not stat.S_ISREG(found.st_mode):
        raise UsageError("neither a file, a folder nor a link", where=str(real), next="name it under `exclude`")
    return File(path, MODE_PROGRAM if found.st_mode & _ANY_EXECUTE else MODE_PLAIN, found.st_size, digest_file(real))


def make_manifest(definition: Definition, files: tuple[File, ...], origin: Origin, fallback_start: StartEntry) -> Manifest:
    """The manifest of a scanned tree. Raises UsageError when it would not be sound."""
    release = Release(
        service=definition.service,
        version=definition.version,
        number=origin.number,
        files=files,
        start=definition.start_of(fallback_start),
        python=origin.python,
        limits=definition.limits.limits() if definition.limits else None,
        flags=tuple(entry.flag() for entry in definition.flags),
        removed=definition.removed,
        journal_reads=definition.journal.reads if definition.journal else (),
        journal_writes=definition.journal.writes if definition.journal else None,
        contracts=definition.contracts,
        previous=origin.previous,
        expires_wall_ns=origin.expires_wall_ns,
        provenance=dict(origin.provenance or {}),
    )
    manifest = Manifest(STATEMENT_TYPE, (_subject(release),), PREDICATE_TYPE, release)
    try:
        check_manifest(manifest)
    except Refused as refused:
        raise UsageError(refused.what, where=definition.service) from None
    return manifest


def _subject(release: Release) -> Subject:
    table = canonical_json(msgspec.to_builtins(release.files))
    return Subject(release.service, {"sha256": digest_bytes(table).removeprefix("sha256:")})


def check_manifest(manifest: Manifest) -> None:
    """Raises Refused when a manifest, whoever signed it, is not one to install."""
    release = manifest.predicate
    problem = _release_problem(release) or table_problem(release.files)
    if manifest.type != STATEMENT_TYPE or manifest.predicate_type != PREDICATE_TYPE:
        problem = f"a statement of type {manifest.predicate_type[:80]!r} is not understood"
    elif manifest.subject != (_subject(release),):
        problem = "its subject is not the digest of its file table"
    if problem:
        raise Refused(f"the manifest is not sound: {problem}", next="build the release again with this version")


def _release_problem(release: Release) -> str | None:
    if release.number < 1:
        return f"its number is {release.number}; numbers begin at 1"
    if not release.start.argv:
        return "it does not say how it is started"
    if not release.start.kept and release.limits is None:
        return "a trading service carries no pre-set limits (D12)"
    there = {file.path for file in release.files}
    for gone in release.removed:
        if problem := path_problem(gone):
            return f"removed path {gone[:200]!r} {problem}"
        if gone in there or any(path.startswith(f"{gone}/") for path in there):
            return f"{gone!r} is declared removed and is in the tree (D04)"
    return None


def table_problem(files: Iterable[File]) -> str | None:
    """What is wrong with a file table: names, doubles, links, modes, digests, sizes; None when nothing is."""
    seen: dict[str, File] = {}
    total = 0
    for file in files:
        if problem := path_problem(file.path) or _entry_problem(file):
            return f"{file.path[:200]!r} {problem}"
        if file.path in seen:
            return f"{file.path!r} stands twice"
        seen[file.path] = file
        total += file.size
        if len(seen) > FILES_MAX or total > TREE_BYTES_MAX:
            return f"more than {FILES_MAX} files or {TREE_BYTES_MAX >> 30} GiB"
    for path in seen:
        parents = path.split("/")[:-1]
        if clash := next((parent for parent in _prefixes(parents) if parent in seen), None):
            return f"{clash!r} is a file and {path!r} lies below it"
    return None if seen else "there is no file in it"


def _entry_problem(file: File) -> str | None:
    if not is_digest(file.digest):
        return "has no well-formed digest"
    if not 0 <= file.size <= FILE_BYTES_MAX:
        return f"has {file.size} bytes; at most {FILE_BYTES_MAX >> 30} GiB are taken"
    if file.link is None:
        return None if file.mode in (MODE_PLAIN, MODE_PROGRAM) else f"has mode {file.mode:o}"
    if (file.size, file.digest) != (len(file.link.encode()), digest_bytes(file.link.encode())):
        return "has another digest than its link's target"
    return link_problem(file.path, file.link)


def _prefixes(parts: list[str]) -> Iterator[str]:
    for count in range(1, len(parts) + 1):
        yield "/".join(parts[:count])
