"""A kill over SSH: no lock, no guard, no clock, no room on the disk; it only ever sets (K04, K05)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.agenthost import ManagedHost, envelope, plain
from tests.support.wait import until
from tradeops.contracts.agent import Latched
from tradeops.contracts.directive import ALL_HOSTS, Directive, Scope, Verb
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.identity import Identity
from tradeops.contracts.pages import NOBODY, Narrowing, StopPage, VitalsWriter
from tradeops.contracts.status import Vitals
from tradeops.guard import process

STUBBORN = b"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True:\n    signal.pause()\n"


def latch(managed: ManagedHost, kill: Envelope, **args: Any) -> Latched:
    """Over a session of its own, as the kill-switch does it."""
    return msgspec.convert(managed.agent().do("latch", directive=plain(kill), **args), Latched)


def words(managed: ManagedHost) -> Any:
    """The stop page as trader and guard read it."""
    page = StopPage(managed.layout.stop_page, writable=False)
    try:
        found = page.read()
        assert found is not None
        return found
    finally:
        page.close()


def clear(managed: ManagedHost, latch: int, **state: Any) -> None:
    """As a guard does after a permit."""
    page = StopPage(managed.layout.stop_page, writable=True)
    page.write(
        epoch=5, may_send=True, beat_ns=1, latch_cleared=latch, scope_generation=0, narrowing=Narrowing(), token=NOBODY, durable=False
    )
    page.close()
    (managed.layout.guard_state / "state.json").write_text(json.dumps({"digest": "", "state": state}))


def test_a_kill_is_written_down_then_the_word_is_raised_and_the_fence(managed: ManagedHost) -> None:
    """Without a lock, under anybody's deploy; the running deploy is fenced off (K05)."""  # K05
    deploying = managed.locked()
    assert words(managed).latched is False
    kill = managed.kill()
    done = latch(managed, kill)
    assert done.roster_number == 1
    assert (done.latch, done.already, done.spent, done.problems) == (1, False, False, ())
    assert words(managed).latched is True and words(managed).latch == 1
    assert json.loads((managed.layout.latched / "kill-1.json").read_text()) == json.loads(msgspec.json.encode(kill))
    assert deploying.code("stop", slot="blue", stop_timeout_s=1) == "fenced"
    assert [mark["id"] for mark in managed.agent().do("facts")["marks"]] == ["unarmed", "kill-1"]


def test_the_same_kill_again_changes_nothing(managed: ManagedHost) -> None:
    """`already`, the word stays, the fence stays: a takeover after it is not thrown out by a repeat."""
    latch(managed, managed.kill())
    fence = managed.agent().hello["fence"]
    again = latch(managed, managed.kill())
    assert (again.latch, again.already) == (1, True)
    assert managed.agent().hello["fence"] == fence
    other = latch(managed, managed.kill("kill-2"))
    assert (other.latch, other.already) == (2, False)


def test_a_kill_that_a_permit_has_ended_is_spent(managed: ManagedHost) -> None:
    """Replayed later it stops nothing; a new kill does."""
    latch(managed, managed.kill())
    clear(managed, 1, kills_ended=["kill-1"], marks=[], permit={"id": "p"})
    replayed = latch(managed, managed.kill())
    assert (replayed.spent, replayed.already, replayed.latch) == (True, True, 1)
    assert words(managed).latched is False
    assert managed.agent().do("facts")["marks"] == []
    assert latch(managed, managed.kill("kill-2")).latch == 2
    assert words(managed).latched is True


def test_a_kill_that_lost_its_word_raises_it_again(managed: ManagedHost) -> None:
    """Died between file and word, or the page was made anew: written down is not stopped."""
    latch(managed, managed.kill())
    managed.layout.stop_page.unlink()
    StopPage.create(managed.layout.stop_page)
    again = latch(managed, managed.kill())
    assert again.already and again.latch == 1
    assert words(managed).latched is True


