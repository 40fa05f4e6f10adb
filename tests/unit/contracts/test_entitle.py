"""Who may do what: votes are distinct people with distinct keys, and a run key speaks only within what it was lent."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from tradeops.base.errors import Refused, SignatureInvalid, UsageError
from tradeops.contracts.codec import encode
from tradeops.contracts.directive import Delegation
from tradeops.contracts.entitle import Entitlement, entitled, open_policy, stored_policy
from tradeops.contracts.envelope import Envelope, Purpose, Signature
from tradeops.contracts.policy import SCHEMA, Person, Policy
from tradeops.contracts.signature import RunKey
from tradeops.contracts.sshwire import pack_string

NOW = 1_700_000_000_000_000_000
BODY = b"a directive"
ONE, ONE_B, TWO, STRANGER, RUN = (RunKey.from_private_bytes(bytes([n]) * 32) for n in range(1, 6))
ROLES = {"operator": ("deploy", "kill", "halt", "permit", "policy"), "risk": ("permit", "kill"), "sentinel": ("kill", "halt")}


def person(name: str, role: str, *keys: RunKey) -> Person:
    return Person(name, tuple(f"{key.public_line} comment" for key in keys), (role,))


def policy(*people: Person, **changes: Any) -> Policy:
    people = people or (person("operator-1", "operator", ONE, ONE_B), person("risk-1", "risk", TWO))
    base = Policy(schema=SCHEMA, fleet="lab", number=3, people=people, roles=ROLES)
    return msgspec.structs.replace(base, **changes)


def sign(body: bytes, *keys: RunKey, purpose: Purpose = Purpose.DIRECTIVE, lent: Envelope | None = None) -> Envelope:
    return Envelope.of(body, *(key.sign(body, purpose) for key in keys), delegation=lent)


def ask(who: Policy, verb: str, envelope: Envelope, *, now_ns: int | None = NOW, host: str | None = "host-1") -> Entitlement:
    return entitled(who, verb, envelope, Purpose.DIRECTIVE, now_ns=now_ns, host=host)


def lend(*signers: RunKey, **changes: Any) -> Envelope:
    base = Delegation("tradeops/delegation/v1", "run-1", "lab", ("host-1",), ("lease", "halt"), RUN.public_line, NOW - 1, NOW + 1)
    return sign(encode(msgspec.structs.replace(base, **changes)), *signers, purpose=Purpose.DELEGATION)


def test_one_person_kills() -> None:
    """K05: one entitled signature is enough for a kill."""
    assert ask(policy(), "kill", sign(BODY, TWO)) == Entitlement(("risk-1",))


def test_two_distinct_people_permit() -> None:
    """K07: a permit takes two people; one of them, even with two keys, is refused (A04)."""
    assert set(ask(policy(), "permit", sign(BODY, ONE, TWO)).people) == {"operator-1", "risk-1"}
    for keys in ((ONE,), (ONE, ONE), (ONE, ONE_B)):
        with pytest.raises(Refused, match="needs 2 distinct people"):
            ask(policy(), "permit", sign(BODY, *keys))


def test_no_policy_lowers_the_floor_of_a_permit() -> None:
    """K07: a threshold of one for permit is read as two."""
    with pytest.raises(Refused):
        ask(policy(thresholds={"permit": 1}), "permit", sign(BODY, ONE))


def test_the_same_key_under_two_names_is_one_vote() -> None:
    """A04: whoever holds the key holds both names."""
    shared = policy(person("operator-1", "operator", ONE), person("risk-1", "risk", ONE))
    with pytest.raises(Refused, match="needs 2"):
        ask(shared, "permit", sign(BODY, ONE))


def test_people_linked_by_a_shared_key_are_one_vote() -> None:
    """A04: risk-1 also has a key of its own, but operator-1 could have signed with both; links chain."""
    shared = policy(person("operator-1", "operator", ONE), person("risk-1", "risk", ONE, TWO))
    chained = policy(person("operator-1", "operator", ONE), person("risk-1", "risk", TWO), person("ci", "nothing", ONE, TWO))
    for linked in (shared, chained):
        with pytest.raises(Refused, match="needs 2"):
            ask(linked, "permit", sign(BODY, ONE, TWO))


def test_the_same_secret_as_another_key_type_is_one_vote() -> None:
    """A04: an ed25519 secret registered once more as a security key is still one key."""
    raw = base64.b64decode(ONE.public_line.split()[1])[-32:]
    kind = "sk-ssh-ed25519@openssh.com"
    blob = b"".join(map(pack_string, (kind.encode(), raw, b"ssh:")))
    disguised = Person("risk-1", (f"{kind} {base64.b64encode(blob).decode()}", TWO.public_line), ("risk",))
    with pytest.raises(Refused, match="needs 2"):
        ask(policy(person("operator-1", "operator", ONE), disguised), "permit", sign(BODY, ONE, TWO))


def test_strangers_and_roles_without_the_verb() -> None:
    """An unknown key is no signature; a known one without the verb is refused; the sentinel's only reduces risk."""
    with pytest.raises(SignatureInvalid, match="no key of policy 3"):
        ask(policy(), "kill", sign(BODY, STRANGER))
    with pytest.raises(Refused, match="entitled here: nobody"):
        ask(policy(), "deploy", sign(BODY, TWO))
    guarded = policy(person("sentinel", "sentinel", ONE), person("risk-1", "risk", TWO))
    assert ask(guarded, "halt", sign(BODY, ONE)).people == ("sentinel",)
    for verb in ("permit", "resume", "deploy"):
        with pytest.raises(Refused):
            ask(guarded, verb, sign(BODY, ONE, TWO))


