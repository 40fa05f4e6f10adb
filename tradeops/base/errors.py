"""The one tree of errors: each class carries its exit code, each instance says what, where, what holds, what next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """What the command line ends with; stable, documented in the README, tested."""

    PROVED = 0
    INTERNAL = 1
    USAGE = 2
    PREFLIGHT = 3
    ROLLED_BACK = 4
    INCONCLUSIVE = 5
    MIXED = 6
    LOCKED = 7
    KILL_INCOMPLETE = 8
    REFUSED = 9
    DRIFT = 10
    BROUGHT_BACK = 11
    KILLED = 12
    INTERRUPTED = 130


class TradeopsError(Exception):
    """Base of every error a person sees.

    what: what happened, in one sentence.  where: the host, file or peer.
    holds: what is still true.  next: what to do now.  code: the short reason a remote side gave, where it gave one.
    steps: what had ended on which host before it, for the reports that CI gets.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL
    runbook: ClassVar[str | None] = None
    code: str | None = None
    steps: Sequence[Mapping[str, Any]] = ()

    def __init__(self, what: str, *, where: str | None = None, holds: str | None = None, next: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.holds = holds
        self.next = next

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class UsageError(TradeopsError):
    """The command or its input is wrong; nothing was done."""

    exit_code = ExitCode.USAGE


class ConfigError(UsageError):
    """A file that a person wrote is wrong; `where` is file:line and key path."""


class PreflightFailed(TradeopsError):
    """A host was not ready; nothing was touched."""

    exit_code = ExitCode.PREFLIGHT
    runbook = "preflight-failed"


class Unreachable(PreflightFailed):
    """A host did not answer: refused, timed out, or hung."""

    runbook = "host-unreachable"


class HostKeyMismatch(Unreachable):
    """A host showed another key than the pinned one; never connected to."""

    runbook = "host-key-changed"


class GateFailed(TradeopsError):
    """A gate failed and the fleet is proved on the old release."""

    exit_code = ExitCode.ROLLED_BACK
    runbook = "gate-failed"


class Inconclusive(TradeopsError):
    """No verdict could be reached; the run is held."""

    exit_code = ExitCode.INCONCLUSIVE
    runbook = "run-held"


class MixedFleet(TradeopsError):
    """Hosts differ, or the state of one is not known."""

    exit_code = ExitCode.MIXED
    runbook = "mixed-fleet"


class OutcomeUnknown(MixedFleet):
    """A remote act was sent and no answer came: it may or may not have happened."""


class LockHeld(TradeopsError):
    """Another run holds the lock of a host."""

    exit_code = ExitCode.LOCKED
    runbook = "lock-held"


class KillIncomplete(TradeopsError):
    """At least one host is not confirmed blocked and clear."""

    exit_code = ExitCode.KILL_INCOMPLETE
    runbook = "kill"


class Refused(TradeopsError):
    """Policy says no: signature, approval, flag, rollback guard, roster."""

    exit_code = ExitCode.REFUSED
    runbook = "refused"


class SignatureInvalid(Refused):
    """A signature is missing, broken, by another key, or for another purpose."""


class FlagConflict(Refused):
    """Going back would change what a live flag or config means (D13), or turn a flag on (D06)."""

    runbook = "rollback-refused"


class Drift(TradeopsError):
    """A host runs something else than what was asked for."""

    exit_code = ExitCode.DRIFT
    runbook = "drift"


class BroughtBack(TradeopsError):
    """The run failed; the fleet is proved on the old release."""

    exit_code = ExitCode.BROUGHT_BACK
    runbook = "brought-back"


class StoppedByKill(TradeopsError):
    """A kill arrived while the command ran."""

    exit_code = ExitCode.KILLED
    runbook = "kill"


class Interrupted(TradeopsError):
    """A person or the system stopped the command; the run can be taken up again."""

    exit_code = ExitCode.INTERRUPTED
    runbook: ClassVar[str | None] = "run-interrupted"


class WatchEnded(Interrupted):
    """A person has seen enough: nothing was going on that could be taken up again."""

    runbook = None