def test_many_latches_at_once_all_halt(managed: ManagedHost) -> None:
    """Racing sessions may share a word; none is lost."""
    agents = [managed.agent() for _ in range(5)]
    answers: list[dict[str, Any]] = []

    def one(index: int) -> None:
        answers.append(agents[index].do("latch", directive=plain(managed.kill(f"kill-{index}"))))

    threads = [threading.Thread(target=one, args=(index,)) for index in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 5 and all(answer["latch"] >= 1 for answer in answers)
    assert words(managed).latched is True
    assert len(list(managed.layout.latched.glob("*.json"))) == 5


def test_a_hung_latch_does_not_hold_up_the_next(managed: ManagedHost) -> None:
    """Another session that froze while it held the file lock is waited for a quarter of a second, then passed by."""
    path = managed.layout.agent_state / "latch.flock"
    code = (
        f"import fcntl,os\nfd=os.open({str(path)!r},os.O_RDWR|os.O_CREAT)\nfcntl.flock(fd,fcntl.LOCK_EX)\nprint('held',flush=True)\ninput()"
    )
    holder = subprocess.Popen(["python3", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGSTOP)
        done = latch(managed, managed.kill())
        assert done.latch == 1 and "not waited for" in done.problems[0]
    finally:
        holder.kill()
        holder.communicate(timeout=10)


def test_age_and_clock_are_not_held_against_a_kill(managed: ManagedHost) -> None:
    """Issued at the beginning of time and expired a nanosecond later; unknown fields are passed over; `*` is every host."""
    said = json.loads(managed.kill(hosts=(ALL_HOSTS,)).body()) | {"novelty": {"x": 1}}
    body = json.dumps(said).encode()
    signed = Envelope.of(body, managed.two.sign(body, Purpose.DIRECTIVE))
    assert latch(managed, signed).latch == 1


def test_who_may_not_kill_or_means_somebody_else_is_refused(managed: ManagedHost) -> None:
    """A stranger, a run key, another purpose, another host or fleet, another verb, a part of the host, an id that is a path."""
    agent = managed.agent()
    lent = managed.delegation(verbs=("deploy", "kill"))
    by_run = envelope(msgspec.json.decode(managed.kill().body(), type=Directive), Purpose.DIRECTIVE, managed.run_key, delegation=lent)
    body = managed.kill().body()
    cases = [
        (managed.kill(signer=managed.nobody), "signature"),
        (by_run, "signature"),
        (Envelope.of(body), "signature"),
        (Envelope.of(body, managed.two.sign(body, Purpose.RELEASE)), "signature"),
        (managed.kill(hosts=("host-2",)), "bad_request"),
        (managed.kill(hosts=(ALL_HOSTS, "host-1x")), "bad_request"),
        (managed.kill(fleet="other"), "bad_request"),
        (managed.kill(verb=Verb.HALT), "bad_request"),
        (managed.kill(scope=Scope(symbols=("AAPL",))), "bad_request"),
        (managed.kill("../../etc/passwd"), "bad_request"),
        (managed.kill(""), "bad_request"),
    ]
    for kill, code in cases:
        assert agent.code("latch", directive=plain(kill)) == code
    assert words(managed).latched is False and not list(managed.layout.latched.iterdir())


@pytest.mark.parametrize("damage", ["missing", "short", "empty", "foreign"])
def test_a_stop_page_that_cannot_be_latched_is_no_confirmation(running: ManagedHost, damage: str) -> None:
    """The kill is written down, and the answer is an error with the next road, unless nothing runs (K06)."""  # K06
    page = running.layout.stop_page
    page.unlink()
    if damage != "missing":
        page.write_bytes({"short": b"TOSTOP01", "empty": b"", "foreign": b"x" * 4096}[damage])
    nothing_runs = latch(running, running.kill())
    assert nothing_runs.blocked and "cannot be latched" in nothing_runs.problems[0]
    orphan = subprocess.Popen(["python3", "-c", "import signal; signal.pause()"], cwd=running.layout.releases)
    try:
        argv_seen = until(lambda: Path(f"/proc/{orphan.pid}/cwd").exists(), 5)
        assert argv_seen
        (running.layout.releases / "x").mkdir()
        inside = subprocess.Popen(["python3", "-c", "import signal; signal.pause()"], cwd=running.layout.releases / "x")
        try:
            assert running.agent().code("latch", directive=plain(running.kill("kill-2"))) == "service"
            stopped = latch(running, running.kill("kill-2"), stop=True)
            assert stopped.stopped and stopped.stopped.stopped and stopped.blocked
            assert inside.wait(10) == -signal.SIGKILL
        finally:
            inside.kill()
    finally:
        orphan.kill()
        orphan.wait(10)
    assert (running.layout.latched / "kill-2.json").exists()


def test_a_torn_latch_word_is_overwritten_by_one_that_halts(managed: ManagedHost) -> None:
    """A word that does not match its inverse halts already; the next latch makes it whole."""
    with managed.layout.stop_page.open("r+b") as file:
        file.seek(64)
        file.write(os.urandom(16))
    assert latch(managed, managed.kill()).latch == 1
    assert words(managed).latched is True


def test_blocked_is_what_the_gate_acknowledged_or_a_dead_process(running: ManagedHost) -> None:
    """The right word with an empty send queue, from a living process; waited for as long as asked."""
    agent = running.locked()
    release = running.release()
    running.stage(agent, release)
    agent.do("switch", slot="blue", release=release.id, binding=plain(running.binding()), overlay=None)
    pid = agent.do("start", slot="blue")["pid"]
    ticks = until(lambda: agent.do("prove", slot="blue", release=None, rehash=False)["process"], 10)["start_ticks"]
    writer = VitalsWriter(running.layout.vitals_page("blue"))

    def say(ack_latch: int, send_queue: int) -> None:
        identity = Identity("trader", release.id, "b", 0, "blue", pid, ticks, 1)
        writer.write(Vitals(identity, time.monotonic_ns(), "ready", 1, ack_latch, send_queue, 0, {}, {}, {}, {}, {}, {}, {}))

    say(0, 0)
    assert latch(running, running.kill()).blocked is False
    say(1, 10)
    assert latch(running, running.kill(), wait_ms=50).blocked is False
    timer = threading.Timer(0.2, say, (1, 0))
    timer.start()
    done = latch(running, running.kill(), wait_ms=5000)
    timer.join()
    assert done.blocked and done.blocked_ms is not None and done.blocked_ms > 0
    say(0, 0)
    stopped = latch(running, running.kill(), stop=True)
    assert stopped.blocked and stopped.stopped and stopped.stopped.survivors == ()
    until(lambda: not Path(f"/proc/{pid}").exists(), 10)


@contextmanager
def old_process(managed: ManagedHost, name: str = "x") -> Iterator[subprocess.Popen[bytes]]:
    """One that runs inside a release and that no slot has started."""
    folder = managed.layout.releases / name
    folder.mkdir()
    started = subprocess.Popen(["python3", "-c", "import signal; signal.pause()"], cwd=folder)
    try:
        yield started
    finally:
        started.kill()
        started.wait(10)


def acknowledge(managed: ManagedHost, slot: str, pid: int, ack_latch: int = 1) -> None:
    """The vitals of a gate in that process, with nothing queued."""
    ticks = process.start_ticks(pid)
    assert ticks is not None
    identity = Identity("trader", "sha256:" + "a" * 64, "b", 0, slot, pid, ticks, 1)
    VitalsWriter(managed.layout.vitals_page(slot)).write(
        Vitals(identity, time.monotonic_ns(), "ready", 1, ack_latch, 0, 0, {}, {}, {}, {}, {}, {}, {})
    )


def test_an_old_process_beside_a_halted_trader_is_not_blocked(managed: ManagedHost) -> None:
    """It may still send, whatever the new one acknowledges; what the new one started itself is its own."""  # D02 K03 K08
    acknowledge(managed, "blue", os.getpid())
    with old_process(managed):
        assert latch(managed, managed.kill(), wait_ms=50).blocked
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid, flush=True)"
    orphaned = subprocess.run(["python3", "-c", code], cwd=managed.layout.releases / "x", stdout=subprocess.PIPE, check=False)
    stray = int(orphaned.stdout)
    try:
        assert not latch(managed, managed.kill(), wait_ms=50).blocked
    finally:
        os.kill(stray, signal.SIGKILL)


def test_a_living_trader_with_unreadable_vitals_is_not_blocked(managed: ManagedHost) -> None:
    """Both slots must have acknowledged: one whose page does not add up has not."""  # K03
    with old_process(managed, "blue") as blue, old_process(managed, "green") as green:
        acknowledge(managed, "blue", blue.pid)
        acknowledge(managed, "green", green.pid, ack_latch=1)
        assert latch(managed, managed.kill(), wait_ms=50).blocked
        managed.layout.vitals_page("green").write_bytes(b"nonsense")
        assert not latch(managed, managed.kill(), wait_ms=50).blocked


def test_a_full_disk_does_not_keep_a_kill_from_stopping(managed: ManagedHost) -> None:
    """The word lies in a page that has its room already; what was not written down is said (A03)."""  # A03
    if os.geteuid() != 0:
        pytest.skip("mounting a full disk needs root")
    for folder in (managed.layout.latched, managed.layout.agent_state):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=1", "tmpfs", str(folder)], check=False).returncode:
            pytest.skip("this machine mounts no tmpfs")
    try:
        done = latch(managed, managed.kill())
        assert done.latch == 1 and words(managed).latched is True
        assert any("not written down" in problem for problem in done.problems)
        managed.close()
    finally:
        for folder in (managed.layout.latched, managed.layout.agent_state):
            subprocess.run(["umount", str(folder)], check=True)


def test_a_roster_that_cannot_be_read_stops_no_kill(managed: ManagedHost) -> None:
    """K04: damaged or gone, the number is 0 and the kill goes on; there is then none to read."""
    roster = managed.layout.roster_file
    roster.write_bytes(b"\xff{")
    assert latch(managed, managed.kill()).roster_number == 0
    roster.unlink()
    assert latch(managed, managed.kill()).roster_number == 0
    assert managed.agent().do("roster", read=True) == {"roster": None}
