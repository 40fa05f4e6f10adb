"""A phase on those hosts for which it comes true: one host's failure does not keep the others from being brought back."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tradeops.base.errors import TradeopsError
from tradeops.deploy.crew import PhaseFailed


def attempt(left: dict[str, TradeopsError], phase: Callable[[Sequence[str]], None], names: Sequence[str]) -> list[str]:
    """Run a phase on `names` without those that fail; they are noted in `left`. Returns those that came true."""
    pending = list(names)
    while pending:
        try:
            phase(pending)
        except PhaseFailed as failed:
            left.update(failed.failures)
            still = [name for name in pending if name not in failed.failures]
            if len(still) == len(pending):
                raise
            pending = still
        else:
            break
    return pending
