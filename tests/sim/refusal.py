"""The agent's error codes as the operator's errors, until the real mapping is there."""

from __future__ import annotations

from tradeops.base.errors import LockHeld, Refused, TradeopsError
from tradeops.contracts.agent import Code

_KINDS = {Code.LOCKED: LockHeld, Code.FENCED: LockHeld, Code.SIGNATURE: Refused, Code.DIGEST: Refused, Code.OLDER: Refused}


def refusal(code: Code, host: str, what: str) -> TradeopsError:
    """What an AgentSession raises for an answer with this code."""
    error = _KINDS.get(code, TradeopsError)(what, where=host)
    error.code = code
    return error
