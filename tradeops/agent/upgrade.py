"""A new platform, verified and installed by the one that is there; when its guard does not come up, the old one is back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from . import offer, prune, release, service
from .errors import BAD_REQUEST, SERVICE, AgentError
from .files import canonical, fsync_dir, relink, remove_tree, sweep, sync_tree, write_atomic
from .hostfile import Context
from .manifest import Manifest, parse
from .names import linked_digest

GUARD_LIMIT_S = 15.0


def upgrade(context: Context, envelope: dict[str, Any]) -> dict[str, Any]:
    """Install and switch to the platform in `envelope`, whose blobs have arrived. Raises AgentError, OSError."""
    manifest = parse(envelope)
    if manifest.service != offer.PLATFORM_SERVICE:
        raise AgentError(BAD_REQUEST, f"this is a release of {manifest.service!r}, not a platform")
    offer.check_signature(context, envelope, manifest)
    offer.check_age(context, manifest)
    previous = linked_digest(context.layout.platform)
    install(context, envelope, manifest)
    if previous != manifest.id:
        _turn(context, manifest.id, previous)
    offer.note_number(context, manifest)
    offer.forget(context, manifest.id)
    prune.prune_platforms(context)
    return {"platform": manifest.id}


def install(context: Context, envelope: dict[str, Any], manifest: Manifest) -> Path:
    """Build `platform/HEX` from the blobs, every byte hashed; one that is there and whole is left. Raises AgentError, OSError."""
    folder = context.layout.platforms / manifest.id[7:]
    if folder.is_dir() and not release.differences(folder, manifest):
        return folder
    sweep(context.layout.platforms, release.PARTIAL)
    partial = context.layout.platforms / f"{release.PARTIAL}{os.getpid()}-{manifest.id[7:19]}"
    try:
        release.build_tree(context, partial, manifest)
        sync_tree(partial)
        release.put(partial, folder)
    finally:
        remove_tree(partial)
    write_atomic(folder.with_suffix(".json"), canonical(envelope), 0o444)
    fsync_dir(folder.parent)
    return folder


def _turn(context: Context, digest: str, previous: str | None) -> None:
    """Switch the link and restart the guard; back when it does not come up."""
    relink(context.layout.platform, digest[7:])
    try:
        service.restart_guard(context, GUARD_LIMIT_S)
    except AgentError as error:
        if previous is None:
            raise
        relink(context.layout.platform, previous[7:])
        service.restart_guard(context, GUARD_LIMIT_S)
        said = f"the new platform: {error.what}; the one before it is in force again"
        raise AgentError(SERVICE, said, next="build it again; the guard's log on the host says why") from None
