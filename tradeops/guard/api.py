"""The control API: HTTPS, TLS 1.2 or newer. Reading needs a client certificate of the fleet; a directive needs signatures."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from tradeops.base.clock import Clock
from tradeops.base.errors import ConfigError
from tradeops.contracts.codec import parse
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.host import HostFile
from tradeops.contracts.layout import HostLayout
from tradeops.guard import views
from tradeops.guard.admit import Refusal
from tradeops.guard.core import Guard
from tradeops.guard.directing import WAIT_MS_MAX, direct, refused
from tradeops.guard.exposition import CONTENT_TYPE, exposition
from tradeops.guard.listener import Listener

BODY_BYTES_MAX: Final = 1 << 20
HEADER_BYTES_MAX: Final = 8190
BODY_S: Final = 5.0

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def tls_context(layout: HostLayout) -> ssl.SSLContext:
    """The server's side: its certificate, and client certificates of the fleet's CA welcome but not demanded.

    Its own certificate's dates are not looked at: an expired one must not keep a kill out. Raises ConfigError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    try:
        context.load_cert_chain(layout.tls / "guard.pem", layout.tls / "guard.key")
        context.load_verify_locations(layout.tls / "ca.pem")
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"TLS cannot be set up: {error}", where=str(layout.tls), next="enrol the host again") from None
    return context


def bind(host: HostFile) -> socket.socket:
    """The listening address of host.json. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host.control_address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host.control_address, host.control_port))
    except OSError as error:
        sock.close()
        where = f"{host.control_address}:{host.control_port}"
        raise ConfigError(f"cannot listen: {error}", where=where, next="see what else listens there; change control_port") from None
    return sock


class Api:
    """The routes of one guard, and the listener in front of them."""

    def __init__(self, guard: Guard, clock: Clock) -> None:
        self._guard = guard
        self._clock = clock
        self._listener: Listener | None = None

        @web.middleware
        async def around(request: web.Request, handler: _Handler) -> web.StreamResponse:
            return await self._around(request, handler)

        self._app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[around])
        self._app.router.add_get("/v1/identity", self._json(lambda: views.identity_of(guard)))
        self._app.router.add_get("/v1/status", self._json(lambda: views.status_of(guard)))
        self._app.router.add_get("/v1/health", self._json(lambda: views.health_of(guard)))
        self._app.router.add_get("/v1/roster", self._kept("roster", lambda: guard.site.roster))
        self._app.router.add_get("/v1/overlay", self._kept("overlay", lambda: guard.memory.state.overlay))
        self._app.router.add_get("/v1/stops/{id}", self._stop)
        self._app.router.add_get("/metrics", self._metrics)
        self._app.router.add_post("/v1/directives", self._directives)

    async def run(self, sock: socket.socket, tls: ssl.SSLContext) -> None:
        """Serve until cancelled."""
        runner = web.AppRunner(
            self._app, access_log=None, keepalive_timeout=10.0, max_line_size=HEADER_BYTES_MAX, max_field_size=HEADER_BYTES_MAX
        )
        await runner.setup()
        if runner.server is None:
            raise ConfigError("the HTTP server did not start")
        self._listener = Listener(sock, tls, runner.server, self._clock)
        try:
            await self._listener.run()
        finally:
            sock.close()
            await runner.cleanup()

    async def _around(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Count the connection as busy while its request is answered; ask readers for a certificate."""
        connection = self._listener.connection(request.protocol) if self._listener else None
        if request.method == "GET" and not _certified(request):
            return web.json_response({"error": "reading needs a client certificate of this fleet", "code": "certificate"}, status=403)
        try:
            if connection is not None:
                connection.busy += 1
            return await handler(request)
        finally:
            if connection is not None:
                connection.busy -= 1
                connection.quiet_since_ns = self._clock.monotonic_ns()

    def _json(self, view: Callable[[], msgspec.Struct]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handler(request: web.Request) -> web.Response:
            return _answer(200, view())

        return handler

    def _kept(self, what: str, read: Callable[[], Envelope | None]) -> Callable[[web.Request], Awaitable[web.Response]]:
        """A document as it was signed: whoever asks verifies it."""

        async def handler(request: web.Request) -> web.Response:
            document = read()
            if document is None:
                return web.json_response({"error": f"this host keeps no {what} that can be read", "code": "not_found"}, status=404)
            return _answer(200, document)

        return handler

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=exposition(views.status_of(self._guard)).encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _stop(self, request: web.Request) -> web.Response:
        killing = self._guard.killings.get(request.match_info["id"])
        if killing is None:
            return web.json_response({"error": "no such stop, or forgotten", "code": "not_found"}, status=404)
        killing.confirm_clear()
        return _answer(200, killing.progress)

    async def _directives(self, request: web.Request) -> web.Response:
        received_ns = self._clock.monotonic_ns()
        try:
            envelope = await _envelope(request)
            wait_ms = _wait_ms(request)
        except Refusal as refusal:
            return _answer(refusal.status, refused(self._guard, "", refusal))
        status, reply = await direct(self._guard, envelope, certified=_certified(request), received_ns=received_ns, wait_ms=wait_ms)
        return _answer(status, reply)


def _certified(request: web.Request) -> bool:
    return bool(request.transport and request.transport.get_extra_info("peercert"))


async def _envelope(request: web.Request) -> Envelope:
    """The body as an envelope. Raises Refusal."""
    try:
        async with asyncio.timeout(BODY_S):
            body = await request.read()
    except TimeoutError:
        raise Refusal("slow", f"the body did not come within {BODY_S:.0f} s", status=408) from None
    except web.HTTPRequestEntityTooLarge:
        raise Refusal("too_large", f"the body is larger than {BODY_BYTES_MAX} bytes", status=413) from None
    try:
        return parse(body, Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal("malformed", f"not an envelope: {error}", status=400) from None


def _wait_ms(request: web.Request) -> int:
    """How long the caller wants to wait; nonsense is no wait, for a kill is not refused over it."""
    text = request.query.get("wait_ms", "0")
    return min(int(text), WAIT_MS_MAX) if text.isascii() and text.isdigit() and len(text) < 9 else 0


def _answer(status: int, document: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), status=status, content_type="application/json")
