"""A service that is not ours under a real service manager: started where it may, ended when the page says so, proved by its URL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from tests.support.agenthost import ManagedHost, TestRelease, plain
from tests.support.agentsession import Agent
from tests.support.sshd import free_port
from tests.support.wait import until
from tradeops.agent import keeper, vitals
from tradeops.agent.clock import Clock as HostClock
from tradeops.agent.errors import AgentError
from tradeops.agent.hostfile import Context, HostFile
from tradeops.agent.manifest import Manifest
from tradeops.agent.names import Layout
from tradeops.agent.release import present
from tradeops.base.clock import NS_PER_S, SystemClock
from tradeops.contracts.agent import Proof
from tradeops.contracts.manifest import Start
from tradeops.contracts.pages import NOBODY, UNNARROWED, StopPage, parse_stop, read_vitals

SERVE = (Path(__file__).parents[2] / "support" / "web" / "serve.py").read_bytes()
CLOCK = SystemClock()
GOOD = {"release": "r", "binding": "b", "slot": "blue", "pid": os.getpid()}


@pytest.fixture
def host(running: ManagedHost) -> ManagedHost:
    """Enrolled for such a service, and permitted: its guard's last word is of now."""
    file = running.layout.host_file
    file.write_text(json.dumps(json.loads(file.read_text()) | {"identity": "url"}))
    say(running)
    return running


def say(host: ManagedHost, *, may_send: bool = True, age_s: float = 0.0) -> None:
    """The guard's words, as old as that."""
    page = StopPage(host.layout.stop_page, writable=True)
    beat_ns = CLOCK.monotonic_ns() - int(age_s * NS_PER_S)
    page.write(
        epoch=5, may_send=may_send, beat_ns=beat_ns, latch_cleared=0, scope_generation=0, narrowing=UNNARROWED, token=NOBODY, durable=False
    )
    page.close()


def served(host: ManagedHost, source: bytes = SERVE, *, number: int = 1) -> TestRelease:
    """A release of the service at a port of its own."""
    argv = ("{python}", "-I", "-B", "{tree}/serve.py", "{address}", "{port}")
    start = Start(argv, identity="/identity", health="/health", port=free_port())
    return host.release(number, files={"serve.py": source}, start=start)


def staged(host: ManagedHost, release: TestRelease) -> Agent:
    """A session that holds the host, the release switched to."""
    agent = host.locked()
    host.stage(agent, release)
    agent.do("switch", slot="blue", release=release.id, binding=plain(host.binding()), overlay=None)
    return agent


def proof(agent: Agent) -> Proof:
    """What runs, read back."""
    return msgspec.convert(agent.do("prove", slot="blue", release=None, rehash=False), Proof)


def log(host: ManagedHost) -> str:
    """What the slot's program wrote."""
    path = host.folder / "trader-blue.log"
    return path.read_text() if path.exists() else ""


def test_it_is_proved_by_what_it_says_at_its_url(host: ManagedHost) -> None:
    """D01: release, binding, slot and pid are its own words; nobody is left beside it when it is stopped."""
    release = served(host)
    agent = staged(host, release)
    pid = agent.do("start", slot="blue")["pid"]
    until(lambda: proof(agent).vitals is not None, 10)
    found = proof(agent)
    assert found.vitals and found.process and (found.vitals.pid, found.vitals.start_ticks) == (pid, found.process.start_ticks)
    assert (found.vitals.release, found.vitals.binding, found.vitals.slot) == (release.id, found.binding, "blue")
    assert found.others == ()
    stopped = agent.do("stop", slot="blue", stop_timeout_s=5)
    assert stopped["stopped"], stopped


@pytest.mark.parametrize(("words", "latch"), [({"may_send": False}, False), ({"age_s": keeper.SILENT_S + 5}, False), ({}, True)])
def test_a_stop_page_that_does_not_permit_ends_it(host: ManagedHost, words: dict[str, Any], latch: bool) -> None:
    """K02, K06: halted, latched over SSH, or a guard that is silent: it ends, and is not started again."""
    agent = staged(host, served(host))
    agent.do("start", slot="blue")
    until(lambda: proof(agent).vitals is not None, 10)
    if latch:
        vitals.raise_latch(host.layout.stop_page)
    else:
        say(host, **words)
    until(lambda: proof(agent).process is None, 10)
    until(lambda: proof(agent).others == (), 10)
    assert "the stop page stops this host" in log(host)
    agent.ask("start", slot="blue")
    until(lambda: "no permit or bears a mark" in log(host), 10)
    until(lambda: proof(agent).process is None, 10)


def test_one_that_ignores_sigterm_is_killed(host: ManagedHost) -> None:
    """Its whole group."""
    deaf = SERVE.replace(b"signal.signal(signal.SIGTERM, lambda *_: ", b"signal.signal(signal.SIGTERM, signal.SIG_IGN) or (lambda *_: ")
    agent = staged(host, served(host, deaf))
    agent.do("start", slot="blue")
    until(lambda: proof(agent).vitals is not None, 10)
    say(host, may_send=False)
    until(lambda: proof(agent).process is None and proof(agent).others == (), 10)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"pid": os.getpid()', b'"pid": "me"', "not an object with"),
        (b'"pid": os.getpid()', b'"pid": 4194303', "process 4194303, which is not there"),
        (b"json.dumps({**said,", b"str({**said,", "does not say what it is"),
        (b"self.send_response(200)", b"self.send_response(200 if self.path != '/health' else 503)", "/health answers 503"),
    ],
)
def test_what_it_does_not_say_is_not_made_up(host: ManagedHost, old: bytes, new: bytes, words: str) -> None:
    """D01: unknown stays unknown, and the log says why."""
    agent = staged(host, served(host, SERVE.replace(old, new)))
    agent.do("start", slot="blue")
    until(lambda: words in log(host), 10)
    assert proof(agent).vitals is None
    agent.do("stop", slot="blue", stop_timeout_s=5)


