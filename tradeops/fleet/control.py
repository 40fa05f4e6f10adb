"""The guards' control API over HTTPS, a thousand hosts at once, each with its own outcome.

One connection per host on httpx's lower layer (httpcore): a shared pool is quadratic in the number of hosts (44 s for a
thousand on two cores, against 3). Work is started in paces, so that the first hosts are done while the last still wait,
and a host that hangs gives its place up after PACE_S.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import httpcore
import msgspec
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from tradeops.base.clock import NS_PER_MS, Clock
from tradeops.base.errors import ConfigError, OutcomeUnknown, TradeopsError, Unreachable
from tradeops.contracts.directive import DirectiveReply
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.identity import IdentityReport
from tradeops.contracts.status import Health, Status
from tradeops.fleet.bridge import Stream, bridge
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Failed, Outcome, Unknown
from tradeops.fleet.replies import Report, head_of, not_ok, read_document, read_reply, read_report
from tradeops.fleet.resolve import is_numeric, resolve
from tradeops.fleet.tls import TlsFiles

REPLY_BYTES_MAX = 1 << 20
METRICS_BYTES_MAX = 8 << 20
PACE_HOSTS = 64
PACE_S = 0.05
_CONNECT_TRIES = 3
_CONNECT_PAUSE_S = 0.05
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: certificates have no say in whether a kill gets through."""

T = TypeVar("T")
Tunnel = Callable[[Host, int, float], Stream]
"""(host behind a jump host, its port, seconds) -> a stream there: fleet.ssh.Ssh.tunnel."""


@dataclass
class _Request:
    """One request on its way. sent: some of it may have reached the guard."""

    method: str
    path: str
    body: bytes
    context: ssl.SSLContext
    reply_max: int
    deadline: float
    sent: bool = False


class _NoConnection(Exception):
    """The guard was not reached, and may be in a moment: worth another try."""


