"""A new platform, verified and installed by the one that is there; when its guard does not come up, the old one is back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from . import offer, prune, release, service
from .errors import BAD_REQUEST, SERVICE, AgentError
from .files import canonical, fsync_dir, relink, remove_tree, sweep, write_atomic
from .hostfile import Context
from .manifest import Manifest, parse
from .names import linked_digest

GUARD_LIMIT_S = 10.0


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
        os.sync()
        release.put(partial, folder)
    finally:
        remove_tree(partial)
    write_atomic(folder.with_suffix(".json"), canonical(envelope), 0o444)
    fsync_dir(folder.parent)
    return folder


def _turn(context: Context, digest: str, previous: str | None) -> None:
    """Switch the link and restart the guard; back when it does not come up."""
    unit = context.host.guard_unit
    relink(context.layout.platform, digest[7:])
    try:
        service.manager(context).restart(unit)
        if service.guard_active(context, GUARD_LIMIT_S):
            return
        problem = "it is not active"
    except AgentError as error:
        problem = error.what
    if previous is not None:
        relink(context.layout.platform, previous[7:])
        service.manager(context).restart(unit)
    raise AgentError(SERVICE, f"the guard of the new platform did not come up: {problem}; the platform before it is in force again")
