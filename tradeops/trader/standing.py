"""May this trader trade, by itself? Its own reasons not to, beside what the stop page says."""

from __future__ import annotations

import logging

from tradeops.base.logs import event
from tradeops.trader.gate.verdict import Cause, Level, Verdict

_LOG = logging.getLogger("trader")


class Standing:
    """Own reasons to be halted, by name; they stay until the process is replaced or the cause is withdrawn."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.stopping = False
        self.standby = False
        self.started = False
        self.recovered = False

    def halt(self, name: str, text: str) -> None:
        """Be halted for this reason; said once."""
        if name not in self.reasons:
            event(_LOG, logging.ERROR, "halted", reason=name, detail=text)
        self.reasons[name] = text

    def withdraw(self, name: str) -> None:
        """This reason is gone."""
        if self.reasons.pop(name, None) is not None:
            event(_LOG, logging.INFO, "reason_withdrawn", reason=name)

    def stand_by(self) -> None:
        """Not the host's writer any more: what a session told counts no longer."""
        self.standby, self.started, self.recovered = True, False, False

    def shadows(self, verdict: Verdict) -> bool:
        """Whether a standby decides beside the slot that trades, which the page lets send."""
        beside = verdict.cause is Cause.STANDBY and verdict.words is not None and bool(verdict.words.token.slot)
        return self.standby and beside and not self.reasons and not self.stopping

    def level(self, verdict: Verdict) -> Level:
        """What holds, all taken together."""
        return Level.HALTED if self.reasons or self.stopping else verdict.level

    def state(self, verdict: Verdict) -> str:
        """The word for it in the vitals."""
        if self.stopping:
            return "stopping"
        if self.standby:
            return "standby"
        if not self.started:
            return "starting"
        if not self.recovered:
            return "recovering"
        return "ready" if self.level(verdict) is Level.OPEN else "halted"

    def may_place(self, verdict: Verdict) -> bool:
        """Whether new orders may be thought of at all."""
        return self.recovered and not self.standby and self.level(verdict) is Level.OPEN
