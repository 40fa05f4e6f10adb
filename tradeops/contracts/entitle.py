"""May these signatures do this? Distinct people with distinct keys are counted against the policy (A04)."""

from __future__ import annotations

import msgspec

from tradeops.base.errors import Refused, SignatureInvalid, TradeopsError
from tradeops.contracts.codec import decode
from tradeops.contracts.directive import Delegation
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.policy import SCHEMA, Person, Policy
from tradeops.contracts.publickey import PublicKey, parse_line
from tradeops.contracts.signature import verify

SIGNATURES_MAX = 16
RUN_VERBS = frozenset({"deploy", "lease", "hold", "halt", "resume", "standby", "activate"})
"""What a run key can be lent; everything else needs a person's own signature, whatever a delegation says."""


class Entitlement(msgspec.Struct, frozen=True):
    """Who spoke. people: the distinct people counted, by name.  run: set when a run key spoke for them."""

    people: tuple[str, ...]
    run: str | None = None


def entitled(policy: Policy, verb: str, envelope: Envelope, purpose: Purpose, *, now_ns: int | None, host: str | None) -> Entitlement:
    """Who entitled `verb`; enough distinct people with distinct keys, or a run key that they lent it to.

    now_ns: wall time that a delegation is held against; None: no age is (kill).  host: where it would act; None:
    not on one host. A broken signature beside enough good ones does no harm. Raises SignatureInvalid (broken, or by
    no known key), Refused (known people, but not entitled or not enough).
    """
    body = signed_bytes(envelope)
    signers, broken = _signers(envelope, body, purpose)
    if envelope.delegation is not None:
        return _by_run_key(policy, verb, envelope.delegation, signers, now_ns=now_ns, host=host)
    people = _count(policy, verb, signers)
    needed = policy.threshold(verb)
    if len(people) >= needed:
        return Entitlement(people)
    if broken and not people:
        raise broken
    if not any(signers.keys() & _materials(person) for person in policy.people):
        raise SignatureInvalid(f"no key of policy {policy.number} signed this", next="sign it with a key that the policy names")
    said = f"{verb} needs {needed} distinct people with distinct keys; entitled here: {', '.join(people) or 'nobody'}"
    raise Refused(said, next=f"have {needed - len(people)} more sign who may {verb}" if people else "ask somebody whose role grants it")


def open_policy(envelope: Envelope, current: Policy | None) -> Policy:
    """The policy inside, when it may follow `current`: a higher number, signed as `current` says.

    current None: the first one, trusted by the hand that enrols, must still be signed by its own people.
    Raises SignatureInvalid, Refused (older, another fleet, one that locks everybody out), UsageError (malformed).
    """
    policy = stored_policy(envelope)
    judge = current or policy
    if current is not None and policy.fleet != current.fleet:
        raise Refused(f"the policy is for fleet {policy.fleet!r}, not {current.fleet!r}")
    if current is not None and policy.number <= current.number:
        raise Refused(f"policy {policy.number} is not newer than {current.number}", next="number it higher and sign it again")
    entitled(judge, "policy", envelope, Purpose.POLICY, now_ns=None, host=None)
    _sound(policy)
    return policy


def stored_policy(envelope: Envelope) -> Policy:
    """The policy inside, its signatures not asked: for the copy that only root can write, checked when it came in.

    Raises SignatureInvalid (broken envelope), UsageError (malformed).
    """
    policy = decode(signed_bytes(envelope), Policy, source="policy")
    if policy.schema != SCHEMA:
        raise Refused(f"a policy of schema {policy.schema[:64]!r} is not understood", next=f"write it as {SCHEMA}")
    return policy


def signed_bytes(envelope: Envelope) -> bytes:
    """The payload. Raises SignatureInvalid when it is not base64."""
    try:
        return envelope.body()
    except ValueError:
        raise SignatureInvalid("the envelope's payload is not base64") from None


