"""Assembles a release as the host's own copy, read-only, every byte hashed on the way; and re-hashes it for a proof."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

from . import offer
from .errors import DIGEST, NOT_FOUND, AgentError
from .files import canonical, fsync_dir, hash_file, read_object, remove_tree, sweep, sync_tree, write_all, write_atomic
from .hostfile import Context
from .manifest import File, Manifest, folders, parse

PARTIAL = ".partial-"
ASIDE = ".aside-"
BAD_FILES_MAX = 100
FOLDER_MODE = 0o555
_CHUNK_BYTES = 1 << 18


def assemble(context: Context, digest: str) -> dict[str, Any]:
    """Build `releases/HEX/{release.json, tree/}`. One that is there and whole is left alone; a damaged one is replaced.

    Raises AgentError (not_found, signature, older, digest), OSError (disk full, read-only): the name then leads to nothing new.
    """
    layout = context.layout
    folder = layout.release(digest)
    kept = load(folder)
    if kept and not differences(folder / "tree", kept):
        return {"release": digest, "files": len(kept.files)}
    envelope, manifest = offer.offered(context, digest)
    offer.check_age(context, manifest)
    sweep(layout.releases, PARTIAL)
    sweep(layout.releases, ASIDE)
    partial = layout.releases / f"{PARTIAL}{os.getpid()}-{digest[7:19]}"
    try:
        build_tree(context, partial / "tree", manifest)
        write_atomic(partial / "release.json", canonical(envelope), 0o444)
        partial.chmod(FOLDER_MODE)
        sync_tree(partial)
        put(partial, folder)
    finally:
        remove_tree(partial)
    offer.note_number(context, manifest)
    offer.forget(context, digest)
    return {"release": digest, "files": len(manifest.files)}


def load(folder: Path) -> Manifest | None:
    """The manifest of an assembled release, None when there is none. Raises AgentError when it is not of this folder."""
    envelope = read_object(folder / "release.json")
    if envelope is None:
        return None
    manifest = parse(envelope)
    if manifest.id != f"sha256:{folder.name}":
        raise AgentError(DIGEST, f"{folder} holds the manifest of {manifest.id}", next="stage the release again")
    return manifest


def load_beside(folder: Path) -> Manifest | None:
    """The manifest of a platform, whose envelope lies beside its tree as `HEX.json`. Raises AgentError."""
    envelope = read_object(folder.with_suffix(".json"))
    return parse(envelope) if envelope else None


def present(context: Context, digest: str) -> Manifest:
    """The manifest of an assembled release. Raises AgentError (not_found)."""
    manifest = load(context.layout.release(digest))
    if manifest is None:
        raise AgentError(NOT_FOUND, f"release {digest} is not on this host", next="stage it first")
    return manifest


def build_tree(context: Context, tree: Path, manifest: Manifest) -> None:
    """Write every file of `manifest` below `tree`, hashing what is copied. Raises AgentError (digest), OSError."""
    tree.mkdir(parents=True)
    below = sorted(folders(manifest.files))
    for name in below:
        (tree / name).mkdir()
    for file in manifest.files:
        path = tree / file.path
        if file.link is None:
            _copy(context.layout.blob(file.digest), path, file)
        else:
            path.symlink_to(file.link)
    for name in [*reversed(below), ""]:
        (tree / name).chmod(FOLDER_MODE)


def differences(tree: Path, manifest: Manifest) -> list[str]:
    """Paths whose kind, mode, size or bytes are not the manifest's, that are missing, or that are extra; sorted, bounded."""
    expected = {file.path: file for file in manifest.files}
    allowed = folders(manifest.files)
    bad = []
    for here, names, files in os.walk(tree):
        inside = os.path.relpath(here, tree)
        prefix = "" if inside == "." else f"{inside}/"
        for name in [*names, *files]:
            path = f"{prefix}{name}"
            full = Path(here, name)
            if path in allowed and full.is_dir() and not full.is_symlink():
                continue
            file = expected.pop(path, None)
            if file is None or not _same(full, file):
                bad.append(path)
    return sorted([*bad, *expected])[:BAD_FILES_MAX]


def _same(path: Path, file: File) -> bool:
    try:
        found = path.lstat()
        if file.link is not None:
            return stat.S_ISLNK(found.st_mode) and str(path.readlink()) == file.link
        if not stat.S_ISREG(found.st_mode) or stat.S_IMODE(found.st_mode) != file.read_only_mode() or found.st_size != file.size:
            return False
        return hash_file(path) == file.digest
    except OSError:
        return False


def _copy(blob: Path, path: Path, file: File) -> None:
    hasher = hashlib.sha256()
    try:
        source = blob.open("rb", buffering=0)
    except FileNotFoundError:
        raise AgentError(NOT_FOUND, f"{file.path} ({file.digest}) has not arrived", next="stage the release again") from None
    with source, path.open("xb", buffering=0) as target:
        while chunk := source.read(_CHUNK_BYTES):
            hasher.update(chunk)
            write_all(target, chunk)
        os.fchmod(target.fileno(), file.read_only_mode())
    if f"sha256:{hasher.hexdigest()}" != file.digest:
        blob.unlink()
        raise AgentError(
            DIGEST,
            f"{file.path} is not the file that was signed ({file.digest})",
            next="stage the release again: the damaged copy was dropped",
        )


def put(partial: Path, folder: Path) -> None:
    """Give the whole tree its name; a damaged one of that name steps aside, so that there is never half of one."""
    if folder.exists():
        aside = folder.with_name(f"{ASIDE}{os.getpid()}-{folder.name[:12]}")
        folder.replace(aside)
        partial.replace(folder)
        remove_tree(aside)
    else:
        partial.replace(folder)
    fsync_dir(folder.parent)
