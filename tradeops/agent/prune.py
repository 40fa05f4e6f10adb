"""Keeps the newest releases and drops the rest with their blobs; never the running, linked or previous one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from . import processes, release, service, slot
from .files import remove_tree, sweep
from .hostfile import Context
from .manifest import Manifest
from .names import is_digest, linked_digest

PLATFORMS_KEPT = 2


def prune(context: Context, keep: int) -> dict[str, Any]:
    """Remove all but `keep` releases and what must stay. Raises AgentError, OSError."""
    layout = context.layout
    for mess in (release.PARTIAL, release.ASIDE):
        sweep(layout.releases, mess)
    kept, dropped = _divide(context, keep)
    for digest in dropped:
        _remove(layout.release(digest))
    for path in layout.incoming.glob("*.json"):
        path.unlink(missing_ok=True)
    _prune_blobs(context, kept)
    prune_platforms(context)
    return {"removed": dropped}


def prune_platforms(context: Context) -> None:
    """Keep the platform in force and the newest of the others. Raises OSError."""
    layout = context.layout
    current = linked_digest(layout.platform)
    others = [path for path in layout.platforms.iterdir() if is_digest(f"sha256:{path.name}") and f"sha256:{path.name}" != current]
    for path in sorted(others, key=lambda path: path.stat().st_mtime_ns, reverse=True)[PLATFORMS_KEPT - 1 :]:
        _remove(path)
        path.with_suffix(".json").unlink(missing_ok=True)


def _divide(context: Context, keep: int) -> tuple[dict[str, Manifest], list[str]]:
    folders = [path for path in context.layout.releases.iterdir() if is_digest(f"sha256:{path.name}")]
    manifests = {f"sha256:{path.name}": manifest for path in folders for manifest in [release.load(path)] if manifest}
    needed = slot.linked(context) | {
        digest for process in processes.of_service(context) for digest in [service.release_of(context, process)] if digest
    }
    newest = sorted(manifests, key=lambda digest: manifests[digest].number, reverse=True)
    kept = {digest for digest in newest if digest in needed}
    for digest in newest:
        if len(kept) >= max(keep, 1):
            break
        kept.add(digest)
    dropped = sorted({f"sha256:{path.name}" for path in folders} - kept - needed)
    return {digest: manifests[digest] for digest in kept}, dropped


def _prune_blobs(context: Context, kept: dict[str, Manifest]) -> None:
    """A blob stays while a kept release names it: the next release will need most of them again."""
    named = {file.digest[7:] for manifest in kept.values() for file in manifest.files}
    platform = context.layout.platform
    current = linked_digest(platform)
    if current and (manifest := release.load_beside(platform.resolve())):
        named |= {file.digest[7:] for file in manifest.files}
    for folder in context.layout.blobs.iterdir():
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in named:
                path.unlink(missing_ok=True)


def _remove(folder: Path) -> None:
    """Out of its name first: half a release never has one."""
    aside = folder.with_name(f"{release.ASIDE}{os.getpid()}-{folder.name[:12]}")
    folder.replace(aside)
    remove_tree(aside)
