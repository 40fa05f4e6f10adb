"""The roster and the policy of this host: replaced only by a higher number, signed as the policy in force says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import verify
from .errors import OLDER, SIGNATURE, AgentError
from .facts import number_in
from .files import canonical, flocked, parse_object, read_object, write_atomic
from .hostfile import Context

_WAIT_S = 5.0


def roster(context: Context) -> dict[str, Any] | None:
    """The roster that this host keeps, with its signatures; None before the first. Raises AgentError, OSError."""
    return read_object(context.layout.roster_file)


def set_roster(context: Context, envelope: dict[str, Any]) -> dict[str, Any]:
    """Keep a roster that is not older. Raises AgentError (signature, older), OSError."""
    verify.entitled(verify.host_policy(context), "roster", envelope, verify.ROSTER)
    return _store(context, context.layout.roster_file, envelope, "roster")


def set_policy(context: Context, envelope: dict[str, Any]) -> dict[str, Any]:
    """Keep a policy that is newer and signed as the current one says. Raises AgentError (signature, older), OSError."""
    verify.entitled(verify.host_policy(context), "policy", envelope, verify.POLICY)
    new = verify.parse_policy(verify.body_of(envelope))
    able = [person for person in new.people if person.keys and new.may(person, "policy")]
    if len(able) < new.threshold("policy"):
        raise AgentError(SIGNATURE, "nobody could change this policy again", next="grant `policy` to enough people with keys of their own")
    return _store(context, context.layout.policy_file, envelope, "policy")


def _store(context: Context, path: Path, envelope: dict[str, Any], kind: str) -> dict[str, Any]:
    """The same number is taken again only when it is the same document."""
    body = parse_object(verify.body_of(envelope), f"the {kind}")
    number = body.get("number")
    if body.get("fleet") != context.host.fleet or not isinstance(number, int):
        raise AgentError(SIGNATURE, f"the {kind} is for fleet {body.get('fleet')!r}, this host is of {context.host.fleet!r}")
    with flocked(context.layout.agent_state / "documents.flock", context.clock, _WAIT_S):
        kept = number_in(path)
        if number == kept and (old := read_object(path)) and old.get("payload") == envelope.get("payload"):
            return {"number": number}
        if number <= kept:
            raise AgentError(
                OLDER,
                f"{kind} {number} is not newer than {kept}, which this host has",
                next=f"fetch {kind} {kept} and start from it",
                detail={"number": kept},
            )
        write_atomic(path, canonical(envelope), 0o644)
    return {"number": number}
