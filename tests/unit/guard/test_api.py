"""What is let in and what is not, over real TLS."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import msgspec
import pytest

from tests.support.guardhost import GuardHost
from tests.support.people import People, signed
from tests.support.wait import until
from tradeops.base.clock import NS_PER_S, SystemClock
from tradeops.contracts.directive import SPEAKS, Verb
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.roster import SCHEMA as ROSTER_SCHEMA
from tradeops.contracts.roster import Roster, RosterHost
from tradeops.contracts.status import MarkKind
from tradeops.fleet.roster import open_roster

DAY_NS = 24 * 3600 * NS_PER_S


@pytest.mark.parametrize(
    ("code", "make"),
    [
        ("expired", lambda p: p.say(Verb.HALT, issued_ns=1, expires_ns=2)),
        (
            "not_yet",
            lambda p: p.say(Verb.HALT, issued_ns=SystemClock().wall_ns() + DAY_NS, expires_ns=SystemClock().wall_ns() + 2 * DAY_NS),
        ),
        ("too_long", lambda p: p.say(Verb.HALT, expires_ns=SystemClock().wall_ns() + 2 * DAY_NS)),
        ("wrong_fleet", lambda p: p.say(Verb.KILL, fleet="other")),
        ("wrong_host", lambda p: p.say(Verb.KILL, hosts=("host-2",))),
        ("signature", lambda p: p.say(Verb.KILL, p.nobody)),
        ("signature", lambda p: signed(p.directive(Verb.KILL), Purpose.ROSTER, p.operator)),
        ("not_entitled", lambda p: p.say(Verb.RESUME, p.sentinel, ends=("x",))),
        ("not_entitled", lambda p: p.say(Verb.PERMIT, args={"cause": "x"})),
        ("not_entitled", lambda p: p.say(Verb.PERMIT, p.operator, p.operator, args={"cause": "x"})),
        ("malformed", lambda p: Envelope("!!", p.say(Verb.KILL).signatures)),
        ("malformed", lambda p: Envelope.of(b"[]", "x")),
        ("malformed", lambda p: Envelope.of(b"{}", "x")),
        ("malformed", lambda p: Envelope(p.say(Verb.KILL).payload, ())),
    ],
)
def test_a_directive_is_refused(quiet: GuardHost, code: str, make: Callable[[People], Envelope]) -> None:
    """Wrong, expired, early, for others, by others, altered: a reason each time, and nothing changes."""  # K05 K07
    epoch = quiet.status().epoch
    reply = quiet.post(make(quiet.people), wait_ms=0)
    assert not reply.accepted and reply.code == code and reply.error
    assert quiet.status().epoch == epoch


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardHost]:
    """One guard without a trader, for what changes nothing."""
    with contextlib.closing(GuardHost(tmp_path_factory.mktemp("quiet"))) as made:
        made.start_guard()
        yield made


def test_reading_needs_a_certificate_and_so_does_everything_but_kill(quiet: GuardHost) -> None:
    """A kill is taken from anybody who signed it; nothing else is even looked at without a certificate."""
    for path in ("/v1/status", "/v1/identity", "/v1/health", "/metrics"):
        assert quiet.ask("GET", path, certified=False)[0] == 403
        assert quiet.ask("GET", path)[0] == 200
    assert quiet.post(quiet.people.say(Verb.HALT), certified=False).code == "certificate"
    assert quiet.ask("GET", "/nothing")[0] == 404
    assert quiet.ask("GET", "/v1/stops/none")[0] == 404
    assert quiet.ask("DELETE", "/v1/status")[0] == 405


def test_the_roster_is_served_as_it_was_signed_and_every_answer_tells_its_number(quiet: GuardHost) -> None:
    """K04: a kill from a machine that knows fewer hosts learns of it from the answer, and reads who they are."""
    quiet.layout.roster_file.unlink(missing_ok=True)
    until(lambda: quiet.ask("GET", "/v1/roster")[0] == 404, 10)
    listed = RosterHost("host-9", "192.0.2.9", 22, "tradeops", quiet.people.operator.public_line, 8443)
    kept = signed(Roster(ROSTER_SCHEMA, quiet.people.fleet, 7, (listed,)), Purpose.ROSTER, quiet.people.operator)
    quiet.put(quiet.layout.roster_file, kept)
    until(lambda: quiet.status().roster_number == 7, 10)
    assert quiet.ask("GET", "/v1/roster", certified=False)[0] == 403
    code, body = quiet.ask("GET", "/v1/roster")
    assert code == 200
    assert open_roster(msgspec.json.decode(body, type=Envelope), quiet.people.policy()).hosts == (listed,)
    assert quiet.post(quiet.people.say(Verb.KILL, fleet="other")).roster_number == 7
    assert quiet.kill().roster_number == 7
    quiet.layout.roster_file.write_bytes(b"{")
    until(lambda: any("roster" in problem for problem in quiet.status().problems), 10)
    assert quiet.ask("GET", "/v1/roster")[0] == 200


def test_bodies_are_bounded(quiet: GuardHost) -> None:
    """Too large, empty, not JSON, nested without end: refused, and the guard goes on."""
    assert quiet.ask("POST", "/v1/directives", b"x" * (2 << 20))[0] == 413
    for body in (b"", b"null", b"{}", b"[" * 100_000, b"\xff\xfe"):
        assert quiet.ask("POST", "/v1/directives", body)[0] == 400
    assert quiet.ask("POST", "/v1/directives?wait_ms=soon", msgspec.json.encode(quiet.people.say(Verb.KILL, fleet="x")))[0] == 409
    assert (quiet.status().host, quiet.status().speaks) == ("host-1", SPEAKS)


def test_many_hanging_connections_do_not_keep_a_kill_out(host: GuardHost) -> None:
    """Silent sockets, half a handshake, half a request head, half a body: the kill is answered all the same."""  # K03
    host.permit()
    hanging = []
    for number in range(600):
        try:
            if number % 3 == 0:
                http = HTTPConnection("127.0.0.1", host.port, timeout=5)
                http.connect()
                hanging.append(http.sock)
            elif number < 90:
                one = host.connect(host.context(certified=False))
                one.sendall(
                    b"POST /v1/directives HTTP/1.1\r\nHost: host-1\r\nContent-Length: 1000\r\n\r\n{" if number % 2 else b"GET /v1/st"
                )
                hanging.append(one)
        except OSError:
            continue
    reply = host.kill()
    assert reply.accepted and reply.blocked
    for sock in hanging:
        sock.close()


def test_a_kill_is_answered_at_once_while_others_wait(host: GuardHost) -> None:
    """Many kills at the same time, each with its own answer."""  # K03
    host.permit()
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: host.kill(), range(32)))
    assert all(reply.accepted and reply.blocked for reply in replies)
    assert len([mark for mark in host.status().marks if mark.kind is MarkKind.KILL]) == 32


@pytest.mark.parametrize("age_ns", [-500 * DAY_NS, 500 * DAY_NS])
def test_the_dates_of_certificates_do_not_keep_a_kill_out(tmp_path: Path, age_ns: int) -> None:
    """The guard's certificate has ended, or is not yet valid."""  # K04
    with contextlib.closing(GuardHost(tmp_path)) as host:
        host.issue(SystemClock().wall_ns() + age_ns)
        host.start_guard()
        reply = host.post(host.people.say(Verb.KILL), certified=False, dates=False)
        assert reply.accepted and reply.blocked


