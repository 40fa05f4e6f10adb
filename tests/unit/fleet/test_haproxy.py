"""HAProxy's runtime API when it is not as it should be: a real one with too few rights, and a scripted one that misbehaves."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.haproxy import BACKEND, HAPROXY, haproxy
from tests.support.sshd import free_port
from tradeops.base.clock import SystemClock
from tradeops.base.errors import ConfigError, OutcomeUnknown, PreflightFailed, TradeopsError, Unreachable
from tradeops.fleet.haproxy import ANSWER_BYTES_MAX, Haproxy, HaproxyTraffic
from tradeops.fleet.inventory import load_fleet
from tradeops.fleet.share import Mode

STATE = "1\n# be_name srv_name srv_op_state srv_admin_state srv_uweight srv_iweight\n"
STAT = "# pxname,svname,qcur,scur\n"
HELLO = {"show info": "Name: HAProxy\nVersion: 2.6.12\n\n", "show cli level": "admin\n\n"}
Say = Callable[[str], bytes | None]


@contextmanager
def scripted(say: Say) -> Iterator[str]:
    """A socket that answers each command as it is told; None: it never does."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                answer = say(connection.makefile("r").readline().strip())
                if answer is None:
                    held.append(connection)
                    continue
                with contextlib.suppress(OSError), connection:  # who asked may have read enough
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in held:
                connection.close()


class Told:
    """A proxy with one server. overrides: command -> what is said instead; obeys: whether a change comes true."""

    def __init__(self, overrides: dict[str, str | bytes | None] | None = None, *, obeys: bool = True) -> None:
        self.overrides = overrides or {}
        self.obeys = obeys
        self.admin, self.weight = 0, 100
        self.commands: list[str] = []

    def __call__(self, command: str) -> bytes | None:
        self.commands.append(command)
        if command.startswith("set server") and self.obeys:
            word = command.split(" ", 3)[3]
            self.admin = {"state drain": 8, "state ready": 0}.get(word, self.admin)
            self.weight = int(word.removeprefix("weight ")) if word.startswith("weight ") else self.weight
        for beginning, said in self.overrides.items():
            if command.startswith(beginning):
                return said.encode() if isinstance(said, str) else said
        state = f"{STATE}web h1 2 {self.admin} {self.weight} 100\n\n"
        usual = HELLO | {"show servers state web": state, "show stat web 4 -1": f"{STAT}web,h1,1,2\n\n"}
        return usual.get(command, "\n").encode()


def traffic(proxy: str, *, timeout_s: float = 2.0, servers: dict[str, str] | None = None) -> HaproxyTraffic:
    return HaproxyTraffic(Haproxy((proxy,), BACKEND, servers or {}, timeout_s), SystemClock())


def error_of(told: Say, act: Callable[[HaproxyTraffic], object], *, timeout_s: float = 2.0) -> TradeopsError:
    with scripted(told) as proxy, pytest.raises(TradeopsError) as caught:
        act(traffic(proxy, timeout_s=timeout_s))
    assert caught.value.where == proxy
    return caught.value


def test_what_waits_counts_as_open() -> None:
    """A queued connection is one that a switch would break."""
    with scripted(Told()) as proxy:
        (share,) = traffic(proxy).read(["h1"])
    assert (share.sessions, share.mode, share.up) == (3, Mode.READY, True)


@pytest.mark.parametrize(
    ("command", "said", "words"),
    [
        ("show info", "hello\n", "does not answer as HAProxy does"),
        ("show info", "Name: Squid\nVersion: 5\n\n", "does not answer as HAProxy does"),
        ("show info", "Name: HAProxy\nVersion: 1.8.19-1\n\n", "is HAProxy 1.8.19-1, 2.0 or later"),
        ("show cli level", "operator\n\n", "the level operator"),
        ("show cli level", "Unknown command, but maybe\n\n", "said no"),
        ("show servers", "Can't find backend.\n\n", "Can't find backend"),
        ("show servers", "2\n# be_name\n\n", "a format that is not known"),
        ("show servers", "1\n\n", "a format that is not known"),
        ("show servers", f"{STATE}web h1 2\n\n", "not whole"),
        ("show servers", f"{STATE}web h2 2 0 1 1\n\n", "has no server h1"),
        ("show servers", f"{STATE}web h1 2 much 100 100\n\n", "cannot be read"),
        ("show stat", "No such proxy.\n\n", "No such proxy"),
        ("show stat", "web,h1\n\n", "a format that is not known"),
        ("show stat", "# pxname,svname\nweb,h1\n\n", "cannot be read"),
        ("show stat", f"{STAT}web,h1,nan,1\n\n", "cannot be read"),
    ],
)
def test_a_proxy_that_is_not_as_the_file_says(command: str, said: str, words: str) -> None:
    """Each is said with what was answered; no state is made up."""
    error = error_of(Told({command: said}), lambda proxy: proxy.read(["h1"]))
    assert isinstance(error, PreflightFailed)
    assert words in error.what


