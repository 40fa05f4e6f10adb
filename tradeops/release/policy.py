"""Policies as people write them: the first one of a fleet, its roles, and the signed next one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from tradeops.base.durable import write_atomic
from tradeops.base.errors import UsageError
from tradeops.contracts.codec import encode
from tradeops.contracts.entitle import open_policy
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.policy import DUTIES, SCHEMA, VERBS, Person, Policy
from tradeops.contracts.publickey import parse_line
from tradeops.contracts.signature import Signer

ROLES: Mapping[str, tuple[str, ...]] = {
    "operator": VERBS,
    "risk": ("permit", "kill", "halt", "resume", "approve"),
    "release": ("release", "binding"),
    "sentinel": ("kill", "halt"),
}
"""What `tradeops init` knows: everything, risk's part, a build job's, and an automatic watcher's."""


def first_policy(
    fleet: str,
    people: Iterable[Person],
    thresholds: Mapping[str, int] | None = None,
    *,
    hosts_min: int = 0,
    apart: tuple[str, ...] = DUTIES,
) -> Policy:
    """Policy number 1. Raises UsageError when nobody may permit with somebody else, a role or duty is not known, or two share a key."""
    if strange := sorted(set(apart) - set(DUTIES)):
        raise UsageError(f"there is no duty {strange[0]!r} to keep apart", next=f"duties: {', '.join(DUTIES)}")
    named = tuple(people)
    _no_shared_key(named)
    for person in named:
        if strange := sorted(set(person.roles) - ROLES.keys()):
            raise UsageError(f"{person.name} has the unknown role {strange[0]!r}", next=f"roles: {', '.join(ROLES)}")
    used = {role for person in named for role in person.roles}
    policy = Policy(
        SCHEMA, fleet, 1, named, {role: ROLES[role] for role in ROLES if role in used}, dict(thresholds or {}), hosts_min, apart
    )
    permitting = [person.name for person in named if any("permit" in ROLES[role] for role in person.roles)]
    if len(permitting) < policy.threshold("permit"):
        raise UsageError(
            f"{len(permitting)} of the people named may permit, {policy.threshold('permit')} are needed: nothing could ever trade",
            next="name a second --person with the role operator or risk, and another key",
        )
    return policy


def _no_shared_key(people: Iterable[Person]) -> None:
    """One key is one person: under two names it would look like two and count as one."""
    owner: dict[bytes, str] = {}
    for person in people:
        for key in person.keys:
            other = owner.setdefault(parse_line(key).material, person.name)
            if other != person.name:
                raise UsageError(f"{other} and {person.name} have the same key", next="give each --person a key of their own")


def sign_policy(policy: Policy, signers: Iterable[Signer], current: Policy | None, path: Path) -> Envelope:
    """The policy signed and kept at `path`. Raises SignatureInvalid, Refused when `current` does not allow it; OSError."""
    body = encode(policy)
    envelope = Envelope.of(body, *(signer.sign(body, Purpose.POLICY) for signer in signers))
    open_policy(envelope, current)
    write_atomic(path, msgspec.json.encode(envelope))
    return envelope
