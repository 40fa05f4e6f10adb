"""Hosts that keep leases as agents do, in memory: a real implementation of the session's port, for the logic of runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.base.errors import LockHeld, TradeopsError
from tradeops.contracts.agent import PROTOCOL, AgentVerb, Hello


@dataclass
class LeaseHost:
    """One host. trouble: verb -> what to raise instead of answering.  log: shared by all hosts, in order."""

    name: str
    clock: Clock
    log: list[tuple[str, str]]
    trouble: dict[str, TradeopsError] = field(default_factory=dict)
    fence: int = 3
    run: str | None = None
    ends_ns: int = 0

    @property
    def hello(self) -> Hello:
        """As an agent's."""
        return Hello(PROTOCOL, self.name, "test-fleet", "sha256:p", "00ff", self.fence)

    @hello.setter
    def hello(self, _value: Hello) -> None:
        raise AttributeError("an agent says hello once")

    def call(self, verb: AgentVerb, *, run: str | None = None, fence: int | None = None, timeout_s: float, **args: Any) -> dict[str, Any]:
        """lock, renew, unlock."""
        self.log.append((self.name, verb.value))
        if verb.value in self.trouble:
            raise self.trouble[verb.value]
        if verb == AgentVerb.LOCK:
            self._lock(run, bool(args["takeover"]), args["ttl_s"])
        elif fence != self.fence or self.run != run or self.clock.monotonic_ns() >= self.ends_ns:
            raise LockHeld(f"fence {fence} is below {self.fence}", where=self.name)
        elif verb == AgentVerb.RENEW:
            self.ends_ns = self.clock.monotonic_ns() + int(args["ttl_s"] * NS_PER_S)
        else:
            self.run = None
            return {}
        return {"run": run, "owner": args.get("owner", ""), "reason": "", "fence": self.fence, "expires_in_s": args["ttl_s"]}

    def stream(
        self,
        verb: AgentVerb,
        body: Iterable[bytes],
        total_bytes: int,
        *,
        run: str | None = None,
        fence: int | None = None,
        timeout_s: float,
        **args: Any,
    ) -> dict[str, Any]:
        """Takes everything."""
        return {"stored": sum(map(len, body))}

    def close(self) -> None:
        """The lease stays, as on a real host."""

    def _lock(self, run: str | None, takeover: bool, ttl_s: float) -> None:
        live = self.run is not None and self.clock.monotonic_ns() < self.ends_ns
        if live and not (takeover and self.run == run):
            raise LockHeld(f"held by operator-2 for run {self.run} (release 7), 12 s left", where=self.name)
        self.run, self.fence = run, self.fence + 1
        self.ends_ns = self.clock.monotonic_ns() + int(ttl_s * NS_PER_S)
