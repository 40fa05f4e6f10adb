"""Releases that were offered to this host and are not assembled yet: who signed them, how old they are, what they name."""

from __future__ import annotations

from typing import Any

from . import verify
from .errors import BAD_REQUEST, NOT_FOUND, OLDER, AgentError
from .files import canonical, read_object, write_atomic
from .hostfile import Context
from .manifest import Manifest, parse
from .names import is_digest

PLATFORM_SERVICE = "platform"
OFFERS_MAX = 16


def take(context: Context, envelope: dict[str, Any]) -> Manifest:
    """Keep an offer after asking for its signature and its age. Raises AgentError, OSError."""
    manifest = parse(envelope)
    check_signature(context, envelope, manifest)
    check_age(context, manifest)
    offers = sorted(context.layout.incoming.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for old in offers[:-OFFERS_MAX]:
        old.unlink(missing_ok=True)
    write_atomic(context.layout.incoming / f"{manifest.id[7:]}.json", canonical(envelope))
    return manifest


def offered(context: Context, digest: str) -> tuple[dict[str, Any], Manifest]:
    """The envelope and manifest of an offer, its signature asked again. Raises AgentError (not_found, signature)."""
    envelope = read_object(context.layout.incoming / f"{digest[7:]}.json")
    if envelope is None:
        raise AgentError(NOT_FOUND, f"release {digest} was not offered here", next="send its manifest first (verb `missing`)")
    manifest = parse(envelope)
    check_signature(context, envelope, manifest)
    return envelope, manifest


def forget(context: Context, digest: str) -> None:
    """Drop an offer. Raises OSError."""
    (context.layout.incoming / f"{digest[7:]}.json").unlink(missing_ok=True)


def wanted(context: Context) -> dict[str, int]:
    """Digest and size of everything that an offer names: nothing else is taken in."""
    named: dict[str, int] = {}
    for path in context.layout.incoming.glob("*.json"):
        envelope = read_object(path) if is_digest(f"sha256:{path.stem}") else None
        if envelope:
            named.update((file.digest, file.size) for file in parse(envelope).files if file.link is None)
    return named


def check_signature(context: Context, envelope: dict[str, Any], manifest: Manifest) -> None:
    """Raises AgentError (signature) unless those who may release (or, for a platform, install one) signed it (A05)."""
    policy = verify.host_policy(context)
    if manifest.service == PLATFORM_SERVICE:
        verify.entitled(policy, "platform", envelope, verify.PLATFORM)
    elif manifest.service == context.host.service:
        verify.entitled(policy, "release", envelope, verify.RELEASE)
    else:
        raise AgentError(BAD_REQUEST, f"a release of service {manifest.service!r}; this host runs {context.host.service!r}")


def check_age(context: Context, manifest: Manifest) -> None:
    """Raises AgentError (older): a release below the highest number seen here, or expired, unless the host has it (A07)."""
    if is_here(context, manifest):
        return
    highest = numbers(context).get(manifest.service, 0)
    if manifest.number < highest:
        said = f"{manifest.service} number {manifest.number} is older than {highest}, which this host has seen"
        raise AgentError(OLDER, said, next="build it again under a newer number", detail={"highest": highest})
    if manifest.expires_wall_ns is not None and context.clock.wall_ns() >= manifest.expires_wall_ns:
        raise AgentError(OLDER, f"{manifest.service} number {manifest.number} has expired", next="build it again")


def is_here(context: Context, manifest: Manifest) -> bool:
    """Whether the host has assembled it before."""
    layout = context.layout
    folder = layout.platforms if manifest.service == PLATFORM_SERVICE else layout.releases
    return (folder / manifest.id[7:]).is_dir()


def numbers(context: Context) -> dict[str, int]:
    """The highest number assembled here, per service; outlives pruning. Raises AgentError, OSError."""
    return {str(service): int(number) for service, number in (read_object(context.layout.agent_state / "highest.json") or {}).items()}


def note_number(context: Context, manifest: Manifest) -> None:
    """Remember the highest number. Raises OSError."""
    known = numbers(context)
    if manifest.number > known.get(manifest.service, 0):
        known[manifest.service] = manifest.number
        write_atomic(context.layout.agent_state / "highest.json", canonical(known))
