"""A real guard process behind real TLS, and a small real trader beside it."""

from __future__ import annotations

import contextlib
import os
import signal
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
from tradeops.contracts.directive import Scope, Verb
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.identity import IdentityReport
from tradeops.contracts.pages import STOP_BYTES, StopPage, pack_latch
from tradeops.contracts.status import Health, MarkKind

DAY_NS = 24 * 3600 * NS_PER_S


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[GuardHost]:
    """A host with its guard up and its trader halted for want of a permit."""
    with contextlib.closing(GuardHost(tmp_path)) as made:
        made.start_guard()
        made.start_trader()
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardHost]:
    """One host for many tests."""
    with contextlib.closing(GuardHost(tmp_path_factory.mktemp("shared"))) as made:
        yield made


@pytest.fixture
def host(shared: GuardHost) -> GuardHost:
    """A host that trades."""
    shared.restore()
    return shared


def kinds(host: GuardHost) -> set[str]:
    """The kinds of marks that stand."""
    return {str(mark.kind) for mark in host.status().marks}


def test_a_new_host_does_not_trade_and_a_permit_arms_it(fresh: GuardHost) -> None:
    """Unarmed at first; two people permit; one kills; blocked and clear come with the answer."""  # K05 K06
    assert kinds(fresh) == {"unarmed"} and not fresh.page_says_send()
    fresh.permit()
    assert fresh.status().trading and fresh.page_says_send()
    reply = fresh.kill(issued_ns=1, expires_ns=2)
    assert reply.accepted and reply.blocked and reply.clear and reply.working == 0
    assert reply.blocked_ms is not None and reply.blocked_ms < 1000
    assert reply.clear_ms is not None and reply.clear_ms >= reply.blocked_ms
    assert not fresh.page_says_send() and kinds(fresh) == {"kill", "unarmed"}
    again = fresh.post(fresh.people.say(Verb.KILL, id=reply.id, issued_ns=1, expires_ns=2), certified=False)
    assert again.accepted and again.already and again.blocked
    fresh.permit()
    assert fresh.page_says_send()
    spent = fresh.post(fresh.people.say(Verb.KILL, id=reply.id, issued_ns=1, expires_ns=2), certified=False)
    assert not spent.accepted and spent.already and spent.code == "spent" and fresh.page_says_send()


def test_a_kill_outlives_kill_9_and_a_permit_outlives_a_restart(host: GuardHost) -> None:
    """What is durable is the permit, and its end."""  # K06
    host.permit()
    host.kill_guard()
    host.start_guard()
    until(host.page_says_send, 5)
    kill = host.kill()
    host.kill_guard()
    host.start_guard()
    assert not host.page_says_send()
    assert kill.id in {mark.id for mark in host.status().marks}
    assert until(lambda: host.status().blocked, 5)


def _delete(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    os.truncate(path, 0)


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def _corrupt(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(30)
        file.write(b"\xff\xff\xff")


def _forge(path: Path) -> None:
    page = StopPage(path, writable=True)
    words = page.read()
    assert words
    page.write(
        epoch=words.epoch + 5, may_send=True, beat_ns=words.beat_ns, latch_cleared=words.latch, scope_generation=9, scopes=(), durable=False
    )
    page.close()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_delete, _truncate, _replace, _corrupt, _forge, _folder])
def test_a_damaged_stop_page_halts_while_trading(host: GuardHost, damage: Callable[[Path], None]) -> None:
    """Deleted, truncated, replaced, corrupted, forged: halted at the next beat, the page made anew, the permit lost."""  # K06
    host.permit()
    before = host.status().epoch
    damage(host.layout.stop_page)
    until(lambda: "unarmed" in kinds(host), 5)
    status = host.status()
    assert not status.trading and status.epoch > before and status.permit is None
    assert not host.page_says_send() and host.layout.stop_page.stat().st_size == STOP_BYTES
    assert any("stop page" in mark.reason for mark in status.marks)
    host.permit()
    assert host.page_says_send()


def test_the_old_mapping_of_a_deleted_page_says_halted(host: GuardHost) -> None:
    """A mapping outlives its name: a trader that has the old page mapped is stopped through it."""  # K06
    host.permit()
    mapped = StopPage(host.layout.stop_page, writable=False)
    host.layout.stop_page.unlink()
    until(lambda: (words := mapped.read()) is not None and not words.may_send, 5)
    mapped.close()


