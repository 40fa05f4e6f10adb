"""Who signed this, and may they? The host's own `ssh-keygen -Y verify` against the host's own policy (A04, A05)."""

from __future__ import annotations

import base64
import binascii
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .errors import SIGNATURE, AgentError, bad_request
from .files import parse_object, read_object
from .hostfile import Context
from .sshkey import PublicKey, parse_line, signing_key

RELEASE = "tradeops.release"
DIRECTIVE = "tradeops.directive"
POLICY = "tradeops.policy"
ROSTER = "tradeops.roster"
BINDING = "tradeops.binding"
DELEGATION = "tradeops.delegation"
PLATFORM = "tradeops.platform"
SESSION = "tradeops.session"

POLICY_SCHEMA = "tradeops/policy/v1"
THRESHOLD_FLOOR = {"permit": 2, "flatten": 2}
RUN_VERBS = frozenset({"deploy", "lease", "hold", "halt", "resume", "standby", "activate"})
SIGNATURES_MAX = 16
_KEYGEN_TIMEOUT_S = 10
_SIGNER = "signer"


@dataclass(frozen=True)
class Person:
    """One human being or job of the policy; `keys` are the ones this version can read."""

    name: str
    keys: frozenset[bytes]
    roles: frozenset[str]


@dataclass(frozen=True)
class Policy:
    """The policy in force on this host."""

    fleet: str
    number: int
    people: tuple[Person, ...]
    roles: dict[str, frozenset[str]]
    thresholds: dict[str, int]

    def threshold(self, verb: str) -> int:
        """How many distinct people `verb` needs."""
        return max(1, THRESHOLD_FLOOR.get(verb, 1), self.thresholds.get(verb, 1))

    def may(self, person: Person, verb: str) -> bool:
        """Whether a role of `person` grants `verb`."""
        return any(verb in self.roles.get(role, ()) for role in person.roles)


def body_of(envelope: dict[str, Any]) -> bytes:
    """The signed bytes. Raises AgentError (signature)."""
    payload = envelope.get("payload")
    try:
        return base64.b64decode(payload if isinstance(payload, str) else "?", validate=True)
    except (binascii.Error, ValueError):
        raise AgentError(SIGNATURE, "the envelope's payload is not base64") from None


def parse_policy(body: bytes) -> Policy:
    """A policy document. Raises AgentError when it is malformed."""
    raw = parse_object(body, "the policy")
    try:
        people = tuple(_person(person) for person in raw["people"])
        roles = {str(role): frozenset(verbs) for role, verbs in raw["roles"].items()}
        thresholds = {str(verb): int(count) for verb, count in raw.get("thresholds", {}).items()}
        policy = Policy(raw["fleet"], int(raw["number"]), people, roles, thresholds)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AgentError(SIGNATURE, f"the policy is malformed: {error!r}") from None
    if raw.get("schema") != POLICY_SCHEMA:
        raise AgentError(SIGNATURE, f"a policy of schema {str(raw.get('schema'))[:64]!r} is not understood")
    return policy


def host_policy(context: Context) -> Policy:
    """The policy that is in force here. Raises AgentError (signature) when there is none."""
    envelope = read_object(context.layout.policy_file)
    if envelope is None:
        raise AgentError(SIGNATURE, "this host has no policy, so no signature counts", next="enrol it: `tradeops fleet enroll`")
    return parse_policy(body_of(envelope))


def entitled(policy: Policy, verb: str, envelope: dict[str, Any], purpose: str) -> tuple[str, ...]:
    """Names of the distinct people who signed and may `verb`. Raises AgentError (signature) when they are too few."""
    signers = _signers(envelope, body_of(envelope), purpose)
    if envelope.get("delegation") is not None:
        raise AgentError(SIGNATURE, f"{verb} needs a person's own signature, not a run key's")
    people = _count(policy, verb, signers)
    needed = policy.threshold(verb)
    if len(people) < needed:
        known = sorted(person.name for person in policy.people if person.keys & signers.keys())
        what = f"{verb} needs {needed} distinct people of policy {policy.number}; signed by {', '.join(known) or 'nobody it knows'}"
        raise AgentError(SIGNATURE, what + f", entitled: {', '.join(people) or 'nobody'}", next=f"have it signed by those who may {verb}")
    return people