def test_a_wrong_clock_keeps_no_kill_out(tmp_path: Path) -> None:
    """Other directives are held against the host's clock, and the answer says so."""  # O11
    with contextlib.closing(GuardHost(tmp_path, clock_offset_ns=DAY_NS)) as host:
        host.start_guard()
        assert host.post(host.people.say(Verb.HALT)).code == "expired"
        assert host.kill().accepted
        assert host.status().wall_ns - SystemClock().wall_ns() == pytest.approx(DAY_NS, abs=10 * NS_PER_S)


def test_unknown_fields_are_held_against_what_adds_risk_alone(host: GuardHost) -> None:
    """A newer operator's kill and halt are obeyed; its permit is not."""
    people = host.people

    def newer(verb: Verb, **changes: object) -> Envelope:
        words = {**msgspec.to_builtins(people.directive(verb)), "mood": "bad", **changes}
        body = msgspec.json.encode(words)
        keys = (people.operator, people.risk)
        return Envelope.of(body, *(key.sign(body, Purpose.DIRECTIVE) for key in keys))

    assert host.post(newer(Verb.PERMIT, args={"cause": "x"})).code == "unknown_fields"
    host.permit()
    assert host.post(newer(Verb.HALT)).accepted
    part = host.post(newer(Verb.KILL, scope={"desks": ["d1"]}))
    assert part.accepted and not host.page_says_send()
    assert host.post(newer(Verb.KILL, issued_ns="yesterday", args=3)).accepted
