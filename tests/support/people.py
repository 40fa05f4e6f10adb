"""People with keys, a policy over them, and signed directives: for every test that needs somebody to say something."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tradeops.base.clock import NS_PER_S, Clock, SystemClock
from tradeops.contracts.codec import encode
from tradeops.contracts.directive import SCHEMA as DIRECTIVE_SCHEMA
from tradeops.contracts.directive import Delegation, Directive, Verb
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.policy import SCHEMA as POLICY_SCHEMA
from tradeops.contracts.policy import Person, Policy
from tradeops.contracts.signature import RunKey, Signer

FLEET, HOST = "test-fleet", "host-1"
ROLES = {
    "operator": (
        "deploy",
        "release",
        "binding",
        "roster",
        "platform",
        "policy",
        "kill",
        "halt",
        "resume",
        "permit",
        "overlay",
        "standby",
        "activate",
        "hold",
    ),
    "risk": ("permit", "kill", "halt", "resume", "approve"),
    "sentinel": ("kill", "halt"),
}


def signed(document: msgspec.Struct, purpose: Purpose, *signers: Signer, delegation: Envelope | None = None) -> Envelope:
    """A document in its envelope."""
    body = encode(document)
    return Envelope.of(body, *(signer.sign(body, purpose) for signer in signers), delegation=delegation)


@dataclass
class People:
    """operator and risk are people, sentinel is a job, nobody is a key that no policy names, run is a run's key."""

    operator: RunKey = field(default_factory=RunKey.generate)
    risk: RunKey = field(default_factory=RunKey.generate)
    sentinel: RunKey = field(default_factory=RunKey.generate)
    nobody: RunKey = field(default_factory=RunKey.generate)
    run: RunKey = field(default_factory=RunKey.generate)
    clock: Clock = field(default_factory=SystemClock)
    fleet: str = FLEET
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def policy(self, number: int = 1, **changes: Any) -> Policy:
        """The policy in force; `changes` replace fields."""
        people = (
            Person("operator-1", (self.operator.public_line,), ("operator",)),
            Person("risk-1", (self.risk.public_line,), ("risk",)),
            Person("sentinel", (self.sentinel.public_line,), ("sentinel",)),
        )
        return msgspec.structs.replace(Policy(POLICY_SCHEMA, self.fleet, number, people, ROLES), **changes)

    def signed_policy(self, number: int = 1, **changes: Any) -> Envelope:
        """The same, signed."""
        return signed(self.policy(number, **changes), Purpose.POLICY, self.operator)

    def directive(self, verb: Verb, **changes: Any) -> Directive:
        """For the host, issued now, good for a minute; `changes` replace fields."""
        now_ns = self.clock.wall_ns()
        plain = Directive(
            DIRECTIVE_SCHEMA, f"{verb}-{next(self._ids)}", verb, self.fleet, (HOST,), "a reason", now_ns, now_ns + 60 * NS_PER_S
        )
        return msgspec.structs.replace(plain, **changes)

    def say(self, verb: Verb, *signers: Signer, **changes: Any) -> Envelope:
        """A signed directive; by the operator unless others are named."""
        return signed(self.directive(verb, **changes), Purpose.DIRECTIVE, *(signers or (self.operator,)))

    def permit(self, *ends: str, **changes: Any) -> Envelope:
        """A permit by both people."""
        words = {"ends": ends, "args": {"cause": "looked at and repaired"}, **changes}
        return self.say(Verb.PERMIT, self.operator, self.risk, **words)

    def delegation(self, run: str = "run-1", **changes: Any) -> Envelope:
        """What a run may say for the operator on the host, for an hour."""
        now_ns = self.clock.wall_ns()
        verbs = ("deploy", "lease", "hold", "halt", "resume", "standby", "activate")
        lent = Delegation("tradeops/delegation/v1", run, self.fleet, (HOST,), verbs, self.run.public_line, now_ns, now_ns + 3600 * NS_PER_S)
        return signed(msgspec.structs.replace(lent, **changes), Purpose.DELEGATION, self.operator)

    def run_says(self, verb: Verb, *, run: str = "run-1", **changes: Any) -> Envelope:
        """A directive signed by the run's key."""
        return signed(self.directive(verb, run=run, **changes), Purpose.DIRECTIVE, self.run, delegation=self.delegation(run))
