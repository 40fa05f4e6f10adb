"""The exchange without its wires: orders, cancels and queries in, routed answers out. Pure; `now_ns` is handed in."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tradeops.venue.book import Book, BookOrder, Event, Gone, SelfTrade, Traded
from tradeops.venue.faults import FaultKind, Faults
from tradeops.venue.masscancel import permitted_accounts, selected
from tradeops.venue.orders import Record, Routed, record_of, report, status_of
from tradeops.wire.protocol import (
    CancelAll,
    CancelAllDone,
    CancelOrder,
    CancelRejected,
    ChangeOrder,
    Code,
    ExecKind,
    NewOrder,
    OrderState,
    QueryOrder,
    Side,
    Tif,
)

MAKERS = ""
TAKERS = " "
"""Owners of the house's orders, which no member can be: they have no record and get no report, and trade with each other."""


@dataclass(frozen=True)
class Symbol:
    """What trades, in 1e-9 units."""

    name: str
    tick: int
    lot: int
    price: int


class Print(NamedTuple):
    """A trade for the tape. side: the aggressor's."""

    symbol: str
    price: int
    qty: int
    side: Side
    now_ns: int


class Exchange:
    """Books, order records and the rules of entry. Everything that happened comes out as Routed messages."""

    def __init__(
        self, symbols: Iterable[Symbol], *, faults: Faults, self_trade: SelfTrade = SelfTrade.CANCEL_INCOMING, orders_max: int = 1_000_000
    ) -> None:
        self.symbols: Mapping[str, Symbol] = {symbol.name: symbol for symbol in symbols}
        self.books: Mapping[str, Book] = {name: Book(self_trade) for name in self.symbols}
        self.records: dict[int, Record] = {}
        self.working: dict[int, Record] = {}
        self.on_print: Callable[[Print], None] | None = None
        self._faults = faults
        self._by_client_id: dict[tuple[str, str], Record] = {}
        self._order_ids = itertools.count(1)
        self._trade_ids = itertools.count(1)
        self._orders_max = orders_max

    # -- members' orders ---------------------------------------------------------------------------------------------

    def new(self, account: str, session: str, order: NewOrder, now_ns: int) -> list[Routed]:
        """Take in an order."""
        record = record_of(next(self._order_ids), account, session, order, now_ns)
        if (account, order.client_id) in self._by_client_id:
            return [self._rejected(record, Code.DUPLICATE_CLIENT_ID, f"client id {order.client_id} was used before")]
        if len(self.records) >= self._orders_max:
            return [self._rejected(record, Code.REFUSED, f"{self._orders_max} orders are on record: the venue is full")]
        code, text = self._entry_problem(account, order)
        self._by_client_id[account, order.client_id] = record
        self.records[record.order_id] = record
        if code is not Code.NONE:
            return [self._rejected(record, code, text)]
        resting = BookOrder(record.order_id, account, order.side, order.price, order.qty)
        events = self.books[order.symbol].submit(resting, ioc=order.tif is Tif.IOC, post_only=order.post_only)
        if events and isinstance(events[0], Gone) and events[0].code is Code.WOULD_TRADE:
            return [self._rejected(record, Code.WOULD_TRADE, "post-only order would trade")]
        self.working[record.order_id] = record
        return [report(record, ExecKind.NEW), *self._applied(order.symbol, events, now_ns)]

    def change(self, account: str, session: str, order: ChangeOrder, now_ns: int) -> list[Routed]:
        """Change a working order."""
        record = self._by_client_id.get((account, order.orig_client_id))
        code = self._change_problem(account, record, order)
        if record is None or code is not Code.NONE:
            return [Routed(account, session, CancelRejected(client_id=order.client_id, orig_client_id=order.orig_client_id, code=code))]
        self._by_client_id[account, order.client_id] = record
        record.client_id, record.qty, record.price = order.client_id, order.qty, order.price
        record.tags, record.session, record.updated_ns = order.tags, session, now_ns
        record.leaves_qty = max(0, order.qty - record.cumulative_qty)
        changed = report(record, ExecKind.CHANGED, orig_client_id=order.orig_client_id)
        events = self.books[record.symbol].change(record.order_id, leaves=record.leaves_qty, price=order.price)
        return [changed, *self._applied(record.symbol, events, now_ns)]

    def cancel(self, account: str, session: str, order: CancelOrder, now_ns: int) -> list[Routed]:
        """Cancel one working order."""
        record = self._by_client_id.get((account, order.orig_client_id))
        problem, text = self._cancel_problem(record)
        if record is None or problem is not Code.NONE:
            message = CancelRejected(client_id=order.client_id, orig_client_id=order.orig_client_id, code=problem, text=text)
            return [Routed(account, session, message)]
        return [] if self._cancel_lost(record) else self._cancelled(record, Code.REQUESTED, now_ns, request_id=order.client_id)

    def cancel_all(self, account: str, session: str, oversees: Collection[str], request: CancelAll, now_ns: int) -> list[Routed]:
        """Cancel all that the request names; the last answer is the CancelAllDone."""
        accounts = permitted_accounts(account, oversees, request.account)
        if accounts is None:
            text = f"account {account} does not oversee {request.account}"
            return [Routed(account, session, CancelAllDone(request_id=request.request_id, cancelled=0, code=Code.NOT_ALLOWED, text=text))]
        routed: list[Routed] = []
        refused: list[str] = []
        cancelled, refusal = 0, ""
        for record in selected(list(self.working.values()), request, accounts):
            problem, text = self._cancel_problem(record)
            if problem is not Code.NONE:
                refused.append(record.client_id)
                refusal = text
            elif not self._cancel_lost(record):
                routed += self._cancelled(record, Code.MASS_CANCEL, now_ns, request_id=request.request_id)
                cancelled += 1
        code = Code.REFUSED if refused else Code.NONE
        done = CancelAllDone(request_id=request.request_id, cancelled=cancelled, refused=tuple(refused), code=code, text=refusal)
        return [*routed, Routed(account, session, done)]

    def disconnected(self, session: str, now_ns: int) -> list[Routed]:
        """Cancel-on-disconnect: the session's orders go, but GTC ones stay."""
        mine = [record for record in self.working.values() if record.session == session and record.tif is not Tif.GTC]
        return [routed for record in mine for routed in self._cancelled(record, Code.DISCONNECTED, now_ns)]

    def query(self, account: str, session: str, request: QueryOrder) -> Routed:
        """Where an order stands, by any client id it ever had."""
        record = self._by_client_id.get((account, request.client_id))
        return Routed(account, session, status_of(record, request_id=request.request_id, client_id=request.client_id))

    # -- the house's orders --------------------------------------------------------------------------------------------

    def house_submit(
        self, symbol: str, side: Side, price: int, qty: int, now_ns: int, *, owner: str = MAKERS, ioc: bool = False
    ) -> tuple[int, list[Routed]]:
        """An order of the house: its id, and the reports that members get from it."""
        order = BookOrder(next(self._order_ids), owner, side, price, qty)
        return order.order_id, self._applied(symbol, self.books[symbol].submit(order, ioc=ioc), now_ns)

    def house_cancel(self, symbol: str, order_id: int) -> None:
        """Take back a house order, if it is still there."""
        self.books[symbol].cancel(order_id)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _entry_problem(self, account: str, order: NewOrder) -> tuple[Code, str]:
        symbol = self.symbols.get(order.symbol)
        if symbol is None:
            return Code.UNKNOWN_SYMBOL, f"{order.symbol} does not trade here"
        if order.price % symbol.tick:
            return Code.BAD_TICK, f"price {order.price} is no multiple of {symbol.tick}"
        if order.qty % symbol.lot:
            return Code.BAD_LOT, f"quantity {order.qty} is no multiple of {symbol.lot}"
        if halt := self._faults.strike(FaultKind.HALT_SYMBOL, symbol=order.symbol):
            return Code.HALTED, halt.text
        if fault := self._faults.strike(FaultKind.REJECT_NEW, account=account, host=order.tags.host, symbol=order.symbol):
            return Code.REFUSED, fault.text
        return Code.NONE, ""

    def _change_problem(self, account: str, record: Record | None, order: ChangeOrder) -> Code:
        if record is None:
            return Code.UNKNOWN_ORDER
        if (account, order.client_id) in self._by_client_id:
            return Code.DUPLICATE_CLIENT_ID
        if record.order_id not in self.working:
            return Code.TOO_LATE
        symbol = self.symbols[record.symbol]
        if order.price % symbol.tick:
            return Code.BAD_TICK
        if order.qty % symbol.lot:
            return Code.BAD_LOT
        return Code.HALTED if self._faults.strike(FaultKind.HALT_SYMBOL, symbol=record.symbol) else Code.NONE

    def _cancel_problem(self, record: Record | None) -> tuple[Code, str]:
        if record is None:
            return Code.UNKNOWN_ORDER, ""
        if record.order_id not in self.working:
            return Code.TOO_LATE, record.state.value
        fault = self._faults.strike(FaultKind.REFUSE_CANCEL, account=record.account, host=record.tags.host, symbol=record.symbol)
        return (Code.REFUSED, fault.text) if fault else (Code.NONE, "")

    def _cancel_lost(self, record: Record) -> bool:
        fault = self._faults.strike(FaultKind.DROP_CANCEL, account=record.account, host=record.tags.host, symbol=record.symbol)
        return fault is not None

    def _cancelled(self, record: Record, code: Code, now_ns: int, *, request_id: str = "") -> list[Routed]:
        self.books[record.symbol].cancel(record.order_id, code)
        return self._ended(record, code, now_ns, request_id)

    def _rejected(self, record: Record, code: Code, text: str) -> Routed:
        record.state, record.code, record.leaves_qty = OrderState.REJECTED, code, 0
        return report(record, ExecKind.REJECTED, code=code, text=text)

    def _applied(self, symbol: str, events: list[Event], now_ns: int) -> list[Routed]:
        """Bring the records up to the book's events; the reports of it."""
        routed: list[Routed] = []
        for event in events:
            if isinstance(event, Traded):
                routed += self._traded(symbol, event, now_ns)
            elif isinstance(event, Gone):
                record = self.working.get(event.order.order_id)
                routed += self._ended(record, event.code, now_ns) if record is not None else []
        return routed

    def _ended(self, record: Record, code: Code, now_ns: int, request_id: str = "") -> list[Routed]:
        del self.working[record.order_id]
        record.state, record.code, record.leaves_qty, record.updated_ns = OrderState.CANCELLED, code, 0, now_ns
        return [report(record, ExecKind.CANCELLED, code=code, request_id=request_id)]

    def _traded(self, symbol: str, event: Traded, now_ns: int) -> list[Routed]:
        trade_id = f"T{next(self._trade_ids)}"
        if self.on_print is not None:
            self.on_print(Print(symbol, event.price, event.qty, event.taker.side, now_ns))
        routed = []
        for order in (event.maker, event.taker):
            record = self.working.get(order.order_id)
            if record is None:
                continue
            record.cumulative_qty += event.qty
            record.leaves_qty = record.qty - record.cumulative_qty
            record.updated_ns = now_ns
            kind = ExecKind.PARTIAL
            if record.leaves_qty == 0:
                kind, record.state = ExecKind.FILL, OrderState.FILLED
                del self.working[order.order_id]
            routed.append(report(record, kind, last_qty=event.qty, last_price=event.price, trade_id=trade_id))
        return routed