def _signers(envelope: Envelope, body: bytes, purpose: Purpose) -> tuple[dict[bytes, PublicKey], SignatureInvalid | None]:
    """The keys whose signatures hold, by their material (the same secret counts once), and the first failure."""
    if len(envelope.signatures) > SIGNATURES_MAX:
        raise SignatureInvalid(f"{len(envelope.signatures)} signatures; at most {SIGNATURES_MAX} are read")
    good: dict[bytes, PublicKey] = {}
    broken = None if envelope.signatures else SignatureInvalid("there is no signature", next="sign it first")
    for signature in envelope.signatures:
        try:
            key = parse_line(verify(signature.armored, body, purpose))
            good[key.material] = key
        except SignatureInvalid as error:
            broken = broken or error
    return good, broken


def _by_run_key(
    policy: Policy, verb: str, lent: Envelope, signers: dict[bytes, PublicKey], *, now_ns: int | None, host: str | None
) -> Entitlement:
    if lent.delegation is not None:
        raise Refused("a run key cannot lend on what was lent to it")
    people = entitled(policy, "deploy", lent, Purpose.DELEGATION, now_ns=now_ns, host=host).people
    delegation = decode(signed_bytes(lent), Delegation, source="delegation")
    if parse_line(delegation.key).line not in {key.line for key in signers.values()}:
        raise SignatureInvalid(f"not signed by the key of run {delegation.run}")
    if problem := _outside(policy, verb, delegation, now_ns, host):
        raise Refused(f"the key of run {delegation.run} {problem}", next="sign it with a person's key")
    if len(people) < policy.threshold(verb):
        raise Refused(f"{verb} needs {policy.threshold(verb)} people; the key of run {delegation.run} speaks for {len(people)}")
    return Entitlement(people, delegation.run)


def _outside(policy: Policy, verb: str, delegation: Delegation, now_ns: int | None, host: str | None) -> str | None:
    """In what respect this goes beyond what was lent."""
    if delegation.fleet != policy.fleet:
        return f"is for fleet {delegation.fleet!r}"
    if verb not in RUN_VERBS or verb not in delegation.verbs:
        return f"was not lent {verb!r}"
    if host is not None and host not in delegation.hosts:
        return f"was not lent for host {host!r}"
    if now_ns is not None and now_ns >= delegation.expires_ns:
        return "has expired"
    return None


def _count(policy: Policy, verb: str, signers: dict[bytes, PublicKey]) -> tuple[str, ...]:
    """The entitled people behind `signers`, one name for all who share a key: who holds another's key is not another."""
    who = _one_for_all(policy)
    counted: dict[str, str] = {}
    for material in signers:
        for person in policy.people:
            if material in _materials(person) and _may(policy, person, verb):
                counted.setdefault(who[person.name], person.name)
    return tuple(counted.values())


def _one_for_all(policy: Policy) -> dict[str, str]:
    """Each person's name -> one name for everybody linked to them by shared keys."""
    who = {person.name: person.name for person in policy.people}
    holder: dict[bytes, str] = {}
    for person in policy.people:
        for material in _materials(person):
            first, second = who[holder.setdefault(material, person.name)], who[person.name]
            who = {name: first if one == second else one for name, one in who.items()}
    return who


def _materials(person: Person) -> set[bytes]:
    """The person's keys; one that this version cannot read counts for nothing and stops nobody else's."""
    found = set()
    for line in person.keys:
        try:
            found.add(parse_line(line).material)
        except SignatureInvalid:
            continue
    return found


def _may(policy: Policy, person: Person, verb: str) -> bool:
    return any(verb in policy.roles.get(role, ()) for role in person.roles)


def _sound(policy: Policy) -> None:
    """Refuses a policy with unreadable keys, undefined roles, or that nobody could ever change again."""
    names = [person.name for person in policy.people]
    if len(set(names)) != len(names):
        raise Refused("the policy names a person twice")
    for person in policy.people:
        for line in person.keys:
            try:
                parse_line(line)
            except TradeopsError as error:
                raise Refused(f"a key of {person.name!r} cannot be used: {error}") from None
        if unknown := [role for role in person.roles if role not in policy.roles]:
            raise Refused(f"{person.name!r} has the role {unknown[0]!r}, which the policy does not define")
    keys = [parse_line(line) for person in policy.people for line in person.keys]
    if len(_count(policy, "policy", {key.material: key for key in keys})) < policy.threshold("policy"):
        raise Refused("nobody could change this policy again", next="grant `policy` to enough people with keys of their own")