@pytest.mark.parametrize("damage", [_delete, _truncate, _corrupt])
@pytest.mark.parametrize("down", [False, True])
def test_a_damaged_permit_halts(host: GuardHost, damage: Callable[[Path], None], down: bool) -> None:
    """While the guard runs and while it does not: lost, unreadable, altered = halted."""  # K06
    host.permit()
    if down:
        host.kill_guard()
    damage(host.layout.guard_state / "state.json")
    if down:
        host.start_guard()
    until(lambda: kinds(host) == {"unarmed"} and not host.page_says_send(), 5)


def test_an_old_permit_does_not_come_back_after_the_state_was_lost(host: GuardHost) -> None:
    """With the list of spent ids lost, whatever was signed before counts as spent."""  # K07
    permit = host.people.permit()
    assert host.post(permit).accepted
    assert host.post(permit).code == "replayed"
    host.kill_guard()
    (host.layout.guard_state / "state.json").unlink()
    host.start_guard()
    assert host.post(permit).code == "signed_before"
    assert not host.page_says_send()


def test_a_state_copied_back_from_before_a_kill_does_not_trade(host: GuardHost) -> None:
    """The stop page remembers a higher epoch than the state."""  # K06
    host.permit()
    state = host.layout.guard_state / "state.json"
    before = state.read_bytes()
    host.kill()
    host.kill_guard()
    state.write_bytes(before)
    host.start_guard()
    assert not host.page_says_send() and kinds(host) == {"unarmed"}


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


def test_bodies_are_bounded(quiet: GuardHost) -> None:
    """Too large, empty, not JSON, nested without end: refused, and the guard goes on."""
    assert quiet.ask("POST", "/v1/directives", b"x" * (2 << 20))[0] == 413
    for body in (b"", b"null", b"{}", b"[" * 100_000, b"\xff\xfe"):
        assert quiet.ask("POST", "/v1/directives", body)[0] == 400
    assert quiet.ask("POST", "/v1/directives?wait_ms=soon", msgspec.json.encode(quiet.people.say(Verb.KILL, fleet="x")))[0] == 409
    assert quiet.status().host == "host-1"


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


def test_a_hung_trader_is_not_blocked_until_it_is_dead(host: GuardHost) -> None:
    """SIGSTOP: not acknowledging, so the guard ends it, and only then says blocked."""  # K02
    host.permit()
    assert host.trader
    os.kill(host.trader.pid, signal.SIGSTOP)
    early = host.post(host.people.say(Verb.HALT), wait_ms=100)
    assert early.accepted and not early.blocked and not host.status().blocked
    reply = host.kill()
    assert reply.blocked and reply.blocked_ms is not None and reply.blocked_ms > 250
    assert host.trader.wait(5) == -signal.SIGKILL


def test_a_trader_that_does_not_acknowledge_is_not_blocked(host: GuardHost) -> None:
    """Bytes in its send queue, or an epoch it has not seen, are not blocked: a halt never claims it."""
    host.permit()
    host.tell_trader(send_queue=7)
    reply = host.post(host.people.say(Verb.HALT), wait_ms=200)
    assert reply.accepted and not reply.blocked
    host.tell_trader(send_queue=0)
    until(lambda: host.status().blocked, 5)


def test_a_silent_trader_is_halted_with_the_measured_value(host: GuardHost) -> None:
    """A stale beat while trading."""  # K12
    host.permit()
    assert host.trader
    os.kill(host.trader.pid, signal.SIGSTOP)
    until(lambda: "halt" in kinds(host), 10)
    mark = next(mark for mark in host.status().marks if mark.kind is MarkKind.HALT)
    assert mark.by == "trader-beat" and "ms old" in mark.reason
    os.kill(host.trader.pid, signal.SIGCONT)


