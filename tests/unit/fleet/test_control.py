"""The guards' control API: each host its own outcome, on time, believed only for itself; the kill needs least of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.badssh import silent_port
from tests.support.sshd import free_port, host, running_sshd
from tests.support.tlsguard import Answer, Heard, http, make_tls, tls_guards
from tradeops.base.clock import NS_PER_S, SystemClock
from tradeops.base.errors import ConfigError, OutcomeUnknown, Refused, TradeopsError, Unreachable
from tradeops.contracts.codec import encode
from tradeops.contracts.directive import REPLY_SCHEMA, SCHEMA, Directive, DirectiveReply, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.identity import SCHEMA as IDENTITY_SCHEMA
from tradeops.contracts.identity import IdentityReport
from tradeops.contracts.status import HEALTH_SCHEMA, Health
from tradeops.fleet.control import REPLY_BYTES_MAX, HttpControls
from tradeops.fleet.fleetfile import Deadlines
from tradeops.fleet.host import JumpHost
from tradeops.fleet.outcome import Done, Failed, Outcome, Unknown, errors, values
from tradeops.fleet.ssh import Ssh
from tradeops.fleet.tls import TlsFiles

CLOCK = SystemClock()
TEN_YEARS_NS = 3650 * 86400 * NS_PER_S


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls(tmp_path_factory.mktemp("tls"), "host-1", "host-2", "host-3")


@pytest.fixture
def controls(files: TlsFiles) -> HttpControls:
    return HttpControls(files.folder, CLOCK)


def directive(verb: Verb = Verb.KILL) -> Envelope:
    """Signed by nobody: what the guard makes of it is not this room's business."""
    body = Directive(SCHEMA, "k1", verb, "test-fleet", ("*",), "a drill", 1, 2)
    return Envelope.of(encode(body), "armored")


def reply(name: str, **more: object) -> bytes:
    values: dict[str, object] = {"accepted": True, "blocked": True, **more}
    return http(msgspec.json.encode(DirectiveReply(REPLY_SCHEMA, "k1", name, **values)))  # type: ignore[arg-type]  # a test's choice


async def identity(heard: Heard) -> bytes:
    return http(msgspec.json.encode(IdentityReport(IDENTITY_SCHEMA, "host-1", "test-fleet", "sha256:p", None, None)))


async def hangs(heard: Heard) -> None:
    return None


def answering(data: bytes) -> Answer:
    async def answer(heard: Heard) -> bytes:
        return data

    return answer


def one_outcome(files: TlsFiles, data: bytes | None, *, verb: Verb = Verb.HALT, deadline_s: float = 3) -> Outcome[DirectiveReply]:
    """What a POST comes to when the guard answers with `data`; None: it hangs."""
    with tls_guards(files, {"host-1": hangs if data is None else answering(data)}) as guards:
        return HttpControls(files.folder, CLOCK).direct([guards["host-1"].host()], directive(verb), deadline_s=deadline_s)["host-1"]


def test_reads_show_the_operators_certificate(files: TlsFiles, controls: HttpControls) -> None:
    """Identity, health, metrics, each from its path."""
    health = http(msgspec.json.encode(Health(HEALTH_SCHEMA, "host-2", True, ())))
    answers = {"host-1": identity, "host-2": answering(health), "host-3": answering(http(b"tradeops_trading 1\n"))}
    with tls_guards(files, answers) as guards:
        hosts = {name: guard.host() for name, guard in guards.items()}
        report = controls.identities([hosts["host-1"]], deadline_s=3)["host-1"]
        assert isinstance(report, Done)
        assert (report.value.fleet, report.elapsed_ms > 0) == ("test-fleet", True)
        assert values(controls.healths([hosts["host-2"]], deadline_s=3))["host-2"].healthy
        assert values(controls.metrics([hosts["host-3"]], deadline_s=3)) == {"host-3": "tradeops_trading 1\n"}
        assert isinstance(controls.statuses([hosts["host-2"]], deadline_s=3)["host-2"], Failed)
        heard = [guard.heard[0] for guard in guards.values()]
        assert [(one.method, one.target, one.client) for one in heard] == [
            ("GET", "/v1/identity", True),
            ("GET", "/v1/health", True),
            ("GET", "/metrics", True),
        ]


def test_each_host_has_its_own_outcome(files: TlsFiles, controls: HttpControls) -> None:
    """D01: one answers, one hangs, one is not there; the whole ends by the deadline, and outcomes are told as they come."""
    told: list[str] = []
    start_ns = CLOCK.monotonic_ns()
    with tls_guards(files, {"host-1": answering(reply("host-1")), "host-2": hangs}) as guards:
        hosts = [guards["host-2"].host(), guards["host-1"].host(), host("host-3", port=1, control_port=free_port())]
        outcomes = controls.direct(hosts, directive(), deadline_s=0.8, wait_ms=250, answered=lambda name, outcome: told.append(name))
    assert list(outcomes) == ["host-2", "host-1", "host-3"]
    assert isinstance(outcomes["host-1"], Done)
    assert isinstance(outcomes["host-2"], Unknown)
    assert isinstance(outcomes["host-3"], Failed)
    assert isinstance(errors(outcomes)["host-3"], Unreachable)
    assert told == ["host-1", "host-3", "host-2"]
    assert guards["host-1"].heard[0].target == "/v1/directives?wait_ms=250"
    assert (CLOCK.monotonic_ns() - start_ns) / NS_PER_S < 4


