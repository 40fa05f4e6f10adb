"""Policy and roster on a host: a higher number, signed as the one in force says."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.agenthost import FLEET, ManagedHost, envelope, plain
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.policy import Person
from tradeops.contracts.roster import SCHEMA as ROSTER_SCHEMA
from tradeops.contracts.roster import Roster


def test_a_roster_goes_up_only(managed: ManagedHost) -> None:
    """The same again is fine; a lower one, another of the same number, another fleet's, a stranger's: refused."""
    agent = managed.agent()
    assert agent.do("roster", roster=plain(managed.roster(3))) == {"number": 3}
    assert agent.do("roster", roster=plain(managed.roster(3))) == {"number": 3}
    answer = agent.ask("roster", roster=plain(managed.roster(2)))
    assert (answer["error"]["code"], answer["error"]["detail"]) == ("older", {"number": 3})
    other = msgspec.structs.replace(Roster(ROSTER_SCHEMA, "other", 9, ()))
    assert agent.code("roster", roster=plain(envelope(other, Purpose.ROSTER, managed.one))) == "signature"
    by_stranger = envelope(Roster(ROSTER_SCHEMA, FLEET, 9, ()), Purpose.ROSTER, managed.nobody)
    assert agent.code("roster", roster=plain(by_stranger)) == "signature"
    assert agent.do("facts")["roster_number"] == 3
    assert msgspec.convert(agent.do("roster", read=True)["roster"], Envelope) == managed.roster(3)


def test_a_policy_goes_up_only_and_is_signed_as_the_old_one_says(managed: ManagedHost) -> None:
    """Whoever the new policy would make entitled is not asked."""
    agent = managed.agent()
    coup = managed.policy(2, people=(Person("operator-9", (managed.nobody.public_line,), ("operator",)),))
    assert agent.code("policy", policy=plain(envelope(coup, Purpose.POLICY, managed.nobody))) == "signature"
    assert agent.code("policy", policy=plain(envelope(managed.policy(1, thresholds={"kill": 1}), Purpose.POLICY, managed.one))) == "older"
    assert agent.do("policy", policy=plain(envelope(managed.policy(2), Purpose.POLICY, managed.one))) == {"number": 2}
    nobody_left = managed.policy(3, people=())
    assert agent.code("policy", policy=plain(envelope(nobody_left, Purpose.POLICY, managed.one))) == "signature"
    assert agent.do("facts")["policy_number"] == 2


@pytest.mark.parametrize("change", [{"schema": "other"}, {"fleet": "other"}])
def test_a_policy_of_another_kind_is_refused(managed: ManagedHost, change: dict[str, str]) -> None:
    """Another schema or another fleet."""
    signed = envelope(managed.policy(2, **change), Purpose.POLICY, managed.one)
    assert managed.agent().code("policy", policy=plain(signed)) == "signature"


def test_without_a_policy_no_signature_counts(managed: ManagedHost) -> None:
    """Lost or damaged: everything signed is refused, and the facts say so."""
    managed.layout.policy_file.write_text("{")
    agent = managed.agent()
    assert agent.code("latch", directive=plain(managed.kill())) in ("internal", "signature")
    assert agent.do("facts")["policy_number"] == 0
    managed.layout.policy_file.unlink()
    assert agent.code("latch", directive=plain(managed.kill())) == "signature"


def test_keys_that_cannot_be_read_stop_nobody_elses(managed: ManagedHost) -> None:
    """A policy may name keys of a kind that this version does not know."""
    person = Person("operator-1", ("ssh-new AAAA", "rubbish", managed.one.public_line), ("operator",))
    signed = envelope(managed.policy(2, people=(person,)), Purpose.POLICY, managed.one)
    agent = managed.agent()
    agent.do("policy", policy=plain(signed))
    assert agent.do("roster", roster=plain(managed.roster(2))) == {"number": 2}
