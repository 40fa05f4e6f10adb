"""The agents of the hosts, over SSH: one session per host and run, a JSON line per request and answer (contracts/agent.py)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec

from tradeops.base.errors import LockHeld, OutcomeUnknown, Refused, SignatureInvalid, TradeopsError, Unreachable, UsageError
from tradeops.contracts.agent import LINE_BYTES_MAX, PROTOCOL, AgentVerb, Code, Hello
from tradeops.contracts.codec import parse
from tradeops.fleet.channel import Channel, ChannelBroken, printable
from tradeops.fleet.host import Host

COMMAND = "tradeops-agent"
"""The host's forced command runs the agent, whatever is asked for."""
HELLO_BYTES_MAX = 64 << 10
_TEXT_CHARS_MAX = 2000
_STATUS_S = 0.5

_ERRORS: dict[str, type[TradeopsError]] = {
    Code.LOCKED: LockHeld,
    Code.FENCED: LockHeld,
    Code.SIGNATURE: SignatureInvalid,
    Code.DIGEST: Refused,
    Code.OLDER: Refused,
}


class OpensChannels(Protocol):
    """What is used of fleet.ssh.Ssh."""

    def open_channel(self, host: Host, command: str, *, timeout_s: float) -> Channel: ...


class _Refusal(msgspec.Struct):
    code: str
    what: str
    next: str = ""


class _Answer(msgspec.Struct):
    ok: bool
    id: int | str | None = None
    result: dict[str, Any] | None = None
    error: _Refusal | None = None


class SshAgents:
    """fleet.ports.Agents. fleet: the name the host must say it belongs to."""

    def __init__(self, ssh: OpensChannels, *, fleet: str | None = None) -> None:
        self._ssh = ssh
        self._fleet = fleet

    def open(self, host: Host, *, timeout_s: float) -> SshAgentSession:
        """Raises Unreachable (also when another host answers), HostKeyMismatch."""
        channel = self._ssh.open_channel(host, COMMAND, timeout_s=timeout_s)
        try:
            hello = self._hello(host, channel, timeout_s)
        except Unreachable:
            channel.close()
            raise
        return SshAgentSession(host.name, hello, channel)

    def _hello(self, host: Host, channel: Channel, timeout_s: float) -> Hello:
        try:
            line = channel.readline(timeout_s, bytes_max=HELLO_BYTES_MAX)
            hello = parse(line, Hello)
        except ChannelBroken as error:
            raise self._not_started(host, channel, error.what) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._not_started(host, channel, "what answered is no agent") from None
        if hello.agent != PROTOCOL:
            raise Unreachable(
                f"its agent speaks {printable(hello.agent, chars_max=80)}, this is {PROTOCOL}",
                where=host.name,
                next="upgrade its platform: `tradeops fleet enroll`",
            )
        if hello.host != host.name or self._fleet not in (None, hello.fleet):
            name = printable(f"{hello.host} of fleet {hello.fleet}", chars_max=200)
            raise Unreachable(f"another host answers at its address: {name}", where=host.name, next="correct the address in the fleet file")
        return hello

    def _not_started(self, host: Host, channel: Channel, what: str) -> Unreachable:
        status = channel.exit_status(_STATUS_S)
        said = channel.stderr_tail()
        words = what + (f", exit status {status}" if status is not None else "") + (f": {said}" if said else "")
        return Unreachable(f"its agent did not answer: {words}", where=host.name, next="`tradeops doctor`; was this host enrolled?")