@pytest.mark.parametrize(("verb", "client"), [(Verb.KILL, False), (Verb.HALT, True)])
def test_only_a_kill_goes_without_a_certificate_of_ours(files: TlsFiles, controls: HttpControls, verb: Verb, client: bool) -> None:
    """K04: and what is posted is the envelope, byte for byte JSON."""
    with tls_guards(files, {"host-1": answering(reply("host-1"))}) as guards:
        assert isinstance(controls.direct([guards["host-1"].host()], directive(verb), deadline_s=3)["host-1"], Done)
        assert guards["host-1"].heard[0].client is client
        assert msgspec.json.decode(guards["host-1"].heard[0].body, type=Envelope) == directive(verb)


def test_a_kill_goes_through_ended_certificates_and_without_the_operators(tmp_path: Path) -> None:
    """K04: made ten years ago, and the client's files are gone; a halt is stopped by either."""
    old = make_tls(tmp_path / "tls", "host-1", now_ns=CLOCK.wall_ns() - TEN_YEARS_NS - NS_PER_S * 86400 * 5)
    with tls_guards(old, {"host-1": answering(reply("host-1"))}) as guards:
        hosts = [guards["host-1"].host()]
        halted = HttpControls(old.folder, CLOCK).direct(hosts, directive(Verb.HALT), deadline_s=3)["host-1"]
        assert isinstance(halted, Failed)
        assert "expired" in str(halted.error)
        old.client.unlink()
        assert isinstance(HttpControls(old.folder, CLOCK).direct(hosts, directive(), deadline_s=3)["host-1"], Done)
        with pytest.raises(ConfigError, match=r"client\.pem"):
            HttpControls(old.folder, CLOCK).direct(hosts, directive(Verb.HALT), deadline_s=3)
        old.ca.unlink()
        with pytest.raises(ConfigError, match=r"ca\.pem"):
            HttpControls(old.folder, CLOCK).direct(hosts, directive(), deadline_s=3)


def test_another_hosts_certificate_is_refused_even_for_a_kill(files: TlsFiles, controls: HttpControls) -> None:
    with tls_guards(files, {"host-1": answering(reply("host-1"))}, shows="host-2") as guards:
        outcome = controls.direct([guards["host-1"].host()], directive(), deadline_s=3)["host-1"]
        assert isinstance(outcome, Failed)
        assert "certificate that is not its own" in str(outcome.error)
        assert guards["host-1"].heard == []


def test_another_fleets_guard_is_refused(files: TlsFiles, tmp_path: Path) -> None:
    other = make_tls(tmp_path / "other", "host-1")
    with tls_guards(other, {"host-1": answering(reply("host-1"))}) as guards:
        outcome = HttpControls(files.folder, CLOCK).direct([guards["host-1"].host()], directive(), deadline_s=3)["host-1"]
    assert isinstance(outcome, Failed)
    assert "certificate" in str(outcome.error)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (reply("host-2"), "speaks for 'host-2'"),
        (http(msgspec.json.encode(DirectiveReply(REPLY_SCHEMA, "k0", "host-1", accepted=True))), "about another directive"),
        (http(b"no such path", "404 Not Found"), "answered 404: no such path"),
    ],
)
def test_a_guard_that_lies_has_not_done_it(files: TlsFiles, data: bytes, what: str) -> None:
    """D02: another host's word, an old answer, no guard at all."""
    outcome = one_outcome(files, data)
    assert isinstance(outcome, Failed)
    assert what in str(outcome.error)
    assert outcome.error.where == "host-1"


def test_a_refusal_says_why_and_what_next(files: TlsFiles) -> None:
    outcome = one_outcome(files, reply("host-1", accepted=False, code="expired", error="it ended\x1b[2J", next="sign again"))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, Refused)
    assert (outcome.error.what, outcome.error.next, outcome.error.code) == ("its guard refused: it ended[2J", "sign again", "expired")


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
        b"220 smtp ready\r\n\r\n",
        http(b"{}"),
        http(b"<html>", "502 Bad Gateway"),
        http(b" " * (REPLY_BYTES_MAX + 1)),
    ],
)
def test_a_directive_without_an_answer_is_unknown_and_sent_once(files: TlsFiles, data: bytes | None) -> None:
    """Hangs, closes, cut off, no HTTP, nonsense, an error page, without end: it may have been done."""
    with tls_guards(files, {"host-1": hangs if data is None else answering(data)}) as guards:
        controls = HttpControls(files.folder, CLOCK)
        outcome = controls.direct([guards["host-1"].host()], directive(Verb.RESUME), deadline_s=1)["host-1"]
        assert isinstance(outcome, Unknown)
        assert isinstance(outcome.error, OutcomeUnknown)
        assert len(guards["host-1"].heard) == 1


