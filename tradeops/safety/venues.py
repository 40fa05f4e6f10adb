"""The road that ends at the venue: from the operator's own sessions, for hosts that cannot be reached or confirmed (K04)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tradeops.base.clock import Clock
from tradeops.base.errors import TradeopsError
from tradeops.contracts.binding import Binding, Venue
from tradeops.contracts.directive import Scope
from tradeops.safety.kill import Swept
from tradeops.wire.cancel import OutOfBand
from tradeops.wire.dropcopy import DropCopyClient, DropCopyConfig
from tradeops.wire.link import Timeouts
from tradeops.wire.session import SessionConfig

_TIMEOUTS = Timeouts(connect_s=2.0, logon_s=2.0, beat_s=0.5, silence_s=2.0)
_ANSWER_S = 2.0
HOST_S = 6.0


@dataclass(frozen=True)
class Sweep:
    """bindings: by host.  secret: the value behind a secret's name on this machine, None: not here.  session: a name of its own."""

    bindings: Mapping[str, Binding]
    secret: Callable[[str], bytes | None]
    session: str
    scope: Scope
    clock: Clock

    def run(self, hosts: Sequence[str], limit_s: float) -> list[Swept]:
        """Cancel what these hosts have working, then ask the drop copies what is left. Never raises for one host's sake.

        limit_s: at most, for all of it; one host's venues are waited for no longer than HOST_S.
        """
        host_s = min(HOST_S, limit_s)
        return asyncio.run(self._all([host for host in hosts if host in self.bindings], host_s))

    async def _all(self, hosts: Sequence[str], host_s: float) -> list[Swept]:
        return list(await asyncio.gather(*(self._host(host, host_s) for host in hosts)))

    async def _host(self, host: str, host_s: float) -> Swept:
        try:
            async with asyncio.timeout(host_s):
                left = [await self._venue(host, venue) for venue in self.bindings[host].venues if self._meant(venue)]
        except TimeoutError:
            return Swept(host, None, f"a venue did not tell what works within {host_s:g} s")
        except TradeopsError as error:
            return Swept(host, None, str(error))
        return Swept(host, sum(left))

    def _meant(self, venue: Venue) -> bool:
        return not self.scope.venues or venue.name in self.scope.venues

    async def _venue(self, host: str, venue: Venue) -> int:
        secret = self.secret(venue.secret) if venue.secret else None
        name = f"{self.session}-{host}"
        out_of_band = OutOfBand(SessionConfig(venue.order_entry, name, venue.account, secret, timeouts=_TIMEOUTS), self.clock)
        drop_copy = DropCopyClient(DropCopyConfig(venue.drop_copy, f"{name}-drop", venue.account, (), secret, _TIMEOUTS), self.clock)
        try:
            await out_of_band.connect()
            scope = self.scope
            await out_of_band.cancel_all(symbols=scope.symbols, strategies=scope.strategies, hosts=(host,), timeout_s=_ANSWER_S)
            await drop_copy.connect()
            while (orders := drop_copy.working_orders(scope, venue=venue.name, hosts=(host,))) is None:
                await drop_copy.receive()
            return len(orders)
        finally:
            await out_of_band.close()
            await drop_copy.close()


def secret_here(name: str) -> bytes | None:
    """The value behind a secret's name on the operator's machine: TRADEOPS_SECRET_NAME of the environment."""
    value = os.environ.get("TRADEOPS_SECRET_" + "".join(sign if sign.isalnum() else "_" for sign in name).upper())
    return value.encode() if value else None
