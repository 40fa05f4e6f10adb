"""The control page of the lab, on loopback: faults, disconnections, and the truth about every order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from tradeops.contracts.codec import parse
from tradeops.venue.doors import Door
from tradeops.venue.faults import Fault, Faults
from tradeops.venue.floor import Floor
from tradeops.venue.orders import Record
from tradeops.wire.protocol import DropReport, ExecutionReport, Name, Names

BODY_BYTES_MAX: Final = 1 << 20
_ENCODE: Final = msgspec.json.Encoder().encode


class DoorOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which doors (empty: all), and for a disconnect whose connections (empty: all)."""

    doors: Names = ()
    accounts: Names = ()


class Phantom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A report that drop copy is to show although it never happened."""

    account: Name
    session: Name
    report: ExecutionReport


class Control:
    """The handlers. Every answer is JSON; what is wrong with a request is said under `error`."""

    def __init__(self, floor: Floor, faults: Faults, doors: Mapping[str, Door], *, listen: str) -> None:
        self._floor = floor
        self._faults = faults
        self._doors = doors
        self._listen = listen

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_errors])
        app.router.add_get("/v1/health", self._health)
        app.router.add_get("/v1/orders", self._orders)
        app.router.add_get("/v1/messages", self._messages)
        app.router.add_get("/v1/faults", self._faults_now)
        app.router.add_post("/v1/faults", self._add_fault)
        app.router.add_delete("/v1/faults", self._clear_faults)
        app.router.add_delete("/v1/faults/{id}", self._remove_fault)
        app.router.add_post("/v1/disconnect", self._disconnect)
        app.router.add_post("/v1/down", self._down)
        app.router.add_post("/v1/up", self._up)
        app.router.add_post("/v1/phantom", self._phantom)
        return app

    async def _health(self, request: web.Request) -> web.Response:
        exchange, journal = self._floor.exchange, self._floor.journal
        return _json(
            {
                "doors": {name: {"open": door.is_open, "connections": len(door.connections)} for name, door in self._doors.items()},
                "sessions": {
                    name: {"account": session.account, "connected": session.channel is not None, "role": session.role}
                    for name, session in self._floor.sessions.by_name.items()
                },
                "orders": len(exchange.records),
                "working": len(exchange.working),
                "messages": journal.counts,
            }
        )

    async def _orders(self, request: web.Request) -> web.Response:
        """?account= &host= &symbol= &state= &client_id= narrow it."""
        wanted = request.query
        records = [record for record in self._floor.exchange.records.values() if _matches(record, wanted)]
        return _json({"orders": [_plain(record) for record in records]})

    async def _messages(self, request: web.Request) -> web.Response:
        """?direction=in|out &account= &session= &client_id= narrow it."""
        entries = [msgspec.to_builtins(entry) for entry in self._floor.journal.entries]
        wanted = request.query
        kept = [
            entry
            for entry in entries
            if all(wanted.get(key) in (None, entry[key]) for key in ("direction", "account", "session"))
            and wanted.get("client_id") in (None, entry["message"].get("client_id"))
        ]
        return _json({"messages": kept})

    async def _faults_now(self, request: web.Request) -> web.Response:
        return _json({"faults": self._faults.listing()})

    async def _add_fault(self, request: web.Request) -> web.Response:
        return _json({"id": self._faults.add(parse(await request.read(), Fault))})

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._faults.clear()
        return _json({"faults": {}})

    async def _remove_fault(self, request: web.Request) -> web.Response:
        if not self._faults.remove(request.match_info["id"]):
            return _json({"error": f"no fault {request.match_info['id']}"}, status=404)
        return _json({"faults": self._faults.listing()})

    async def _disconnect(self, request: web.Request) -> web.Response:
        order = await _door_order(request)
        return _json({"cut": {door.name: door.cut(order.accounts) for door in self._chosen(order)}})

    async def _down(self, request: web.Request) -> web.Response:
        for door in self._chosen(await _door_order(request)):
            await door.shut()
        return _json({"open": {name: door.is_open for name, door in self._doors.items()}})

    async def _up(self, request: web.Request) -> web.Response:
        for door in self._chosen(await _door_order(request)):
            if not door.is_open:
                await door.open(self._listen, door.port)
        return _json({"open": {name: door.is_open for name, door in self._doors.items()}})

    async def _phantom(self, request: web.Request) -> web.Response:
        phantom = parse(await request.read(), Phantom)
        copy = self._floor.drop_copy
        copy.inject(DropReport(number=copy.next_number(), account=phantom.account, session=phantom.session, report=phantom.report))
        return _json({"shown": True})

    def _chosen(self, order: DoorOrder) -> list[Door]:
        unknown = set(order.doors) - set(self._doors)
        if unknown:
            raise msgspec.ValidationError(f"no door {', '.join(sorted(unknown))}; there are {', '.join(self._doors)}")
        return [door for name, door in self._doors.items() if not order.doors or name in order.doors]


@web.middleware
async def _errors(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    try:
        return await handler(request)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _json({"error": str(error)}, status=400)


async def _door_order(request: web.Request) -> DoorOrder:
    body = await request.read()
    return parse(body, DoorOrder) if body else DoorOrder()


def _matches(record: Record, wanted: Mapping[str, str]) -> bool:
    have = {
        "account": record.account,
        "host": record.tags.host,
        "symbol": record.symbol,
        "state": record.state.value,
        "client_id": record.client_id,
    }
    return all(wanted.get(key) in (None, value) for key, value in have.items())


def _plain(record: Record) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return {"venue_id": record.venue_id, **plain}


def _json(document: object, *, status: int = 200) -> web.Response:
    return web.Response(body=_ENCODE(document), status=status, content_type="application/json")
