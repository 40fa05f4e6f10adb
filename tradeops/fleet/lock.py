"""The leases of one run on its hosts: taken in one order, renewed while the run lives, given back however it ends."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.base.errors import LockHeld, TradeopsError
from tradeops.contracts.agent import AgentVerb, Lock
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.signature import Signer
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import errors
from tradeops.fleet.ports import AgentSession, FanOut

_RENEW_AFTER = 1 / 3
"""Of the lease: two renewals may fail before it ends."""


@dataclass(frozen=True)
class Claim:
    """Who locks, why, for which run, for how long; `key` is the run's, lent by `delegation`. takeover: the same run again."""

    run: str
    owner: str
    reason: str
    ttl_s: float
    delegation: Envelope
    key: Signer
    takeover: bool = False


@dataclass
class _Held:
    """One lease. since_ns: when its host last granted it, by our monotonic clock."""

    session: AgentSession
    lock: Lock
    since_ns: int
    lost: TradeopsError | None = None


class Leases:
    """The leases of a run. As a context: given back at the end, whatever the end is."""

    def __init__(self, claim: Claim, fan_out: FanOut, clock: Clock, timeout_s: float) -> None:
        self._claim = claim
        self._fan_out = fan_out
        self._clock = clock
        self._timeout_s = timeout_s
        self._guard = threading.Lock()
        self._hosts: list[Host] = []
        self._held: dict[str, _Held] = {}

    def __enter__(self) -> Leases:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.unlock()

    def take(self, host: Host, session: AgentSession) -> Lock:
        """Lock one host. Raises LockHeld (saying who, for which run, why, for how long yet), and as AgentSession.call."""
        claim = self._claim
        answer = session.call(
            AgentVerb.LOCK,
            run=claim.run,
            timeout_s=self._timeout_s,
            owner=claim.owner,
            reason=claim.reason,
            ttl_s=claim.ttl_s,
            delegation=msgspec.to_builtins(claim.delegation),
            proof=claim.key.sign(session.hello.nonce.encode(), Purpose.SESSION),
            takeover=claim.takeover,
        )
        lock = _lock_of(host.name, answer)
        self._hosts.append(host)
        self._held[host.name] = _Held(session, lock, self._clock.monotonic_ns())
        return lock

    def fence(self, host: str) -> int:
        """The fencing number of the lease on `host`."""
        return self._held[host].lock.fence

    def lost(self) -> dict[str, TradeopsError]:
        """The hosts whose lease another took, a kill fenced off, or that ran out unrenewed: nothing may be done there."""
        with self._guard:
            return {name: held.lost for name, held in self._held.items() if held.lost is not None}

    def renew_due(self) -> None:
        """Renew, side by side, each lease of which a third is gone. Never raises for a host's sake: see `lost`."""
        now_ns = self._clock.monotonic_ns()
        due_ns = self._claim.ttl_s * NS_PER_S * _RENEW_AFTER
        due = [host for host in self._hosts if self._held[host.name].lost is None and now_ns - self._held[host.name].since_ns >= due_ns]
        if due:
            failed = errors(self._fan_out.run(due, self._renew, deadline_s=self._timeout_s))
            with self._guard:
                self._note_lost(failed)

    def unlock(self) -> dict[str, TradeopsError]:
        """Give every lease back; the errors of the hosts that did not take it, whose lease ends by itself. Never raises for those."""
        hosts = [host for host in self._hosts if self._held[host.name].lost is None]
        failed = errors(self._fan_out.run(hosts, self._unlock, deadline_s=self._timeout_s)) if hosts else {}
        self._hosts.clear()
        return failed

    def _renew(self, host: Host) -> None:
        held = self._held[host.name]
        asked_ns = self._clock.monotonic_ns()
        held.session.call(AgentVerb.RENEW, run=self._claim.run, fence=held.lock.fence, timeout_s=self._timeout_s, ttl_s=self._claim.ttl_s)
        held.since_ns = asked_ns

    def _unlock(self, host: Host) -> None:
        held = self._held[host.name]
        held.session.call(AgentVerb.UNLOCK, run=self._claim.run, fence=held.lock.fence, timeout_s=self._timeout_s)

    def _note_lost(self, failed: Mapping[str, TradeopsError]) -> None:
        """A host that says no has another owner; one that does not answer is lost when its lease must have ended."""
        now_ns = self._clock.monotonic_ns()
        for name, error in failed.items():
            held = self._held[name]
            if isinstance(error, LockHeld) or now_ns - held.since_ns >= self._claim.ttl_s * NS_PER_S:
                held.lost = error


def lock_all(
    hosts: Sequence[Host],
    sessions: Mapping[str, AgentSession],
    claim: Claim,
    *,
    fan_out: FanOut,
    clock: Clock,
    timeout_s: float,
) -> Leases:
    """Lock every host, one after the other by name, so that of two runs at once the first goes through.

    Raises LockHeld, and as AgentSession.call, for the first host that is not to be had; what was taken is given back.
    """
    leases = Leases(claim, fan_out, clock, timeout_s)
    try:
        for host in sorted(hosts, key=lambda host: host.name):
            leases.take(host, sessions[host.name])
    except BaseException as error:
        left = leases.unlock()
        if isinstance(error, TradeopsError) and error.holds is None:
            kept = f"; {', '.join(left)} give theirs back when it ends" if left else ""
            error.holds = f"nothing was touched, and run {claim.run} holds no lock{kept}"
        raise
    return leases


class Renewer:
    """Renews leases in a thread of its own while its block runs."""

    def __init__(self, leases: Leases, *, every_s: float) -> None:
        self._leases = leases
        self._every_s = every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def __enter__(self) -> Renewer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            self._leases.renew_due()


def _lock_of(host: str, answer: dict[str, Any]) -> Lock:
    try:
        return msgspec.convert(answer, Lock)
    except msgspec.ValidationError as error:
        raise TradeopsError(f"its agent's answer to `lock` is not a lock: {error}", where=host) from None
