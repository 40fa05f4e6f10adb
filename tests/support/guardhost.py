"""One host in a folder with a real guard process behind real TLS, and a small real trader beside it."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec

from tests.support.people import HOST, People, signed
from tests.support.wait import until
from tradeops.base.clock import SystemClock
from tradeops.base.digest import digest_bytes
from tradeops.contracts.binding import BINDING_SCHEMA, Binding, Venue
from tradeops.contracts.codec import encode
from tradeops.contracts.directive import DirectiveReply, Verb
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.host import SCHEMA as HOST_SCHEMA
from tradeops.contracts.host import HostFile
from tradeops.contracts.layout import HostLayout
from tradeops.contracts.pages import StopPage
from tradeops.contracts.status import Status
from tradeops.fleet.tls import TlsFiles, create_ca, issue_client, issue_guard

_FAKE_TRADER = Path(__file__).parent / "faketrader.py"
_REPO = Path(__file__).parents[2]
RELEASE = "sha256:" + "a" * 64


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_REPO)}


@dataclass
class GuardHost:
    """Enrolled by hand; `start_guard` and `start_trader` start processes, `close` ends them."""

    folder: Path
    people: People = field(default_factory=People)
    venues: tuple[Venue, ...] = ()
    clock_offset_ns: int = 0
    port: int = 0
    guard: subprocess.Popen[bytes] | None = None
    trader: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        for path in (
            self.layout.guard_state,
            self.layout.tls,
            self.layout.stop_page.parent,
            self.layout.vitals_page("blue").parent,
            self.layout.latched,
        ):
            path.mkdir(parents=True)
        self.layout.release(RELEASE).joinpath("tree").mkdir(parents=True)
        self.layout.slot("blue").mkdir(parents=True)
        self.layout.slot("blue").joinpath("current").symlink_to(self.layout.release(RELEASE))
        self.write_host()
        self.put(self.layout.policy_file, self.people.signed_policy())
        self.bind()
        self._certify()

    @property
    def layout(self) -> HostLayout:
        """Where everything is."""
        return HostLayout(self.folder / "opt")

    @property
    def tls(self) -> TlsFiles:
        """The CA and the operator's certificate."""
        return TlsFiles(self.folder / "ca")

    def write_host(self, **changes: Any) -> None:
        """etc/host.json."""
        plain = HostFile(
            HOST_SCHEMA, HOST, self.people.fleet, "trader", "supervisord", {"blue": "trader-blue"}, "guard", sys.executable, "127.0.0.1", 0
        )
        host = msgspec.structs.replace(plain, clock_offset_ns=self.clock_offset_ns, **changes)
        self.layout.host_file.write_bytes(msgspec.json.encode(host))

    def put(self, path: Path, envelope: Envelope) -> None:
        """Lay an envelope somewhere."""
        path.write_bytes(msgspec.json.encode(envelope))

    def bind(self) -> None:
        """The slot's binding, signed."""
        self.put(self.layout.slot("blue") / "binding.json", signed(self.binding(), Purpose.BINDING, self.people.operator))

    def binding(self) -> Binding:
        """To the venues."""
        return Binding(BINDING_SCHEMA, self.people.fleet, "test", HOST, "trader", self.venues, (), {})

    def _certify(self) -> None:
        now_ns = SystemClock().wall_ns()
        create_ca(self.tls, self.people.fleet, now_ns=now_ns)
        self.issue(now_ns)
        issue_client(self.tls, "operator-1", now_ns=now_ns)

    def issue(self, now_ns: int) -> None:
        """A certificate for the guard, as of then."""
        issue_guard(self.tls, HOST, now_ns=now_ns)
        for source, name in ((self.tls.ca, "ca.pem"), (self.tls.guard(HOST), "guard.pem"), (self.tls.guard_key(HOST), "guard.key")):
            (self.layout.tls / name).write_bytes(source.read_bytes())

    # -- processes ---------------------------------------------------------------------------------------------

    def start_guard(self) -> None:
        """Start it and wait until it listens."""
        log = self.folder / "guard.log"
        size = log.stat().st_size if log.exists() else 0
        argv = [sys.executable, "-m", "tradeops.guard", "--root", str(self.layout.root)]
        with log.open("ab") as stderr:
            self.guard = subprocess.Popen(argv, stderr=stderr, cwd=_REPO, env=_environment())

        def listening() -> int:
            assert self.guard and self.guard.poll() is None, log.read_text()
            for line in log.read_bytes()[size:].splitlines():
                if b'"guarding"' in line:
                    return int(json.loads(line)["port"])
            return 0

        self.port = until(listening, 20)
        until(self._accepts, 20)

    def _accepts(self) -> bool:
        """Whether somebody answers at its door."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except ConnectionRefusedError:
            return False
        return True

    def kill_guard(self) -> None:
        """SIGKILL, as a crash."""
        assert self.guard
        self.guard.kill()
        self.guard.wait(10)

    def start_trader(self, *, release: str = RELEASE) -> None:
        """Start the small trader and wait for the guard to see it."""
        argv = [sys.executable, str(_FAKE_TRADER), str(self.layout.root), release, digest_bytes(encode(self.binding()))]
        self.trader = subprocess.Popen(argv, stdin=subprocess.PIPE, cwd=_REPO, env=_environment())
        pid = self.trader.pid
        until(lambda: (vitals := self.status().vitals) is not None and vitals.identity.pid == pid, 20)

    def tell_trader(self, **words: Any) -> None:
        """Change what it writes."""
        assert self.trader and self.trader.stdin
        self.trader.stdin.write(json.dumps(words).encode() + b"\n")
        self.trader.stdin.flush()

    def close(self) -> None:
        """End what was started, by pid."""
        for process in (self.trader, self.guard):
            if process is None:
                continue
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill() if process is self.trader else process.terminate()
            process.wait(20)
            if process.stdin:
                process.stdin.close()

    def restore(self) -> None:
        """As after a permit, whatever a test has done: both processes up, the slot as it was, no mark."""
        link = self.layout.slot("blue") / "current"
        if link.readlink() != self.layout.release(RELEASE):
            link.unlink()
            link.symlink_to(self.layout.release(RELEASE))
        if self.guard is None or self.guard.poll() is not None:
            self.start_guard()
        if self.trader is not None and self.trader.poll() is None:
            self.trader.send_signal(signal.SIGCONT)
            self.tell_trader(ack=True, state="ready", send_queue=0, warnings=[], sessions={})
        else:
            if self.trader is not None and self.trader.stdin:
                self.trader.stdin.close()
            self.start_trader()
        self.permit()
        halts = tuple(mark.id for mark in self.status().marks)
        assert not halts or self.post(self.people.say(Verb.RESUME, ends=halts), wait_ms=10_000).accepted
        until(self.page_says_send, 10)

    # -- speaking to it ----------------------------------------------------------------------------------------

    def context(self, *, certified: bool = True, dates: bool = True) -> ssl.SSLContext:
        """A client's side of TLS."""
        context = ssl.create_default_context(cafile=str(self.tls.ca))
        if certified:
            context.load_cert_chain(self.tls.client, self.tls.client_key)
        if not dates:
            context.verify_flags |= ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME
        return context

    def connect(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """A TLS connection to the guard."""
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        return context.wrap_socket(raw, server_hostname=HOST)

    def ask(self, method: str, path: str, body: bytes | None = None, *, certified: bool = True, dates: bool = True) -> tuple[int, bytes]:
        """Status and body of one request."""
        http = HTTPConnection(HOST)
        http.sock = self.connect(self.context(certified=certified, dates=dates))
        try:
            http.request(method, path, body)
            answer = http.getresponse()
            return answer.status, answer.read()
        finally:
            http.close()

    def post(self, envelope: Envelope, *, wait_ms: int = 2000, certified: bool = True, dates: bool = True) -> DirectiveReply:
        """The guard's answer to a directive."""
        body = msgspec.json.encode(envelope)
        _, answer = self.ask("POST", f"/v1/directives?wait_ms={wait_ms}", body, certified=certified, dates=dates)
        return msgspec.json.decode(answer, type=DirectiveReply)

    def kill(self, **changes: Any) -> DirectiveReply:
        """A kill by the operator, without a client certificate."""
        return self.post(self.people.say(Verb.KILL, **changes), certified=False)

    def status(self) -> Status:
        """What it says."""
        code, body = self.ask("GET", "/v1/status")
        assert code == 200, body
        return msgspec.json.decode(body, type=Status)

    def permit(self, *ends: str) -> None:
        """Arm it, naming every kill that stands."""
        kills = tuple(mark.id for mark in self.status().marks if mark.kind == "kill")
        reply = self.post(self.people.permit(*ends, *kills), wait_ms=10_000)
        assert reply.accepted, reply

    def page_says_send(self) -> bool:
        """What a gate would read: may send, not latched."""
        try:
            page = StopPage(self.layout.stop_page, writable=False)
        except (OSError, ValueError):
            return False
        try:
            words = page.read()
        finally:
            page.close()
        return words is not None and words.may_send and not words.latched

    def kinds(self) -> set[str]:
        """The kinds of marks that stand."""
        return {str(mark.kind) for mark in self.status().marks}
