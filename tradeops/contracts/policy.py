"""Who may do what: people, their keys, roles, and how many distinct people a verb needs. Signed and numbered."""

from __future__ import annotations

import msgspec

SCHEMA = "tradeops/policy/v1"

THRESHOLD_FLOOR = {"permit": 2, "flatten": 2}
"""What no policy can lower (promise 4)."""

VERBS = (
    "kill",
    "halt",
    "resume",
    "permit",
    "standby",
    "activate",
    "overlay",
    "hold",
    "deploy",
    "release",
    "binding",
    "policy",
    "roster",
    "platform",
    "approve",
    "exclude",
)

DUTIES = ("author", "approver", "executor")
"""Who signed a release, who approves a plan for it, who runs that."""


class Person(msgspec.Struct, frozen=True):
    """One human being or job; `keys` are OpenSSH public key lines (`type base64`, comment ignored)."""

    name: str
    keys: tuple[str, ...]
    roles: tuple[str, ...]


class Policy(msgspec.Struct, frozen=True):
    """The document; version n + 1 is signed as version n says.

    thresholds: of `approve`, how many approvals every plan needs at least.  hosts_min: of a run that leaves hosts out, 0: more
    than half.  apart: the duties that nobody has beside another of them in a deploy that needs approvals; who approves never
    runs it (D15).
    """

    schema: str
    fleet: str
    number: int
    people: tuple[Person, ...]
    roles: dict[str, tuple[str, ...]]
    thresholds: dict[str, int] = {}
    hosts_min: int = 0
    apart: tuple[str, ...] = DUTIES

    def parts(self, one: str, other: str) -> bool:
        """Whether these two duties need two people."""
        return {one, other} <= {*self.apart} or {one, other} == {"approver", "executor"}

    def least(self, declared: int) -> int:
        """How many of `declared` hosts a run must be for: at least one."""
        return max(1, self.hosts_min or declared // 2 + 1)

    def threshold(self, verb: str) -> int:
        """How many distinct people with distinct keys `verb` needs: at least one, at least the floor."""
        return max(1, THRESHOLD_FLOOR.get(verb, 1), self.thresholds.get(verb, 1))