def delegated_key(context: Context, policy: Policy, envelope: dict[str, Any], run: str) -> PublicKey:
    """The run key that a person lent `deploy` on this host for `run`. Raises AgentError (signature)."""
    entitled(policy, "deploy", envelope, DELEGATION)
    lent = parse_object(body_of(envelope), "the delegation")
    key = parse_line(lent.get("key"))
    if key is None:
        raise AgentError(SIGNATURE, "the delegation names no key that can be read")
    hosts, verbs, expires_ns = lent.get("hosts"), lent.get("verbs"), lent.get("expires_ns")
    if lent.get("run") != run or lent.get("fleet") != context.host.fleet:
        raise AgentError(SIGNATURE, f"the delegation is for run {lent.get('run')!r} of fleet {lent.get('fleet')!r}")
    if not isinstance(hosts, list) or context.host.host not in hosts:
        raise AgentError(SIGNATURE, f"the delegation does not name host {context.host.host!r}")
    if not isinstance(verbs, list) or "deploy" not in verbs:
        raise AgentError(SIGNATURE, "the delegation does not lend `deploy`")
    if not isinstance(expires_ns, int) or context.clock.wall_ns() >= expires_ns:
        raise AgentError(SIGNATURE, "the delegation has expired", next="end the run: `tradeops runs abort` signs a new one")
    return key


def holds(key: PublicKey, armored: str, message: bytes, purpose: str) -> bool:
    """Whether `armored` is this key's signature over `message` for `purpose`, as ssh-keygen sees it."""
    with _readable(f"{_SIGNER} {key.line}\n".encode()) as allowed, _readable(armored.encode()) as signature:
        argv = ["ssh-keygen", "-Y", "verify", "-f", f"/proc/self/fd/{allowed}", "-I", _SIGNER, "-n", purpose]
        try:
            done = subprocess.run(
                [*argv, "-s", f"/proc/self/fd/{signature}"],
                input=message,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(allowed, signature),
                timeout=_KEYGEN_TIMEOUT_S,
                check=False,
            )
        except (FileNotFoundError, subprocess.TimeoutExpired) as error:
            raise AgentError(SIGNATURE, f"ssh-keygen on this host cannot be asked: {error}", next="install openssh-client") from None
    return done.returncode == 0


def _person(raw: dict[str, Any]) -> Person:
    keys = frozenset(key.material for line in raw["keys"] for key in [parse_line(line)] if key)
    return Person(str(raw["name"]), keys, frozenset(map(str, raw["roles"])))


def _signers(envelope: dict[str, Any], body: bytes, purpose: str) -> dict[bytes, PublicKey]:
    """The keys whose signatures hold, by their material: the same secret counts once."""
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or not signatures:
        raise AgentError(SIGNATURE, "there is no signature", next="sign it first")
    if len(signatures) > SIGNATURES_MAX:
        raise AgentError(SIGNATURE, f"{len(signatures)} signatures; at most {SIGNATURES_MAX} are read")
    good: dict[bytes, PublicKey] = {}
    for signature in signatures:
        armored = signature.get("armored") if isinstance(signature, dict) else None
        if not isinstance(armored, str):
            raise bad_request("a signature must be an object with its armored text")
        key = _key_of(armored)
        if key and holds(key, armored, body, purpose):
            good[key.material] = key
    return good


def _key_of(armored: str) -> PublicKey | None:
    """A broken signature beside enough good ones does no harm."""
    try:
        return signing_key(armored)
    except AgentError:
        return None


def _count(policy: Policy, verb: str, signers: dict[bytes, PublicKey]) -> tuple[str, ...]:
    """Entitled people behind `signers`; those linked by a shared key count as one."""
    one = _one_for_all(policy)
    counted: dict[str, str] = {}
    for material in signers:
        for person in policy.people:
            if material in person.keys and policy.may(person, verb):
                counted.setdefault(one[person.name], person.name)
    return tuple(counted.values())


def _one_for_all(policy: Policy) -> dict[str, str]:
    """Each person's name -> one name for everybody linked to them by shared keys."""
    one = {person.name: person.name for person in policy.people}
    holder: dict[bytes, str] = {}
    for person in policy.people:
        for material in person.keys:
            first, second = one[holder.setdefault(material, person.name)], one[person.name]
            one = {name: first if of == second else of for name, of in one.items()}
    return one


@contextmanager
def _readable(data: bytes) -> Iterator[int]:
    """`data` as a descriptor in memory: a kill must be verified on a full or read-only disk as well."""
    fd = os.memfd_create("tradeops")
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)
