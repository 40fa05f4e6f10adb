"""Proof of an account's secret that never shows the secret: an HMAC over session, account and a time that only rises."""

from __future__ import annotations

import hashlib
import hmac


def proof(secret: bytes, *, session: str, account: str, time_ns: int) -> str:
    """Hex HMAC-SHA256 over `session`, `account` and `time_ns`, a line each."""
    text = f"{session}\n{account}\n{time_ns}"
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def proved(secret: bytes, claimed: str, *, session: str, account: str, time_ns: int) -> bool:
    """Whether `claimed` is the proof, compared in constant time. That `time_ns` rises is the venue's to check."""
    return hmac.compare_digest(proof(secret, session=session, account=account, time_ns=time_ns), claimed)
