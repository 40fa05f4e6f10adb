"""Stopping orders out of band: a cancel-only session of its own, and what became of every order (K08)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tradeops.base.clock import Clock
from tradeops.contracts.directive import OrderOutcomes
from tradeops.wire.errors import SessionLost, VenueError
from tradeops.wire.protocol import CancelAll, CancelAllDone, DropReport, ExecKind, Notice, OrderStatus, QueryOrder, Role, WorkingOrder
from tradeops.wire.session import Opened, OrderSession, SessionConfig


class OutOfBand:
    """A session that can cancel and ask, and nothing else: the guard's, or the operator's for a host beyond reach."""

    def __init__(self, config: SessionConfig, clock: Clock) -> None:
        self._session = OrderSession(replace(config, role=Role.CANCEL_ONLY, cancel_on_disconnect=False), clock)
        self._clock = clock
        self._ids = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[CancelAllDone | OrderStatus]] = {}
        self._reader: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether a cancel can be sent now."""
        return self._session.is_open and self._reader is not None and not self._reader.done()

    async def connect(self) -> Opened:
        """Log on. Raises VenueUnreachable, LogonRejected, SessionLost."""
        await self.close()
        opened = await self._session.connect()
        self._reader = asyncio.create_task(self._read(), name=f"out-of-band {self._session.config.session}")
        return opened

    async def cancel_all(
        self,
        *,
        account: str = "",
        symbols: tuple[str, ...] = (),
        strategies: tuple[str, ...] = (),
        hosts: tuple[str, ...] = (),
        timeout_s: float,
    ) -> CancelAllDone:
        """Cancel what every non-empty list names and wait for the venue's word; the drop copy tells whether it is true.

        Raises SessionLost when no answer came in time: unknown, ask the drop copy; safe to repeat.
        """
        request = CancelAll(request_id=self._id(), account=account, symbols=symbols, strategies=strategies, hosts=hosts)
        answer = await self._ask(request, timeout_s)
        if not isinstance(answer, CancelAllDone):
            raise SessionLost(f"{type(answer).__name__} came instead of the end of a cancel-all", where=self._session.config.session)
        return answer

    async def query(self, client_id: str, *, timeout_s: float) -> OrderStatus:
        """Where an order of this account stands. Raises SessionLost when no answer came in time."""
        answer = await self._ask(QueryOrder(request_id=self._id(), client_id=client_id), timeout_s)
        if not isinstance(answer, OrderStatus):
            raise SessionLost(f"{type(answer).__name__} came instead of an order status", where=self._session.config.session)
        return answer

    async def close(self) -> None:
        """Leave. Never raises."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        await self._session.close()
        self._fail(SessionLost("closed while waiting", where=self._session.config.session))

    def _id(self) -> str:
        return f"r{self._clock.wall_ns()}-{next(self._ids)}"

    async def _ask(self, request: CancelAll | QueryOrder, timeout_s: float) -> CancelAllDone | OrderStatus:
        waiting: asyncio.Future[CancelAllDone | OrderStatus] = asyncio.get_running_loop().create_future()
        self._waiting[request.request_id] = waiting
        try:
            if not self.is_open:
                raise SessionLost("not connected", where=self._session.config.session)
            self._session.send(request)
            async with asyncio.timeout(timeout_s):
                return await waiting
        except TimeoutError:
            raise SessionLost(
                f"no answer within {timeout_s} s", where=self._session.config.session, holds="it may or may not be done"
            ) from None
        finally:
            self._waiting.pop(request.request_id, None)

    async def _read(self) -> None:
        try:
            while True:
                _, message = await self._session.receive()
                if isinstance(message, Notice):
                    self._fail(SessionLost(f"refused: {message.code.value} {message.text}".strip(), where=self._session.config.session))
                if isinstance(message, CancelAllDone | OrderStatus):
                    waiting = self._waiting.get(message.request_id)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(message)
        except VenueError as error:
            self._fail(error)
        finally:
            await self._session.close()

    def _fail(self, error: VenueError) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(error)


@dataclass(frozen=True)
class CancelOutcome:
    """What became of the orders that worked when the cancel began, by venue id. unknown: still working, or not known."""

    cancelled: tuple[str, ...]
    filled: tuple[str, ...]
    rejected: tuple[str, ...]
    unknown: tuple[str, ...]

    def counts(self) -> OrderOutcomes:
        """The numbers alone, for a guard's reply."""
        return OrderOutcomes(len(self.cancelled), len(self.filled), len(self.rejected), len(self.unknown))


def outcomes(
    before: Iterable[WorkingOrder],
    working_now: Mapping[str, WorkingOrder] | None,
    reports: Iterable[DropReport],
    refused: Iterable[str] = (),
) -> CancelOutcome:
    """Sort the orders of `before`, by what the drop copy says and never by what the cancel's answer claims.

    working_now: the drop copy's view after the cancel, None when there is none (then no order without an end is known).
    refused: client ids that the venue would not cancel: rejected, and still working.
    """
    ends = {report.report.venue_id: report.report for report in reports if report.report.kind in (ExecKind.CANCELLED, ExecKind.FILL)}
    refused_ids = frozenset(refused)
    sorted_ids: dict[str, list[str]] = {"cancelled": [], "filled": [], "rejected": [], "unknown": []}
    for order in before:
        end = ends.get(order.venue_id)
        if end is not None and (working_now is None or order.venue_id not in working_now):
            kind = "filled" if end.kind is ExecKind.FILL else "cancelled"
        else:
            kind = "rejected" if order.client_id in refused_ids else "unknown"
        sorted_ids[kind].append(order.venue_id)
    return CancelOutcome(**{kind: tuple(ids) for kind, ids in sorted_ids.items()})
