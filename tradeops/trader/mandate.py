"""What this process was given: release, binding, overlay. Each is verified here, by itself, against the policy on the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tradeops.base.digest import digest_bytes, short
from tradeops.base.durable import read_bounded
from tradeops.base.errors import Refused, UsageError
from tradeops.contracts.binding import BINDING_SCHEMA, Binding, Overlay
from tradeops.contracts.codec import decode
from tradeops.contracts.entitle import entitled, signed_bytes, stored_policy
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.host import HostFile
from tradeops.contracts.layout import HostLayout
from tradeops.contracts.manifest import PREDICATE_TYPE, Manifest, Release
from tradeops.contracts.overlay import open_overlay
from tradeops.contracts.policy import Policy

DOCUMENT_BYTES_MAX: Final = 64 << 20
PRODUCTION: Final = "production"


@dataclass(frozen=True)
class Mandate:
    """release_id, binding_id: digests of the signed bytes.  problems: why, with all that, it must start halted."""

    host: HostFile
    policy: Policy
    release_id: str
    release: Release
    binding_id: str
    binding: Binding
    slot: str
    problems: tuple[str, ...] = field(default=())

    @property
    def live_only(self) -> bool:
        """Whether only a live feed may drive this daemon (R12)."""
        return self.binding.environment == PRODUCTION


def load_mandate(layout: HostLayout, slot: str, *, expected_release: str, expected_binding: str) -> Mandate:
    """Read and verify what the slot holds. expected_*: digests that the start stub resolved, empty where it names none.

    Raises UsageError (missing, malformed), Refused, SignatureInvalid.
    """
    host = decode(_read(layout.host_file), HostFile, source=str(layout.host_file))
    policy = stored_policy(_envelope(layout.policy_file))
    folder = layout.slot(slot)
    release_file = folder / "current" / "release.json"
    release_body = _signed(release_file, policy, "release", Purpose.RELEASE, host.host)
    manifest = decode(release_body, Manifest, source=str(release_file))
    binding_file = folder / "binding.json"
    binding_body = _signed(binding_file, policy, "binding", Purpose.BINDING, host.host)
    binding = decode(binding_body, Binding, source=str(binding_file))
    release_id, binding_id = digest_bytes(release_body), digest_bytes(binding_body)
    _must(manifest.predicate_type == PREDICATE_TYPE, f"predicate {manifest.predicate_type!r} is not a release", release_file)
    _must(binding.schema == BINDING_SCHEMA, f"schema {binding.schema!r} is not a binding", binding_file)
    _must(binding.host == host.host, f"the binding is for host {binding.host!r}, this is {host.host!r}", binding_file)
    _must(binding.fleet == host.fleet, f"the binding is for fleet {binding.fleet!r}, this is {host.fleet!r}", binding_file)
    _must(binding.service == manifest.predicate.service, "release and binding are of different services", binding_file)
    _must(expected_release in ("", release_id), f"started as {short(expected_release)}, the slot holds {short(release_id)}", release_file)
    _must(expected_binding in ("", binding_id), f"started with binding {short(expected_binding)}, the slot holds another", binding_file)
    return Mandate(host, policy, release_id, manifest.predicate, binding_id, binding, slot)


def load_overlay(path: Path, policy: Policy, *, fleet: str, host: str) -> Overlay | None:
    """The overlay in force, inside the directive that set it; None when there is none.

    Raises UsageError, Refused, SignatureInvalid.
    """
    if not path.exists():
        return None
    return open_overlay(_envelope(path), policy, fleet=fleet, host=host, source=str(path))


def _signed(path: Path, policy: Policy, verb: str, purpose: Purpose, host: str) -> bytes:
    envelope = _envelope(path)
    entitled(policy, verb, envelope, purpose, now_ns=None, host=host)
    return signed_bytes(envelope)


def _envelope(path: Path) -> Envelope:
    return decode(_read(path), Envelope, source=str(path))


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path, DOCUMENT_BYTES_MAX)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}", where=str(path), next="deploy again, or enrol the host") from None


def _must(holds: bool, problem: str, path: Path) -> None:
    if not holds:
        raise Refused(problem, where=str(path), holds="nothing was started", next="deploy again")
