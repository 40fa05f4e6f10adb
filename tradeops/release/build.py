"""From a service's folder to a signed release in the store."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import Refused, UsageError
from tradeops.contracts.codec import encode
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.manifest import Manifest, PythonAbi
from tradeops.contracts.signature import Signer
from tradeops.release.daemon import TRADER_START, Ingredients, trader_tree
from tradeops.release.definition import Definition
from tradeops.release.layers import layer_key, this_python
from tradeops.release.ledger import FlagLedger
from tradeops.release.manifest import ALWAYS_LEFT_OUT, Origin, make_manifest, scan
from tradeops.release.store import Store, StoredRelease

CONFIG_FOLDER = "config"


@dataclass(frozen=True)
class Source:
    """What is built. folder: the service's own, with its service.yml.  ingredients: for our own daemon only.

    provenance: goes into the manifest as it is (commit, builder); it is part of the digest.
    """

    definition: Definition
    folder: Path
    ingredients: Ingredients | None = None
    provenance: Mapping[str, Any] | None = None


def build(
    source: Source, store: Store, signer: Signer, ledger: FlagLedger, *, now_ns: int, number: int | None = None, previous: str | None = None
) -> StoredRelease:
    """Build, sign and keep a release.

    number: of the release, by default one above the service's newest in the store.  previous: the id of the release
    it follows, by default the newest below it.  now_ns: wall time, read only where the definition gives an expiry, so
    that otherwise the same inputs give the same digest. Raises UsageError; Refused for a flag that the ledger does not
    know or has retired (D05), and when the number is another release's already.
    """
    ledger.check(source.definition.flags)
    before = store.newest(source.definition.service, below=number)
    origin = Origin(
        number=number if number is not None else (before.manifest.predicate.number + 1 if before else 1),
        previous=previous if previous is not None else (before.id if before else None),
        python=_python(source),
        expires_wall_ns=_expiry(source.definition, now_ns),
        provenance=_provenance(source),
    )
    if source.definition.kind == "tree":
        return _keep(source, source.folder, (*ALWAYS_LEFT_OUT, *source.definition.exclude), origin, store, signer)
    with tempfile.TemporaryDirectory(prefix="tradeops-build-") as staging:
        tree = Path(staging) / "tree"
        trader_tree(tree, _ingredients(source), source.folder / CONFIG_FOLDER)
        return _keep(source, tree, source.definition.exclude, origin, store, signer)


def sign_manifest(manifest: Manifest, signer: Signer, purpose: Purpose = Purpose.RELEASE) -> Envelope:
    """The signed manifest. Raises what the signer raises."""
    body = encode(manifest)
    return Envelope.of(body, signer.sign(body, purpose))


def _keep(source: Source, tree: Path, left_out: tuple[str, ...], origin: Origin, store: Store, signer: Signer) -> StoredRelease:
    if not tree.is_dir():
        raise UsageError("no such folder", where=str(tree), next="name the folder that is to be released")
    manifest = make_manifest(source.definition, scan(tree, left_out), origin, TRADER_START)
    taken = store.numbered(source.definition.service, origin.number)
    if taken is not None and taken.id != manifest.id():
        raise Refused(
            f"number {origin.number} of {source.definition.service} is {taken.id}; what was built now is another release",
            holds="the store is as it was",
            next="leave --number out, or build from the very same inputs",
        )
    return store.put(sign_manifest(manifest, signer), tree)


def _ingredients(source: Source) -> Ingredients:
    if source.ingredients is None:
        raise UsageError("no lock file of the host's libraries is named", where=str(source.folder), next="name it with --lock")
    return source.ingredients


def _python(source: Source) -> PythonAbi | None:
    return this_python() if source.definition.python or source.definition.kind == "trader" else None


def _expiry(definition: Definition, now_ns: int) -> int | None:
    return None if definition.expires_after is None else now_ns + int(definition.expires_after * NS_PER_S)


def _provenance(source: Source) -> dict[str, Any]:
    told = dict(source.provenance or {})
    return told | ({"layer": layer_key(source.ingredients.lock)} if source.ingredients else {})