class HttpControls:
    """fleet.ports.Controls. tls: the folder of contracts.layout.OperatorLayout.tls."""

    def __init__(self, tls: Path, clock: Clock, *, tunnel: Tunnel | None = None) -> None:
        self._files = TlsFiles(tls)
        self._clock = clock
        self._tunnel = tunnel

    def identities(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[IdentityReport]]:
        """See fleet.ports.Controls."""
        return self._read(hosts, "/v1/identity", IdentityReport, deadline_s)

    def statuses(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Status]]:
        """See fleet.ports.Controls."""
        return self._read(hosts, "/v1/status", Status, deadline_s)

    def healths(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Health]]:
        """See fleet.ports.Controls."""
        return self._read(hosts, "/v1/health", Health, deadline_s)

    def rosters(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Envelope]]:
        """See fleet.ports.Controls."""
        return self._documents(hosts, "/v1/roster", deadline_s)

    def overlays(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Envelope]]:
        """See fleet.ports.Controls."""
        return self._documents(hosts, "/v1/overlay", deadline_s)

    def metrics(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[str]]:
        """See fleet.ports.Controls."""

        def text(host: Host, status: int, body: bytes) -> str:
            if status != 200:
                raise not_ok(host.name, status, body)
            return body.decode("utf-8", "replace")

        return self._get(hosts, "/metrics", METRICS_BYTES_MAX, text, deadline_s)

    def direct(
        self,
        hosts: Sequence[Host],
        envelope: Envelope,
        *,
        deadline_s: float,
        wait_ms: int = 0,
        answered: Callable[[str, Outcome[DirectiveReply]], None] | None = None,
    ) -> dict[str, Outcome[DirectiveReply]]:
        """See fleet.ports.Controls. Sent once to each host: a lost answer is read back, and a kill posted again, by the caller."""
        directive, kill = head_of(envelope)
        context = self._killing if kill else self._reading
        body, path = msgspec.json.encode(envelope), f"/v1/directives?wait_ms={wait_ms}"

        async def post(host: Host, deadline: float) -> DirectiveReply:
            request = _Request("POST", path, body, context, REPLY_BYTES_MAX, deadline)
            return read_reply(host.name, *await self._send(host, request), directive)

        return asyncio.run(self._all(hosts, post, deadline_s, answered))

    def _read(self, hosts: Sequence[Host], path: str, kind: type[Report], deadline_s: float) -> dict[str, Outcome[Report]]:
        return self._get(hosts, path, REPLY_BYTES_MAX, lambda host, status, body: read_report(host.name, status, body, kind), deadline_s)

    def _documents(self, hosts: Sequence[Host], path: str, deadline_s: float) -> dict[str, Outcome[Envelope]]:
        return self._get(hosts, path, REPLY_BYTES_MAX, lambda host, status, body: read_document(host.name, status, body), deadline_s)

    def _get(
        self, hosts: Sequence[Host], path: str, reply_max: int, parse: Callable[[Host, int, bytes], T], deadline_s: float
    ) -> dict[str, Outcome[T]]:
        context = self._reading

        async def get(host: Host, deadline: float) -> T:
            request = _Request("GET", path, b"", context, reply_max, deadline)
            try:
                status, body = await self._send(host, request)
            except OutcomeUnknown as error:
                # Nothing was to be done there, so nothing is in doubt.
                raise Unreachable(error.what, where=error.where) from None
            return parse(host, status, body)

        return asyncio.run(self._all(hosts, get, deadline_s, None))

    async def _all(
        self,
        hosts: Sequence[Host],
        ask: Callable[[Host, float], Awaitable[T]],
        deadline_s: float,
        answered: Callable[[str, Outcome[T]], None] | None,
    ) -> dict[str, Outcome[T]]:
        """Ask all hosts, PACE_HOSTS at a time, until `deadline_s` from now."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + deadline_s
        places = asyncio.Semaphore(PACE_HOSTS)

        async def one(host: Host) -> Outcome[T]:
            outcome = await self._settle(host, ask, deadline)
            if answered:
                answered(host.name, outcome)
            return outcome

        tasks: list[asyncio.Task[Outcome[T]]] = []
        for host in hosts:
            await places.acquire()
            task = asyncio.create_task(one(host))
            place = loop.call_later(PACE_S, places.release)
            task.add_done_callback(partial(_give_up, place, places))
            tasks.append(task)
        return {host.name: await task for host, task in zip(hosts, tasks, strict=True)}

    async def _settle(self, host: Host, ask: Callable[[Host, float], Awaitable[T]], deadline: float) -> Outcome[T]:
        start_ns = self._clock.monotonic_ns()

        def elapsed_ms() -> float:
            return (self._clock.monotonic_ns() - start_ns) / NS_PER_MS

        try:
            return Done(await ask(host, deadline), elapsed_ms())
        except OutcomeUnknown as error:
            return Unknown(error, elapsed_ms())
        except TradeopsError as error:
            error.where = error.where or host.name
            return Failed(error, elapsed_ms())

    async def _send(self, host: Host, request: _Request) -> tuple[int, bytes]:
        """Status and body. Raises Unreachable (nothing was sent), OutcomeUnknown (some of it was)."""
        try:
            async with asyncio.timeout_at(request.deadline):
                async for attempt in AsyncRetrying(
                    retry=retry_if_exception_type(_NoConnection),
                    stop=stop_after_attempt(_CONNECT_TRIES),
                    wait=wait_fixed(_CONNECT_PAUSE_S),
                    reraise=True,
                ):
                    with attempt:
                        return await self._exchange(host, request)
        except TimeoutError:
            raise _lost(host, request, "it did not answer in time") from None
        except _NoConnection as error:
            raise _lost(host, request, str(error)) from None
        raise AssertionError("a retry ends with an answer or an error")

    async def _exchange(self, host: Host, request: _Request) -> tuple[int, bytes]:
        reader, writer = await self._connect(host, request)
        origin = httpcore.Origin(b"https", host.name.encode(), host.control_port)
        try:
            async with httpcore.AsyncHTTP11Connection(origin=origin, stream=_TlsStream(reader, writer, request)) as connection:
                headers = {
                    "Host": host.name,
                    "Content-Length": str(len(request.body)),
                    "Content-Type": "application/json",
                    "Connection": "close",
                }
                url = f"https://{host.name}:{host.control_port}{request.path}"
                async with connection.stream(request.method, url, headers=list(headers.items()), content=request.body) as response:
                    return response.status, await _bounded(response, request.reply_max)
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError, EOFError) as error:
            raise _lost(host, request, f"the connection broke: {_text(error)}") from None
        except _TooLong:
            raise _lost(host, request, f"its answer is longer than {request.reply_max} bytes") from None
        finally:
            writer.transport.abort()

    async def _connect(self, host: Host, request: _Request) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TLS connection to the guard, its certificate checked for the host's name. Raises _NoConnection, Unreachable."""
        try:
            if host.jump is not None:
                sock = await self._tunnelled(host, request.deadline)
                return await asyncio.open_connection(sock=sock, ssl=request.context, server_hostname=host.name)
            address = host.address
            if not is_numeric(address):
                wait_s = _left_s(request.deadline)
                address = (await _in_thread(lambda: resolve(host.address, timeout_s=wait_s)))[0]
            return await asyncio.open_connection(address, host.control_port, ssl=request.context, server_hostname=host.name)
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(
                f"its guard shows a certificate that is not its own: {error.verify_message}",
                where=host.name,
                holds="nothing was sent",
                next="is this the right address? `tradeops fleet enroll` renews the certificate",
            ) from None
        except OSError as error:
            raise _NoConnection(f"its guard at {host.address}:{host.control_port} does not take connections: {_text(error)}") from None

    async def _tunnelled(self, host: Host, deadline: float) -> Any:
        tunnel = self._tunnel
        if tunnel is None:
            raise Unreachable(f"it is behind the jump host {host.jump}, and no tunnel is at hand", where=host.name)
        wait_s = _left_s(deadline)
        return bridge(await _in_thread(lambda: tunnel(host, host.control_port, wait_s)))

    @cached_property
    def _reading(self) -> ssl.SSLContext:
        """Checks the guard, and shows the operator's certificate."""
        context = self._context()
        try:
            context.load_cert_chain(self._files.client, self._files.client_key)
        except (OSError, ssl.SSLError) as error:
            hint = "`tradeops init` makes the operator's certificate"
            raise ConfigError(f"the client certificate cannot be used: {_text(error)}", where=str(self._files.client), next=hint) from None
        return context

    @cached_property
    def _killing(self) -> ssl.SSLContext:
        """Checks the guard's key and name; no date, and no certificate of ours, stands in the way of a kill."""
        context = self._context()
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
        return context

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        try:
            context.load_verify_locations(self._files.ca)
        except (OSError, ssl.SSLError) as error:
            hint = "`tradeops init` makes the fleet's CA"
            raise ConfigError(f"the fleet's CA certificate cannot be used: {_text(error)}", where=str(self._files.ca), next=hint) from None
        return context