def test_a_dead_trader_is_halted_and_blocked(host: GuardHost) -> None:
    """kill -9 of the trader: proved dead, so blocked; a person resumes."""  # K06
    host.permit()
    assert host.trader
    host.trader.kill()
    host.trader.wait(5)
    until(lambda: "halt" in kinds(host), 10)
    status = host.status()
    assert status.blocked and not status.trading and not host.page_says_send()
    identity = msgspec.json.decode(host.ask("GET", "/v1/identity")[1], type=IdentityReport)
    assert "gone" in identity.problem


def test_drift_halts(host: GuardHost) -> None:
    """The slot is linked to another release under a running trader."""  # D03
    host.permit()
    link = host.layout.slot("blue") / "current"
    other = host.layout.release("sha256:" + "b" * 64)
    other.mkdir()
    link.unlink()
    link.symlink_to(other)
    until(lambda: "halt" in kinds(host), 5)
    assert host.status().marks[0].by == "drift"
    assert host.post(host.people.permit()).code == "not_proved"


def test_out_of_what_came_in_is_needs_a_venue_and_health_says_unknown(host: GuardHost) -> None:
    """No data is never a pass: without a venue the drop copy is unknown and the host not healthy."""
    health = msgspec.json.decode(host.ask("GET", "/v1/health")[1], type=Health)
    verdicts = {check.name: check.verdict for check in health.checks}
    assert not health.healthy and verdicts["drop copy"] == "unknown" and verdicts["trader"] == "yes"


def test_a_permit_needs_a_proved_trader(host: GuardHost) -> None:
    """A warning since start, a session down, a trader that is not ready: each refused."""  # D17 K07
    for words in ({"warnings": ["feature disabled"]}, {"sessions": {"sim": "down"}}, {"state": "recovering"}):
        host.tell_trader(**words)
        until(lambda: host.post(host.people.permit(), wait_ms=0).code == "not_proved", 5)
        host.tell_trader(warnings=[], sessions={}, state="ready")
    until(lambda: host.post(host.people.permit()).accepted, 5)


def test_a_latch_over_ssh_is_adopted(host: GuardHost) -> None:
    """The agent's word and the file beside it: the guard makes a kill of it, and only a permit that names it clears the word."""  # K04
    host.permit()
    kill = host.people.say(Verb.KILL, id="k-ssh")
    host.put(host.layout.latched / "k-ssh.json", kill)
    with host.layout.stop_page.open("r+b") as page:
        page.seek(64)
        page.write(pack_latch(1))
    until(lambda: "kill" in kinds(host), 5)
    assert [mark.id for mark in host.status().marks if mark.kind is MarkKind.KILL] == ["k-ssh"]
    host.kill_guard()
    host.start_guard()
    assert not host.page_says_send()
    assert host.post(host.people.permit()).code == "kill_not_named"
    host.permit()
    until(host.page_says_send, 5)


def test_a_latch_without_a_kill_that_holds_is_a_kill(host: GuardHost) -> None:
    """A forged file beside a raised word: the host stays stopped until two people look at it."""
    host.permit()
    (host.layout.latched / "junk.json").write_bytes(b"{")
    host.put(host.layout.latched / "forged.json", host.people.say(Verb.KILL, host.people.nobody))
    with host.layout.stop_page.open("r+b") as page:
        page.seek(64)
        page.write(pack_latch(7))
    until(lambda: "kill" in kinds(host), 5)
    assert next(mark.id for mark in host.status().marks if mark.kind is MarkKind.KILL).startswith("latch-7")
    host.permit()
    until(host.page_says_send, 5)


def test_a_run_halts_leases_and_resumes_its_own(host: GuardHost) -> None:
    """The run's key, lent by a person, does these and nothing more."""
    host.permit()
    halt = host.post(host.people.run_says(Verb.HALT))
    assert halt.accepted and halt.blocked
    assert host.post(host.people.run_says(Verb.RESUME, ends=(halt.id,))).accepted
    assert host.page_says_send()
    assert host.post(host.people.run_says(Verb.PERMIT, args={"cause": "x"})).code == "not_entitled"
    assert host.post(host.people.run_says(Verb.LEASE, args={"lease_s": 1, "fence": 1})).accepted
    until(lambda: kinds(host) == {"hold"}, 5)
    assert host.post(host.people.run_says(Verb.LEASE, args={"lease_s": 60, "fence": 2})).accepted
    assert host.page_says_send()