class SshAgentSession:
    """fleet.ports.AgentSession. Requests of several threads (a run and its lease) go one after the other.

    After a request without an answer the session is over: a late answer must not be taken for the next one's.
    """

    def __init__(self, host: str, hello: Hello, channel: Channel) -> None:
        self.hello = hello
        self._host = host
        self._channel = channel
        self._turn = threading.Lock()
        self._last_id = 0
        self._over = ""

    @property
    def bytes_sent(self) -> int:
        """See fleet.ports.AgentSession."""
        return self._channel.bytes_sent

    def call(self, verb: AgentVerb, *, run: str | None = None, fence: int | None = None, timeout_s: float, **args: Any) -> dict[str, Any]:
        """See fleet.ports.AgentSession."""
        return self._ask({"verb": verb, "run": run, "fence": fence, "args": args}, lambda: None, timeout_s)

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
        """See fleet.ports.AgentSession. Raises TradeopsError when `body` is not `total_bytes` long."""
        request = {"verb": verb, "run": run, "fence": fence, "args": args, "bytes": total_bytes}
        return self._ask(request, lambda: self._send_body(body, total_bytes, timeout_s), timeout_s)

    def close(self) -> None:
        """See fleet.ports.AgentSession. A lock stays until it is given back or runs out."""
        self._over = self._over or "it was closed"
        self._channel.close()

    def _ask(self, request: dict[str, Any], send_body: Callable[[], None], timeout_s: float) -> dict[str, Any]:
        with self._my_turn(timeout_s):
            self._last_id += 1
            line = msgspec.json.encode({"id": self._last_id, **request}) + b"\n"
            if len(line) > LINE_BYTES_MAX:
                raise UsageError(f"the request {request['verb']} takes {len(line)} bytes, {LINE_BYTES_MAX} may be sent", where=self._host)
            verb = str(request["verb"])
            self._over = f"{verb} had no answer"
            answer = self._exchange(verb, line, send_body, timeout_s)
            self._over = ""
        if answer.ok and answer.result is not None:
            return answer.result
        raise self._refused(verb, answer.error)

    @contextmanager
    def _my_turn(self, timeout_s: float) -> Iterator[None]:
        if not self._turn.acquire(timeout=timeout_s):
            raise Unreachable(f"the session was busy for {timeout_s:g} s; nothing was sent", where=self._host)
        try:
            if self._over:
                raise Unreachable(f"the session is over: {self._over}; nothing was sent", where=self._host, next="open another one")
            yield
        finally:
            self._turn.release()

    def _exchange(self, verb: str, line: bytes, send_body: Callable[[], None], timeout_s: float) -> _Answer:
        """Send and read the answer. Whatever fails from here on, the host may have acted: OutcomeUnknown."""
        try:
            self._channel.write(line, timeout_s)
            send_body()
            answer = parse(self._channel.readline(timeout_s, bytes_max=LINE_BYTES_MAX), _Answer)
        except ChannelBroken as error:
            raise self._unknown(verb, error.what) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise self._unknown(verb, "its answer is not one of the protocol") from None
        if answer.id not in (self._last_id, None) or (answer.id is None and answer.ok):
            raise self._unknown(verb, "it answered another request")
        if answer.ok == (answer.result is None) or (not answer.ok and answer.error is None):
            raise self._unknown(verb, "its answer is neither a result nor an error")
        return answer

    def _send_body(self, body: Iterable[bytes], total_bytes: int, silence_s: float) -> None:
        left = total_bytes
        for part in body:
            left -= len(part)
            if left < 0:
                break
            self._channel.write(part, silence_s)
        if left != 0:
            self._channel.close()
            raise TradeopsError(
                f"the body was not the {total_bytes} bytes announced", where=self._host, holds="the host took none of it over"
            )

    def _unknown(self, verb: str, why: str) -> OutcomeUnknown:
        said = self._channel.stderr_tail()
        self._channel.close()
        return OutcomeUnknown(
            f"`{verb}` was sent and has no answer: {why}" + (f" ({said})" if said else ""),
            where=self._host,
            holds="it may or may not have been done there",
            next="read the host's state back: `tradeops verify`",
        )

    def _refused(self, verb: str, refusal: _Refusal | None) -> TradeopsError:
        refusal = refusal or _Refusal(Code.INTERNAL, "no reason given")
        what = printable(refusal.what, chars_max=_TEXT_CHARS_MAX)
        kind = _ERRORS.get(refusal.code, TradeopsError)
        error = kind(f"`{verb}`: {what}", where=self._host, next=printable(refusal.next, chars_max=_TEXT_CHARS_MAX) or None)
        error.code = printable(refusal.code, chars_max=40)
        return error