@pytest.mark.parametrize("data", [None, b"", http(b"{}"), http(b"forbidden", "403 Forbidden")])
def test_a_read_without_an_answer_leaves_nothing_in_doubt(files: TlsFiles, data: bytes | None) -> None:
    with tls_guards(files, {"host-1": hangs if data is None else answering(data)}) as guards:
        outcome = HttpControls(files.folder, CLOCK).statuses([guards["host-1"].host()], deadline_s=0.5)["host-1"]
    assert isinstance(outcome, Failed)
    assert outcome.error.where == "host-1"


def test_metrics_of_a_guard_that_refuses(files: TlsFiles, controls: HttpControls) -> None:
    with tls_guards(files, {"host-1": answering(http(b"no", "403 Forbidden"))}) as guards:
        outcome = controls.metrics([guards["host-1"].host()], deadline_s=3)["host-1"]
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, Refused)


def test_a_port_that_accepts_and_never_speaks_ends_in_time(controls: HttpControls) -> None:
    start_ns = CLOCK.monotonic_ns()
    with silent_port() as port:
        outcome = controls.direct([host(port=1, control_port=port)], directive(), deadline_s=0.4)["host-1"]
    assert isinstance(outcome, Failed)
    assert outcome.error.holds == "nothing was sent"
    assert (CLOCK.monotonic_ns() - start_ns) / NS_PER_S < 3


def test_a_name_that_is_not_known(controls: HttpControls) -> None:
    outcome = controls.identities([host(port=1, address="nowhere.invalid")], deadline_s=3)["host-1"]
    assert isinstance(outcome, Failed)
    assert "nowhere.invalid" in str(outcome.error)


def test_names_are_resolved(files: TlsFiles, controls: HttpControls) -> None:
    with tls_guards(files, {"host-1": identity}) as guards:
        assert values(controls.identities([guards["host-1"].host(address="localhost")], deadline_s=3))["host-1"].host == "host-1"


def test_what_is_no_directive_is_not_sent(controls: HttpControls) -> None:
    with pytest.raises(TradeopsError, match="holds no Directive"):
        controls.direct([host(port=1)], Envelope.of(b"[]", "armored"), deadline_s=1)


def test_through_a_jump_host(files: TlsFiles, tmp_path: Path) -> None:
    """The guard's name is checked at the far end of the tunnel; without a tunnel, or past its end, nothing is sent."""
    with running_sshd(tmp_path / "jump") as jump, tls_guards(files, {"host-1": identity}) as guards:
        ssh = Ssh(
            deadlines=Deadlines(), jumps={"gate": JumpHost("gate", "127.0.0.1", jump.port, None, jump.host_key, str(jump.client_key))}
        )
        tunnelled = HttpControls(files.folder, CLOCK, tunnel=lambda one, port, wait_s: ssh.tunnel(one, port, timeout_s=wait_s))
        behind = guards["host-1"].host(jump="gate")
        assert values(tunnelled.identities([behind], deadline_s=5))["host-1"].host == "host-1"
        nobody = host(port=1, control_port=free_port(), jump="gate")
        assert "does not reach" in str(errors(tunnelled.identities([nobody], deadline_s=5))["host-1"])
        assert "no tunnel" in str(errors(HttpControls(files.folder, CLOCK).identities([behind], deadline_s=5))["host-1"])
        ssh.close()


def test_many_hosts_that_hang_hold_up_nobody_else(files: TlsFiles, controls: HttpControls) -> None:
    """More of them than places: each gives its place up after a moment, and the living one behind them is reached."""
    with silent_port() as port, tls_guards(files, {"host-1": answering(reply("host-1"))}) as guards:
        dead = [host(f"dead-{number}", port=1, control_port=port) for number in range(200)]
        outcomes = controls.direct([*dead, guards["host-1"].host()], directive(), deadline_s=3)
    assert list(values(outcomes)) == ["host-1"]
    assert len(errors(outcomes)) == 200


@pytest.mark.parametrize("read", [HttpControls.rosters, HttpControls.overlays])
def test_signed_documents_are_read_as_they_were_signed(files: TlsFiles, controls: HttpControls, read: Any) -> None:
    """Whole, or an error that says why: whose signature it bears is for the reader to ask."""
    answers = {
        "host-1": answering(http(msgspec.json.encode(directive()))),
        "host-2": answering(http(b"[1]")),
        "host-3": answering(http(b"{}", "404 Not Found")),
    }
    with tls_guards(files, answers) as guards:
        found = read(controls, [guard.host() for guard in guards.values()], deadline_s=3)
    assert values(found) == {"host-1": directive()}
    assert "no signed document" in errors(found)["host-2"].what
    assert "answered 404" in errors(found)["host-3"].what