def test_an_overlay_is_laid_before_the_trader(fresh: GuardHost) -> None:
    """Signed as it came, and its blocked symbols in the page at once."""
    fresh.permit()
    overlay = {"schema": "tradeops/overlay/v1", "fleet": "test-fleet", "number": 3, "symbols_blocked": ["ABC"]}
    said = fresh.people.say(Verb.OVERLAY, args={"overlay": overlay})
    assert fresh.post(said).accepted
    assert msgspec.json.decode(fresh.layout.overlay_file.read_bytes(), type=Envelope) == said
    page = StopPage(fresh.layout.stop_page, writable=False)
    words = page.read()
    page.close()
    assert words and words.may_send and words.scopes == (Scope(symbols=("ABC",)),)
    assert fresh.status().overlay_number == 3


def test_a_part_is_killed_and_the_rest_trades(host: GuardHost) -> None:
    """By symbol: in the page at once, acknowledged, and the host still may send."""  # K01
    host.permit()
    reply = host.kill(scope=Scope(symbols=("ABC",)))
    assert reply.accepted and reply.blocked and host.page_says_send()
    assert host.status().marks[0].scope == Scope(symbols=("ABC",))


def test_a_newer_policy_is_taken_up_and_an_older_one_is_not(fresh: GuardHost) -> None:
    """Who left the policy can no longer speak; a policy put back is not believed, and kill still works."""
    fresh.put(fresh.layout.policy_file, fresh.people.signed_policy(2, people=fresh.people.policy().people[:1]))
    until(lambda: fresh.status().policy_number == 2, 5)
    assert fresh.post(fresh.people.say(Verb.KILL, fresh.people.risk)).code == "signature"
    fresh.put(fresh.layout.policy_file, fresh.people.signed_policy(1))
    until(lambda: any("policy" in problem for problem in fresh.status().problems), 5)
    fresh.kill_guard()
    fresh.start_guard()
    assert fresh.status().policy_number == 2
    assert fresh.kill().accepted


def test_a_guard_that_ends_leaves_the_page_with_an_old_beat(host: GuardHost) -> None:
    """SIGTERM: the last words stay, the beat ages, and the trader halts by itself."""  # K13
    host.permit()
    assert host.guard
    host.guard.terminate()
    assert host.guard.wait(10) == 0
    page = StopPage(host.layout.stop_page, writable=False)
    words = page.read()
    page.close()
    now_ns = SystemClock().monotonic_ns()
    assert words and words.may_send and words.beat_ns < now_ns
    until(lambda: SystemClock().monotonic_ns() - words.beat_ns > NS_PER_S // 2, 5)


def test_a_guard_that_cannot_be_set_up_says_why(tmp_path: Path) -> None:
    """No TLS key: exit status 2 and a reason, not a traceback."""
    from tradeops.guard.main import main

    with contextlib.closing(GuardHost(tmp_path)) as host:
        (host.layout.tls / "guard.key").unlink()
        assert main(["--root", str(host.layout.root)]) == 2
        host.layout.host_file.write_text("{")
        assert main(["--root", str(host.layout.root)]) == 2


def test_a_kill_goes_on_when_the_disk_refuses(host: GuardHost) -> None:
    """The state cannot be written: blocked all the same, the answer says it is not on the disk, and it is retried."""  # A03
    host.permit()
    folder = host.layout.guard_state
    moved = folder.with_name("guard-away")
    folder.rename(moved)
    refused = host.post(host.people.permit())
    assert refused.code == "not_durable" or not refused.accepted
    reply = host.kill()
    assert reply.accepted and reply.blocked and "disk" in reply.error
    assert any("state" in problem for problem in host.status().problems)
    moved.rename(folder)
    until(lambda: not any("cannot be written" in problem for problem in host.status().problems), 5)
    host.kill_guard()
    host.start_guard()
    assert "kill" in kinds(host)


def test_identity_is_told(host: GuardHost) -> None:
    """The trader's own words, with their age."""
    report = msgspec.json.decode(host.ask("GET", "/v1/identity")[1], type=IdentityReport)
    assert report.identity and host.trader and report.identity.pid == host.trader.pid
    assert report.problem == "" and report.age_ms is not None and report.age_ms < 1000
