"""Who acts: the person that `--as` names or the key shows, and where this machine finds that person's key."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import UsageError
from tradeops.contracts.codec import decode
from tradeops.contracts.policy import Person, Policy
from tradeops.contracts.publickey import normalise
from tradeops.contracts.signature import Signer

_BYTES_MAX = 1 << 20


class KeyPaths(msgspec.Struct, frozen=True):
    """Person -> key file on this machine: paths, never keys."""

    paths: dict[str, str] = {}


def read_key_paths(path: Path) -> dict[str, str]:
    """What `init` noted; empty when it noted nothing."""
    try:
        return decode(read_bounded(path, _BYTES_MAX), KeyPaths, source=str(path)).paths
    except FileNotFoundError:
        return {}


def write_key_paths(path: Path, paths: dict[str, str]) -> None:
    """Note where each person's key file lies. Raises OSError."""
    write_atomic(path, msgspec.json.encode(KeyPaths(paths)))


def signer_of(policy: Policy, key_paths: Path, *, person: str | None, key: str | None) -> tuple[str, Signer]:
    """The person's name in the policy, and a signer with one of that person's keys.

    person None: whoever the key belongs to.  key None: the one `init` noted, else an agent's or a usual file.
    Raises UsageError when there is no such person or key, or the key is somebody else's.
    """
    from tradeops.release.sign import signer_for

    known = policy.people if person is None else (_person(policy, person),)
    if key is None and person is not None:
        key = read_key_paths(key_paths).get(person)
    signer = signer_for(key, known=[line for each in known for line in each.keys])
    for each in known:
        if signer.public_line in {normalise(line) for line in each.keys}:
            return each.name, signer
    raise UsageError(
        f"the key is not one of {person}'s" if person else "the key is nobody's in the policy",
        where=key,
        next="name the right key with --key, or the right person with --as",
    )


def unjudged_signer(key_paths: Path, *, person: str | None, key: str | None) -> tuple[str, Signer]:
    """Who says to act and that key's signer, where no policy can be read: the hosts judge. Raises UsageError when there is no key."""
    from tradeops.contracts.signature import fingerprint
    from tradeops.release.sign import signer_for

    signer = signer_for(key or read_key_paths(key_paths).get(person or ""))
    return person or fingerprint(signer.public_line), signer


def _person(policy: Policy, name: str) -> Person:
    for person in policy.people:
        if person.name == name:
            return person
    raise UsageError(f"the policy knows no {name!r}", next=f"it knows {', '.join(person.name for person in policy.people)}")