def test_broken_signatures() -> None:
    """Alone they fail, none at all fails, too many are not even read; beside a good one they cannot spoil a kill."""
    other = ONE.sign(b"something else", Purpose.DIRECTIVE)
    for envelope in (Envelope.of(BODY), Envelope.of(BODY, other), Envelope.of(BODY, "junk"), Envelope("?", (Signature(other),))):
        with pytest.raises(SignatureInvalid):
            ask(policy(), "kill", envelope)
    assert ask(policy(), "kill", Envelope.of(BODY, "junk", TWO.sign(BODY, Purpose.DIRECTIVE))).people == ("risk-1",)
    with pytest.raises(SignatureInvalid, match="at most"):
        ask(policy(), "kill", sign(BODY, *[ONE] * 17))
    with pytest.raises(SignatureInvalid, match="not for"):
        ask(policy(), "kill", sign(BODY, ONE, purpose=Purpose.APPROVAL))


def test_an_unreadable_key_in_a_stored_policy_stops_nobody_else() -> None:
    """A key type of a later version beside a good key does not stop a kill."""
    later = Person("operator-1", ("ssh-later AAAA", ONE.public_line), ("operator",))
    assert ask(policy(later), "kill", sign(BODY, ONE)).people == ("operator-1",)


def test_a_run_key_speaks_for_who_lent_it() -> None:
    """Within its run, hosts, verbs and time; it names the run and the person."""
    assert ask(policy(), "lease", sign(BODY, RUN, lent=lend(ONE))) == Entitlement(("operator-1",), "run-1")
    assert ask(policy(), "halt", sign(BODY, RUN, lent=lend(ONE)), now_ns=None, host=None).run == "run-1"
    assert ask(policy(), "lease", sign(BODY, RUN, lent=lend(ONE, expires_ns=1)), now_ns=None).run == "run-1"


@pytest.mark.parametrize(
    ("verb", "lent", "host"),
    [
        ("resume", lend(ONE), "host-1"),
        ("lease", lend(ONE), "host-2"),
        ("lease", lend(ONE, expires_ns=NOW), "host-1"),
        ("lease", lend(ONE, fleet="other"), "host-1"),
        ("lease", lend(TWO), "host-1"),
        ("lease", lend(STRANGER), "host-1"),
        ("lease", lend(ONE, key=STRANGER.public_line), "host-1"),
        ("lease", sign(b"{}", ONE, purpose=Purpose.DELEGATION), "host-1"),
        ("permit", lend(ONE, TWO, verbs=("permit",)), "host-1"),
        ("policy", lend(ONE, verbs=("policy",)), "host-1"),
        ("lease", sign(BODY, RUN, purpose=Purpose.DELEGATION, lent=lend(ONE)), "host-1"),
    ],
)
def test_a_run_key_cannot_go_beyond_what_it_was_lent(verb: str, lent: Envelope, host: str) -> None:
    """Other verb, host, time, fleet, lender, key, a permit, a policy, a delegation of a delegation: refused."""
    with pytest.raises((Refused, UsageError)):
        ask(policy(), verb, sign(BODY, RUN, lent=lent), host=host)


def test_a_person_beside_a_delegation_does_not_replace_the_run_key() -> None:
    """The lender's own signature over the body is not the run key's."""
    with pytest.raises(SignatureInvalid, match="run run-1"):
        ask(policy(), "lease", sign(BODY, ONE, lent=lend(ONE)))


def test_a_raised_threshold_binds_run_keys_too() -> None:
    """Two must sign where the policy says two: a key lent by one does not carry it."""
    with pytest.raises(Refused, match="speaks for 1"):
        ask(policy(thresholds={"lease": 2}), "lease", sign(BODY, RUN, lent=lend(ONE)))


def signed_policy(document: Policy, *keys: RunKey) -> Envelope:
    return sign(encode(document), *keys, purpose=Purpose.POLICY)


def test_policies_follow_each_other() -> None:
    """The first is signed by its own people, the next as the current one says, and its number rises."""
    first = open_policy(signed_policy(policy(), ONE), None)
    successor = policy(person("operator-2", "operator", STRANGER), number=4)
    assert open_policy(signed_policy(successor, ONE), first).number == 4
    assert stored_policy(signed_policy(successor)) == successor
    for envelope, current in (
        (signed_policy(successor, STRANGER), first),
        (signed_policy(policy(), STRANGER), None),
        (signed_policy(policy(), TWO), None),
        (signed_policy(policy(), ONE), first),
        (signed_policy(policy(number=4, fleet="other"), ONE), first),
    ):
        with pytest.raises(Refused):
            open_policy(envelope, current)


def test_unsound_policies_are_refused() -> None:
    """Nobody could change it again, a name twice, an unreadable key, an undefined role, another schema, not JSON."""
    first = policy()
    for unsound in (
        policy(person("risk-1", "risk", TWO), number=4),
        policy(thresholds={"policy": 2}, number=4),
        policy(person("operator-1", "operator", ONE), person("operator-1", "risk", TWO), number=4),
        policy(Person("operator-1", ("junk",), ("operator",)), number=4),
        policy(person("operator-1", "operator", ONE), person("risk-1", "unheard-of", TWO), number=4),
        policy(schema="tradeops/policy/v9", number=4),
    ):
        with pytest.raises(Refused):
            open_policy(signed_policy(unsound, ONE), first)
    with pytest.raises(UsageError):
        open_policy(sign(b"[]", ONE, purpose=Purpose.POLICY), first)
