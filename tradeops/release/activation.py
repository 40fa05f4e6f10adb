"""The release that turns a flag on: the very files, limits and start of the one that runs, and this flag."""

from __future__ import annotations

import msgspec

from tradeops.base.digest import short
from tradeops.base.errors import Refused
from tradeops.contracts.flags import active_flags
from tradeops.contracts.manifest import Manifest, Release
from tradeops.contracts.signature import Signer
from tradeops.release.build import sign_manifest
from tradeops.release.store import Store, StoredRelease


def activation(store: Store, running: StoredRelease, flag: str, off: dict[str, int], signer: Signer) -> StoredRelease:
    """The release that turns `flag` on over `running`, made and kept unless it is there already.

    off: flag id -> number of the overlay that turned it off last; the one of `flag` is ended by the new release.
    Raises Refused when `running` does not know the flag, or it is in force already.
    """
    turned = _turned_on(running, flag, off)
    for stored in store.list():
        if msgspec.structs.replace(stored.manifest.predicate, number=turned.number) == turned:
            return stored
    newest = store.newest(turned.service)
    numbered = msgspec.structs.replace(turned, number=max(turned.number, newest.manifest.predicate.number if newest else 0) + 1)
    return store.adopt(sign_manifest(_manifest(running, numbered), signer))


def _turned_on(running: StoredRelease, flag: str, off: dict[str, int]) -> Release:
    release = running.manifest.predicate
    if flag not in {known.id for known in release.flags}:
        raise Refused(
            f"release {short(running.id)}, which runs, does not know the flag {flag!r}",
            holds="nothing was made",
            next="declare it, build the code with it off, and deploy that to every host first",
        )
    if flag in active_flags(release.flags, off):
        raise Refused(f"the flag {flag!r} is in force already", where=short(running.id), holds="nothing was made")
    flags = tuple(
        msgspec.structs.replace(known, on=True, ends=max(known.ends, off.get(flag, 0))) if known.id == flag else known
        for known in release.flags
    )
    origin = {**release.provenance, "activates": flag}
    return msgspec.structs.replace(release, flags=flags, previous=running.id, provenance=origin)


def _manifest(running: StoredRelease, release: Release) -> Manifest:
    return msgspec.structs.replace(running.manifest, predicate=release)
