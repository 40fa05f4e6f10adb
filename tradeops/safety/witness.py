"""Heads of the audit chain left with every host, and asked back: who rewrites the log cannot rewrite them too (A02)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tradeops.base.errors import TradeopsError
from tradeops.contracts.agent import AgentVerb, Witness
from tradeops.contracts.codec import convert
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import errors, values
from tradeops.fleet.ports import Agents, FanOut


class Heads(msgspec.Struct, frozen=True):
    """The agent's answer to `witness {read}`."""

    heads: tuple[Witness, ...] = ()


class HostWitnesses:
    """The hosts as witnesses. timeout_s: of each connect and answer."""

    def __init__(self, hosts: Sequence[Host], agents: Agents, fan_out: FanOut, *, timeout_s: float) -> None:
        self._hosts = hosts
        self._agents = agents
        self._fan_out = fan_out
        self._timeout_s = timeout_s

    def heads(self) -> Mapping[str, Sequence[Witness]]:
        """What each host that answers keeps."""

        def read(host: Host) -> tuple[Witness, ...]:
            session = self._agents.open(host, timeout_s=self._timeout_s)
            try:
                return convert(session.call(AgentVerb.WITNESS, timeout_s=self._timeout_s, read=True), Heads).heads
            finally:
                session.close()

        return values(self._fan_out.run(self._hosts, read, deadline_s=self._timeout_s * 2))

    def leave(self, head: tuple[str, int, str]) -> dict[str, TradeopsError]:
        """Leave (chain, number, hash) with every host; those that did not take it, and why."""
        chain, seq, digest = head

        def leave(host: Host) -> None:
            session = self._agents.open(host, timeout_s=self._timeout_s)
            try:
                session.call(AgentVerb.WITNESS, timeout_s=self._timeout_s, chain=chain, seq=seq, head=digest)
            finally:
                session.close()

        return errors(self._fan_out.run(self._hosts, leave, deadline_s=self._timeout_s * 2))
