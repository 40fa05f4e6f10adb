"""A real guard process behind real TLS, and a small real trader beside it."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import msgspec
import pytest

from tests.support.guardhost import GuardHost
from tests.support.wait import until
from tradeops.base.clock import NS_PER_S, SystemClock
from tradeops.contracts.directive import Scope, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.identity import IdentityReport
from tradeops.contracts.pages import Narrowing, StopPage, pack_latch
from tradeops.contracts.status import Health, MarkKind

DAY_NS = 24 * 3600 * NS_PER_S


def test_a_new_host_does_not_trade_and_a_permit_arms_it(fresh: GuardHost) -> None:
    """Unarmed at first; two people permit; one kills; blocked and clear come with the answer."""  # K05 K06
    assert fresh.kinds() == {"unarmed"} and not fresh.page_says_send()
    fresh.permit()
    assert fresh.status().trading and fresh.page_says_send()
    reply = fresh.kill(issued_ns=1, expires_ns=2)
    assert reply.accepted and reply.blocked and reply.clear and reply.working == 0
    assert reply.blocked_ms is not None and reply.blocked_ms < 1000
    assert reply.clear_ms is not None and reply.clear_ms >= reply.blocked_ms
    assert not fresh.page_says_send() and fresh.kinds() == {"kill", "unarmed"}
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
    until(lambda: "halt" in host.kinds(), 10)
    mark = next(mark for mark in host.status().marks if mark.kind is MarkKind.HALT)
    assert mark.by == "trader-beat" and "ms old" in mark.reason
    os.kill(host.trader.pid, signal.SIGCONT)


def test_a_dead_trader_is_halted_and_blocked(host: GuardHost) -> None:
    """kill -9 of the trader: proved dead, so blocked; a person resumes."""  # K06
    host.permit()
    assert host.trader
    host.trader.kill()
    host.trader.wait(5)
    until(lambda: "halt" in host.kinds(), 10)
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
    until(lambda: "halt" in host.kinds(), 5)
    assert host.status().marks[0].by == "drift"
    assert host.post(host.people.permit()).code == "not_proved"


@pytest.mark.parametrize("damaged", [None, b"{"])
def test_a_host_whose_binding_is_lost_halts_and_is_not_permitted(host: GuardHost, damaged: bytes | None) -> None:
    """Missing or damaged under a running trader: where it trades is not known any more."""  # K07 K12
    host.permit()
    path = host.layout.slot("blue") / "binding.json"
    try:
        path.unlink() if damaged is None else path.write_bytes(damaged)
        until(lambda: "halt" in host.kinds(), 5)
        mark = next(mark for mark in host.status().marks if mark.kind is MarkKind.HALT)
        assert mark.by == "binding" and "slot blue" in mark.reason
        assert host.post(host.people.permit(), wait_ms=0).code == "not_proved"
    finally:
        host.bind()


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
    until(lambda: "kill" in host.kinds(), 5)
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
    until(lambda: "kill" in host.kinds(), 5)
    assert next(mark.id for mark in host.status().marks if mark.kind is MarkKind.KILL).startswith("latch-7")
    host.permit()
    until(host.page_says_send, 5)


def test_a_second_latch_that_cannot_be_read_is_a_kill_of_its_own(host: GuardHost) -> None:
    """One kill stands; another was latched whose file is lost: a permit that names the first alone does not end it."""  # K04 K07
    host.permit()
    host.put(host.layout.latched / "k-one.json", host.people.say(Verb.KILL, id="k-one"))
    for word in (11, 12):
        with host.layout.stop_page.open("r+b") as page:
            page.seek(64)
            page.write(pack_latch(word))
        (host.layout.latched / "k-two.json").write_bytes(b"")
        until(lambda: len([mark for mark in host.status().marks if mark.kind is MarkKind.KILL]) == word - 10, 5)  # noqa: B023  # asked before the next round
    kills = [mark.id for mark in host.status().marks if mark.kind is MarkKind.KILL]
    assert kills[0] == "k-one" and kills[1].startswith("latch-12")
    assert host.post(host.people.permit("k-one")).code == "kill_not_named" and not host.page_says_send()
    host.permit()
    until(host.page_says_send, 5)


def test_a_kill_over_both_roads_is_one(host: GuardHost) -> None:
    """Posted first and latched after it under the same id: one kill to name."""  # K04
    host.permit()
    kill = host.people.say(Verb.KILL, id="k-both")
    assert host.post(kill, certified=False).accepted
    host.put(host.layout.latched / "k-both.json", kill)
    with host.layout.stop_page.open("r+b") as page:
        page.seek(64)
        page.write(pack_latch(21))
    until(lambda: '"word": 21' in (log := (host.folder / "guard.log").read_text()) or '"word":21' in log, 5)
    assert [mark.id for mark in host.status().marks if mark.kind is MarkKind.KILL] == ["k-both"]
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
    until(lambda: host.kinds() == {"hold"}, 5)
    assert host.post(host.people.run_says(Verb.LEASE, args={"lease_s": 60, "fence": 2})).accepted
    assert host.page_says_send()


def test_a_runs_cap_is_on_the_page_and_survives_the_guard(fresh: GuardHost) -> None:
    """At once under a new epoch, which the trader acknowledges; after SIGKILL and a restart as before; gone with the lease."""  # D08

    def cap() -> int | None:
        page = StopPage(fresh.layout.stop_page, writable=False)
        words = page.read()
        page.close()
        assert words and words.may_send and words.narrowing.flow_cap_ppm == fresh.status().flow_cap_ppm
        return words.narrowing.flow_cap_ppm

    fresh.permit()
    first = fresh.post(fresh.people.run_says(Verb.LEASE, args={"lease_s": 60, "fence": 1, "flow_cap_ppm": 10_000}))
    assert first.accepted and cap() == 10_000
    until(lambda: (vitals := fresh.status().vitals) is not None and vitals.ack_epoch >= first.epoch, 5)
    fresh.kill_guard()
    fresh.start_guard()
    assert cap() == 10_000
    assert fresh.post(fresh.people.run_says(Verb.LEASE, args={"lease_s": 60, "fence": 1, "flow_cap_ppm": 50_000})).accepted
    assert cap() == 50_000
    assert fresh.post(fresh.people.run_says(Verb.LEASE, args={"lease_s": 0, "fence": 1})).accepted
    assert cap() is None


def test_an_overlay_is_laid_before_the_trader(fresh: GuardHost) -> None:
    """Signed as it came, there and to whoever asks, and its blocked symbols in the page at once."""
    fresh.permit()
    assert fresh.ask("GET", "/v1/overlay")[0] == 404
    overlay = {"schema": "tradeops/overlay/v1", "fleet": "test-fleet", "number": 3, "symbols_blocked": ["ABC"]}
    said = fresh.people.say(Verb.OVERLAY, args={"overlay": overlay})
    assert fresh.post(said).accepted
    assert msgspec.json.decode(fresh.layout.overlay_file.read_bytes(), type=Envelope) == said
    assert msgspec.json.decode(fresh.ask("GET", "/v1/overlay")[1], type=Envelope) == said
    page = StopPage(fresh.layout.stop_page, writable=False)
    words = page.read()
    page.close()
    assert words and words.may_send and words.narrowing == Narrowing((Scope(symbols=("ABC",)),))
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


def test_identity_is_told(host: GuardHost) -> None:
    """The trader's own words, with their age."""
    report = msgspec.json.decode(host.ask("GET", "/v1/identity")[1], type=IdentityReport)
    assert report.identity and host.trader and report.identity.pid == host.trader.pid
    assert report.problem == "" and report.age_ms is not None and report.age_ms < 1000


def test_a_venue_that_no_binding_names_leaves_clear_unknown(host: GuardHost) -> None:
    """K08, K07: the process says it trades somewhere and nothing listens there: no order seen is not no order, and no permit."""
    host.tell_trader(sessions={"elsewhere": "up", "elsewhere/feed": "up"})
    until(lambda: (vitals := host.status().vitals) is not None and "elsewhere" in vitals.sessions, 10)
    killed = host.kill()
    assert killed.blocked
    assert (killed.clear, killed.working) == (None, None)
    refused = host.post(host.people.permit(killed.id))
    assert (refused.accepted, refused.code) == (False, "not_proved")
    assert "drop copy of elsewhere" in refused.error
    host.tell_trader(sessions={})
    until(lambda: host.status().clear is True, 10)
