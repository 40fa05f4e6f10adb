"""Simulated proxies: fleet.ports.Traffic over a truth that tests can ask, with faults that make one lie or vanish."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from tradeops.base.clock import Clock
from tradeops.base.errors import OutcomeUnknown, PreflightFailed, Unreachable
from tradeops.fleet.share import Mode, Share, weight_of

LATENCY_S = 0.002
SESSIONS = 2


@dataclass
class SimProxy:
    """One proxy's own truth. faults: gone, lying (says yes and does nothing), sticky (connections never end), sick (finds hosts down)."""

    name: str
    shares: dict[str, Share]
    faults: set[str] = field(default_factory=set)


class SimTraffic:
    """fleet.ports.Traffic. A drained host's connections end at once; others have a few."""

    def __init__(self, hosts: Iterable[str], clock: Clock, *, proxies: int = 2, full: int = 100) -> None:
        names = tuple(hosts)
        self.proxies = [
            SimProxy(f"proxy-{n}", {host: Share(f"proxy-{n}", host, Mode.READY, full, full, True, SESSIONS) for host in names})
            for n in range(1, proxies + 1)
        ]
        self._clock = clock

    def read(self, hosts: Sequence[str]) -> tuple[Share, ...]:
        return tuple(share for proxy in self.proxies for share in self._read(proxy, hosts))

    def drain(self, hosts: Sequence[str]) -> None:
        self._change(hosts, lambda share: replace(share, mode=Mode.DRAIN, sessions=0))

    def ready(self, hosts: Sequence[str]) -> None:
        self._change(hosts, lambda share: replace(share, mode=Mode.READY, sessions=SESSIONS))

    def weigh(self, hosts: Sequence[str], percent: int) -> None:
        def lighter(share: Share) -> Share:
            try:
                return replace(share, weight=weight_of(share.full, percent))
            except ValueError as error:
                raise PreflightFailed(str(error), where=share.proxy) from None

        self._change(hosts, lighter)

    def _read(self, proxy: SimProxy, hosts: Sequence[str]) -> Iterable[Share]:
        self._clock.sleep_s(LATENCY_S)
        if "gone" in proxy.faults:
            raise Unreachable("the proxy cannot be reached", where=proxy.name)
        if strange := [host for host in hosts if host not in proxy.shares]:
            raise PreflightFailed(f"has no server for {strange[0]}", where=proxy.name)
        sick = "sick" in proxy.faults
        return [replace(proxy.shares[host], up=proxy.shares[host].up and not sick) for host in hosts]

    def _change(self, hosts: Sequence[str], become: Callable[[Share], Share]) -> None:
        self.read(hosts)
        for proxy in self.proxies:
            for host in hosts:
                before = proxy.shares[host]
                if before.mode is Mode.MAINT:
                    continue
                after = become(before)
                if "sticky" in proxy.faults:
                    after = replace(after, sessions=before.sessions)
                if "lying" not in proxy.faults:
                    proxy.shares[host] = after
                if (proxy.shares[host].mode, proxy.shares[host].weight) != (after.mode, after.weight):
                    raise OutcomeUnknown(f"{host} is {before.mode}", where=proxy.name)