class _TooLong(Exception):
    """An answer that does not end."""


class _TlsStream(httpcore.AsyncNetworkStream):
    """asyncio's own streams for httpcore: a quarter less work per host than its default."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: _Request) -> None:
        self._reader = reader
        self._writer = writer
        self._request = request

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._request.sent = True
        self._writer.write(buffer)
        await self._writer.drain()

    async def aclose(self) -> None:
        self._writer.transport.abort()

    def get_extra_info(self, info: str) -> Any:
        return None


async def _bounded(response: httpcore.Response, bytes_max: int) -> bytes:
    body = bytearray()
    async for part in response.aiter_stream():
        body += part
        if len(body) > bytes_max:
            raise _TooLong
    return bytes(body)


async def _in_thread(work: Callable[[], T]) -> T:
    """`work` on a daemon thread: one that hangs is left behind, where asyncio's own would be waited for at exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(give: Callable[[Any], None], what: object) -> None:
        if not future.done():
            give(what)

    def tell(give: Callable[[Any], None], what: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, give, what)

    def run() -> None:
        try:
            value = work()
        except (TradeopsError, OSError) as error:
            tell(future.set_exception, error)
        else:
            tell(future.set_result, value)

    threading.Thread(target=run, name="control-wait", daemon=True).start()
    return await future


def _left_s(deadline: float) -> float:
    return max(0.001, deadline - asyncio.get_running_loop().time())


def _give_up(place: asyncio.TimerHandle, places: asyncio.Semaphore, _task: object) -> None:
    """A host that is done makes room at once; one whose time was up has done so."""
    if not place.cancelled() and place.when() > asyncio.get_running_loop().time():
        place.cancel()
        places.release()


def _lost(host: Host, request: _Request, why: str) -> TradeopsError:
    if not request.sent:
        return Unreachable(why, where=host.name, holds="nothing was sent", next="is the host up, and its guard?")
    return OutcomeUnknown(
        f"its guard was asked and {why}",
        where=host.name,
        holds="it may or may not have been done there",
        next="`tradeops status`",
    )


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