class Told(BaseHTTPRequestHandler):
    """Answers as `answers` says, by path."""

    answers: ClassVar[dict[str, tuple[int, str]]] = {}

    def do_GET(self) -> None:
        status, body = self.answers[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


@contextmanager
def keeping(folder: Path, service: int) -> Iterator[keeper.Keeper]:
    """A keeper in this process, of a service that `Told` speaks for."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Told) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        start = {"identity": "/identity", "health": "/health", "port": server.server_port}
        manifest = Manifest("sha256:0", "web", 1, (), (), start, None)
        plain = HostFile("s", "host-1", "f", "web", "supervisord", {}, "guard", "python3", "0.0.0.0", 1, identity="url")
        yield keeper.Keeper(Context(Layout(folder), plain, HostClock()), "blue", manifest, service)
        server.shutdown()


def test_what_a_service_says_is_passed_on_whole(tmp_path: Path) -> None:
    """D01: its words and what /proc says of its process; a service that is not well says nothing."""
    with keeping(tmp_path, os.getpid()) as kept:
        Told.answers = {"/identity": (200, json.dumps(GOOD)), "/health": (200, "well")}
        said = kept.said()
        assert (said["identity"]["release"], said["identity"]["pid"], said["state"], said["ack_epoch"]) == ("r", os.getpid(), "ready", 0)
        for path, answer, words in (
            ("/health", (503, "busy"), "/health answers 503"),
            ("/identity", (404, ""), "/identity answers 404"),
            ("/identity", (200, "[]"), "not an object with release, binding, slot, pid"),
            ("/identity", (200, json.dumps(GOOD | {"pid": True})), "not an object with"),
        ):
            Told.answers = {"/identity": (200, json.dumps(GOOD)), "/health": (200, "well")} | {path: answer}
            with pytest.raises(AgentError, match=words):
                kept.said()


def test_the_end_is_sigterm_and_then_sigkill(tmp_path: Path) -> None:
    """K02: to the whole group of the service."""
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout and process.stdout.readline()
        with keeping(tmp_path, process.pid) as kept:
            kept.end()
        assert process.wait(10) == -signal.SIGKILL


def test_release_and_host_must_be_of_one_kind(host: ManagedHost) -> None:
    """No release chooses whether it obeys a gate."""
    context = host.context()
    agent, ours, theirs = host.locked(), host.release(1), served(host, number=2)
    for release in (ours, theirs):
        host.stage(agent, release)
    with pytest.raises(AgentError, match="enrolled for 'url'"):
        keeper.check(context, present(context, ours.id))
    assert keeper.check(context, present(context, theirs.id))
    trader = replace(context, host=replace(context.host, identity="vitals"))
    assert not keeper.check(trader, present(context, ours.id))
    with pytest.raises(AgentError, match="enrolled for 'vitals'"):
        keeper.check(trader, present(context, theirs.id))


def test_a_page_permits_only_when_all_of_it_adds_up(tmp_path: Path) -> None:
    """K03: one bit wrong, missing, short, latched, halted or old: no."""
    path = tmp_path / "stop.page"
    assert not vitals.permits(path, 0, NS_PER_S)
    path.write_bytes(vitals.halted_page(100))
    assert not vitals.permits(path, 100, NS_PER_S)
    page = StopPage(path, writable=True)
    page.write(epoch=2, may_send=True, beat_ns=100, latch_cleared=0, scope_generation=0, narrowing=UNNARROWED, token=NOBODY, durable=False)
    page.close()
    assert vitals.permits(path, 100 + NS_PER_S, NS_PER_S) and not vitals.permits(path, 101 + NS_PER_S, NS_PER_S)
    whole = path.read_bytes()
    for at in (0, 8, 16, 24, 32, 56, 64, 72):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert not vitals.permits(path, 100, NS_PER_S), at
        words = parse_stop(path.read_bytes())
        assert words is None or words.latched or not words.may_send
    path.write_bytes(whole[:-1])
    assert not vitals.permits(path, 100, NS_PER_S)


def test_vitals_are_written_as_the_contract_reads_them(tmp_path: Path) -> None:
    """Again and again, over what was there before."""
    path = tmp_path / "vitals.page"
    identity = keeper.identity_of(GOOD, "web", HostClock())
    for beat in range(3):
        said = {"identity": identity, "beat_ns": beat, "state": "ready", "ack_epoch": 0, "ack_latch": 0, "send_queue": 0, "working": 0}
        names = ("sessions", "feed_age_ns", "positions", "counters", "gauges", "histograms", "limits")
        vitals.write_vitals(path, {**said, **{name: {} for name in names}})
        found = read_vitals(path)
        assert found and (found.beat_ns, found.identity.pid, found.identity.service) == (beat, os.getpid(), "web")
