"""Is this release what somebody entitled signed, whole, and not an old one? Asked wherever a release is used (A05, A07)."""

from __future__ import annotations

from tradeops.base.digest import digest_bytes
from tradeops.base.errors import Refused
from tradeops.contracts.codec import decode
from tradeops.contracts.entitle import entitled, signed_bytes
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.manifest import Manifest
from tradeops.contracts.policy import Policy
from tradeops.release.manifest import check_manifest
from tradeops.release.store import StoredRelease, contents, is_whole

_NAMED = 5


def verify_envelope(envelope: Envelope, policy: Policy, *, purpose: Purpose = Purpose.RELEASE) -> Manifest:
    """The manifest inside, signed by enough people who may release (or change the platform), and sound.

    Raises SignatureInvalid, Refused, UsageError (malformed).
    """
    verb = "platform" if purpose is Purpose.PLATFORM else "release"
    entitled(policy, verb, envelope, purpose, now_ns=None, host=None)
    manifest = decode(signed_bytes(envelope), Manifest, source="release")
    check_manifest(manifest)
    return manifest


def verify_stored(stored: StoredRelease, policy: Policy) -> None:
    """The whole release as it lies in the store: signature, id, and every content hashed again.

    Raises SignatureInvalid, Refused naming the files that are damaged or missing.
    """
    verify_envelope(stored.envelope, policy)
    if digest_bytes(signed_bytes(stored.envelope)) != stored.id:
        raise Refused("the release is not the one its name says", where=stored.id)
    bad = [file.path for file in contents(stored.manifest) if not is_whole(stored.blob(file.digest), file.digest)]
    if bad:
        raise Refused(f"{len(bad)} files are damaged or missing: {_few(bad)}", where=stored.id, next="build or fetch the release again")


def _few(paths: list[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more