@pytest.mark.parametrize("said", [b"", b"1\n# half", b"x" * (ANSWER_BYTES_MAX + 10)])
def test_an_answer_that_is_not_whole_is_unknown(said: bytes) -> None:
    """Closed early, cut short, or without end: bounded, and never taken for an answer."""
    assert isinstance(error_of(Told({"show servers": said}), lambda proxy: proxy.read(["h1"])), OutcomeUnknown)


def test_a_proxy_that_says_nothing_is_left_at_the_deadline() -> None:
    """No command waits for ever."""
    clock = SystemClock()
    began_ns = clock.monotonic_ns()
    error = error_of(Told({"show info": None}), lambda proxy: proxy.read(["h1"]), timeout_s=0.2)
    assert isinstance(error, OutcomeUnknown)
    assert clock.monotonic_ns() - began_ns < 5 * 10**9


def test_a_change_that_is_not_read_back_is_unknown() -> None:
    """Promise 1: a proxy that says yes and does nothing."""
    error = error_of(Told(obeys=False), lambda proxy: proxy.drain(["h1"]))
    assert isinstance(error, OutcomeUnknown)
    assert "h1 was set to `state drain`, and is ready" in error.what
    assert isinstance(error_of(Told(obeys=False), lambda proxy: proxy.weigh(["h1"], 10)), OutcomeUnknown)


def test_a_lost_answer_is_read_back_and_never_sent_again() -> None:
    """Promise 7: what came true counts, however the answer was lost; what did not is unknown."""
    told = Told({"set server": b""})
    with scripted(told) as proxy:
        traffic(proxy).drain(["h1"])
    assert len([command for command in told.commands if command.startswith("set")]) == 1
    error = error_of(Told({"set server": b""}, obeys=False), lambda proxy: proxy.drain(["h1"]))
    assert isinstance(error, OutcomeUnknown) and "did not answer" in error.what


@pytest.mark.parametrize("said", ["Permission denied\n\n", "No such server.\n\n", "Health checks are not enabled on this server.\n\n"])
def test_a_refused_change_says_why(said: str) -> None:
    """In the proxy's own words."""
    error = error_of(Told({"set server": said}, obeys=False), lambda proxy: proxy.drain(["h1"]))
    assert isinstance(error, PreflightFailed) and said.strip() in error.what


def test_a_configured_weight_too_small_for_a_share() -> None:
    """One per cent of weight 1 would be a drain."""
    state = f"{STATE}web h1 2 0 1 1\n\n"
    error = error_of(Told({"show servers": state}), lambda proxy: proxy.weigh(["h1"], 50))
    assert isinstance(error, PreflightFailed) and "give every server a weight" in str(error.next)


def test_nobody_there(tmp_path: Path) -> None:
    """Nothing was sent."""
    for proxy in (f"127.0.0.1:{free_port()}", str(tmp_path / "none.sock"), f"/{'x' * 200}"):
        with pytest.raises(Unreachable, match="cannot be reached"):
            traffic(proxy).read(["h1"])


@pytest.mark.skipif(HAPROXY is None, reason="needs haproxy (Debian: apt-get install haproxy)")
def test_a_real_one_with_too_few_rights_or_another_backend() -> None:
    """By the level of its socket and by the backend's name."""
    with haproxy({"h1": f"127.0.0.1:{free_port()}"}) as running:
        with pytest.raises(PreflightFailed, match="the level operator"):
            traffic(running.operator).drain(["h1"])
        with pytest.raises(PreflightFailed, match="Can't find backend"):
            HaproxyTraffic(Haproxy((running.admin,), "orders"), SystemClock()).read(["h1"])


FLEET = """\
fleet: small
environment: test
hosts_declared: 2
ssh_config: null
service:
  traffic:
    haproxy: [{proxy}]
    backend: web
    servers: {{ {servers} }}
hosts:
  - {{ name: one, address: 192.0.2.1 }}
  - {{ name: two, address: 192.0.2.2 }}
"""


def test_the_fleet_file_names_proxies_and_servers(tmp_path: Path) -> None:
    """A server of its own for each host, by default under the host's name."""
    path = tmp_path / "fleet.yml"
    path.write_text(FLEET.format(proxy='/run/haproxy/admin.sock, "192.0.2.80:9999"', servers="one: web1"))
    named = load_fleet(path).service.traffic
    assert named == Haproxy(("/run/haproxy/admin.sock", "192.0.2.80:9999"), "web", {"one": "web1"}, 3.0)


@pytest.mark.parametrize(
    ("proxy", "servers", "words"),
    [
        ("admin.sock", "", "neither the absolute path"),
        ("192.0.2.80", "", "neither the absolute path"),
        ('"192.0.2.80:99999"', "", "neither the absolute path"),
        ("/a.sock", "three: x", "not one of the hosts"),
        ("/a.sock", "one: two", "the server of two hosts"),
        ("/a.sock", '"one": "a;set"', "pattern"),
    ],
)
def test_a_fleet_file_that_says_otherwise(tmp_path: Path, proxy: str, servers: str, words: str) -> None:
    """With the line and the key."""
    path = tmp_path / "fleet.yml"
    path.write_text(FLEET.format(proxy=proxy, servers=servers))
    with pytest.raises(ConfigError, match=words):
        load_fleet(path)
