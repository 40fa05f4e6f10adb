"""Judgements over vitals: blocked, proved, tripped. Pure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.venue import run
from tests.support.wait import until
from tradeops.base.clock import NS_PER_MS, NS_PER_S
from tradeops.contracts.identity import Identity
from tradeops.contracts.pages import VitalsWriter
from tradeops.contracts.status import Vitals
from tradeops.guard import process, watch
from tradeops.guard.watch import OutVersusIn, TakingOver, Trader, Trip, Unseen, Wanted

R1, R2, B1 = "sha256:" + "1" * 64, "sha256:" + "2" * 64, "sha256:" + "b" * 64
IDENTITY = Identity("trader", R1, B1, 0, "blue", 10, 20, 0)
VITALS = Vitals(IDENTITY, 0, "ready", 5, 0, 0, 0, {"sim": "up"}, {}, {}, {}, {}, {}, {})
WANTED = Wanted(R1, B1)


def trader(*, age_ms: float = 10, alive: bool = True, **fields: Any) -> Trader:
    """A trader that is fine, but for what is said."""
    return Trader(msgspec.structs.replace(VITALS, **fields), int(age_ms * NS_PER_MS), alive)


def none() -> tuple[int, ...]:
    """No process of the service."""
    return ()


@pytest.mark.parametrize(
    ("expected", "one", "stopped_at"),
    [
        (True, trader(ack_epoch=5), 5),
        (True, trader(ack_epoch=7), 5),
        (False, trader(ack_epoch=4), 5),
        (False, trader(ack_epoch=8), 5),
        (False, trader(ack_epoch=5, send_queue=1), 5),
        (False, trader(ack_epoch=5), None),
        (True, trader(ack_epoch=0, send_queue=9, alive=False), 5),
        (True, Trader(), 5),
    ],
)
def test_blocked_is_proved(expected: bool, one: Trader, stopped_at: int | None) -> None:
    """Acknowledged an epoch of this stop with nothing queued, or dead; an epoch that was never written is a lie."""  # K03
    assert watch.blocked((one,), stopped_at, 7, none) is expected


@pytest.mark.parametrize(
    ("expected", "one", "opened_at"),
    [
        (True, trader(state="halted", ack_epoch=5), 5),
        (True, trader(state="halted", ack_epoch=7), 5),
        (False, trader(state="halted", ack_epoch=4), 5),
        (False, trader(state="halted", ack_epoch=8), 5),
        (False, trader(state="halted", ack_epoch=5), None),
        (False, trader(state="ready", ack_epoch=5), 5),
        (False, Trader(), 5),
    ],
)
def test_a_trader_that_may_send_and_is_halted_halts_itself(expected: bool, one: Trader, opened_at: int | None) -> None:
    """Only once it has seen that it may: until then it heeds the halt that was."""  # D05
    assert watch.halts_itself(one, opened_at, 7) is expected


def test_dead_is_not_blocked_while_another_process_of_the_service_lives() -> None:
    """An old one that nobody stopped may still send."""  # D02
    assert not watch.blocked((trader(alive=False),), 5, 7, lambda: (99,))
    assert not watch.blocked((Trader(), Trader()), 5, 7, lambda: (99,))


def test_a_stranger_beside_a_halted_trader_is_neither_blocked_nor_permitted() -> None:
    """An old process that nobody stopped may still send, whatever the new one acknowledges."""  # D02 K03 K07
    beside = replace(trader(ack_epoch=5), strangers=(99,))
    assert not watch.blocked((beside,), 5, 7, none)
    assert "further processes of the service live: 99" in watch.unproved(beside, WANTED)


def test_both_slots_must_have_acknowledged() -> None:
    """A standby that lives is asked too: what is not acknowledged is not proved; one that is gone is not asked."""  # K03
    active, behind = trader(ack_epoch=5), trader(ack_epoch=4)
    assert watch.blocked((active, trader(ack_epoch=6)), 5, 7, lambda: (10, 11))
    assert not watch.blocked((active, behind), 5, 7, none)
    assert not watch.blocked((active, trader(ack_epoch=5, send_queue=1)), 5, 7, none)
    assert watch.blocked((active, replace(behind, alive=False)), 5, 7, none)


def behind(**fields: Any) -> Trader:
    """A standby of the other slot."""
    identity = msgspec.structs.replace(IDENTITY, slot="green", pid=11)
    return trader(**{"identity": identity, "state": "standby", "writes": False, "ack_epoch": 5, **fields})


@pytest.mark.parametrize(
    ("words", "active", "nobody_at"),
    [
        ("", behind(identity=IDENTITY), 5),
        ("", trader(alive=False), 5),
        ("names a writer", behind(identity=IDENTITY), None),
        ("slot blue has not acknowledged", behind(identity=IDENTITY, ack_epoch=4), 5),
        ("slot blue has not acknowledged", behind(identity=IDENTITY, ack_epoch=8), 5),
        ("slot blue still writes", trader(ack_epoch=5), 5),
        ("slot blue still writes", behind(identity=IDENTITY, send_queue=1), 5),
        ("further processes of the service live: 99", replace(behind(identity=IDENTITY), strangers=(99,)), 5),
    ],
)
def test_that_nobody_writes_is_proved(words: str, active: Trader, nobody_at: int | None) -> None:
    """Every living process has seen the page name nobody, and has left; one that is gone writes nothing."""  # O09
    problem = watch.writing((active, behind()), nobody_at, 7, none)
    assert (words in problem) if words else problem == ""


def test_processes_that_say_nothing_are_not_nobody() -> None:
    """Nothing lives that speaks, and something lives."""  # O09
    assert "99" in watch.writing((Trader(), trader(alive=False)), 5, 7, lambda: (99,))
    assert watch.writing((Trader(), Trader()), 5, 7, none) == ""


@pytest.mark.parametrize(
    ("words", "one"),
    [
        ("", behind()),
        ("no process", Trader()),
        ("no process", behind(alive=False)),
        ("1500 ms old", behind(age_ms=1500)),
        ("it is ready", trader()),
        ("runs release", behind(identity=msgspec.structs.replace(IDENTITY, release=R2))),
    ],
)
def test_a_standby_is_proved(words: str, one: Trader) -> None:
    """Alive, fresh, standing by, and what its slot is to run."""  # O09
    problem = watch.unfit(one, WANTED)
    assert (words in problem) if words else problem == ""


def test_a_token_that_is_not_taken_up_and_a_writer_without_it_halt() -> None:
    """Milliseconds are enough; three seconds are not needed. Two that write are seen at once."""  # O09 K12
    taking = TakingOver()
    green = behind()

    def measure(active: Trader, beside: Trader, at_s: float, *, working: int | None = 0, named: bool = True) -> tuple[Trip, ...]:
        return taking.measure(active, beside, working, int(at_s * NS_PER_S), named=named)

    for at_s, trips in ((1, 0), (3.9, 0), (4.1, 1)):
        assert len(measure(green, Trader(), at_s)) == trips
    assert measure(trader(), green, 5, working=3) == ()
    assert measure(green, Trader(), 6) == ()
    assert measure(green, Trader(), 10, named=False) == (), "the page names nobody: it is not to take it"
    assert measure(green, Trader(), 11) == ()
    assert measure(trader(), green, 19) == ()
    starting = trader(state="starting")
    for at_s, working, trips in ((20, 2, 0), (24, 0, 0), (25, None, 0), (26, 2, 0), (29.5, 2, 1)):
        found = measure(starting, green, at_s, working=working)
        assert len(found) == trips and all("no order that works" in trip.measured for trip in found)
    (trip,) = measure(trader(), behind(writes=True), 30)
    assert trip.control == "two-writers" and "slot green, process 11" in trip.measured


@pytest.mark.parametrize(
    ("words", "one"),
    [
        ("no trader", Trader()),
        ("gone", trader(alive=False)),
        ("old", trader(age_ms=1500)),
        ("it is starting", trader(state="starting")),
        ("runs release", trader(identity=msgspec.structs.replace(IDENTITY, release=R2))),
        ("runs binding", trader(identity=msgspec.structs.replace(IDENTITY, binding=R2))),
        ("session with sim", trader(sessions={"sim": "down: refused"})),
        ("it warned", trader(warnings=("feature disabled",))),
        ("", trader()),
        ("", trader(state="halted")),
    ],
)
def test_unproved_says_why(words: str, one: Trader) -> None:
    """What a permit asks of the trader."""  # K07 D17
    problem = watch.unproved(one, WANTED)
    assert words in problem and bool(words) == bool(problem)


@pytest.mark.parametrize(
    ("control", "one", "wanted"),
    [
        ("trader-vitals", Trader(), WANTED),
        ("trader-dead", trader(alive=False), WANTED),
        ("trader-beat", trader(age_ms=3001), WANTED),
        ("drift", trader(), Wanted(R2, B1)),
        ("drift", trader(), Wanted(R1, R2)),
        ("drift", trader(), Wanted(None, None)),
        ("binding", trader(), Wanted(R1, None, "slot blue holds no binding")),
        ("", trader(age_ms=2999), WANTED),
    ],
)
def test_the_watchdog_trips(control: str, one: Trader, wanted: Wanted) -> None:
    """Each with what it measured."""  # K12 D03
    trips = watch.watchdog(one, wanted)
    assert [trip.control for trip in trips] == ([control] if control else [])
    assert all(trip.measured for trip in trips)


def test_a_drop_copy_may_be_away_for_a_moment_and_not_for_longer() -> None:
    """Eleven seconds halt, with the time; a reconnection, or a guard that slept meanwhile, does not."""  # K12

    def away(unseen: Unseen, *at_s: float, ready: bool = False) -> list[str]:
        return [trip.measured for at in at_s for trip in unseen.measure({"sim": ready, "other": True}, int(at * NS_PER_S))]

    short, slept, long = Unseen(), Unseen(), Unseen()
    assert not away(short, *range(9)) and not away(short, 9, ready=True) and not away(short, *range(10, 19))
    assert not away(slept, 0, 60, 120)
    assert not away(long, *range(11))
    assert away(long, 11) == ["of sim not ready for 11.0 s, 10 s allowed"]
    assert not away(long, 12, ready=True)


def test_out_versus_in_counts_since_both_were_seen() -> None:
    """212 in, 10,000 out: broken; a fresh process or guard begins anew."""  # R06
    control = OutVersusIn()

    def measure(at_s: float, signals: int, orders_out: int, *, pid: int = IDENTITY.pid, whole: bool = True) -> str:
        seen = trader(identity=msgspec.structs.replace(IDENTITY, pid=pid), counters={"signals_total": signals})
        trip = control.measure(seen, orders_out, int(at_s * NS_PER_S), whole=whole)
        return trip.measured if trip else ""

    assert not measure(0, 1000, 50_000)
    assert not measure(60, 1212, 52_000)
    assert measure(120, 1212, 60_000) == "10000 orders out, 212 signals in; 2220 allowed"
    assert not measure(180, 0, 60_000, pid=11)
    assert control.measure(Trader(), 10**9, 240 * NS_PER_S, whole=True) is None
    assert not measure(300, 0, 0, pid=12, whole=False)
    assert not measure(300.1, 0, 90_000, pid=12)
    assert measure(300.2, 0, 90_101, pid=12) == "101 orders out, 0 signals in; 100 allowed"


def test_a_runaway_does_not_hide_behind_a_day_of_signals() -> None:
    """A million signals have come in since the morning; then orders leave that none explains: found within a second."""  # R06
    control = OutVersusIn()

    def measure(at_s: float, signals: int, orders_out: int) -> str:
        trip = control.measure(trader(counters={"signals_total": signals}), orders_out, int(at_s * NS_PER_S), whole=True)
        return trip.measured if trip else ""

    assert not measure(0, 0, 0)
    for tenth in range(100):
        assert not measure(36_000 + tenth / 10, 1_000_000 + tenth, 1_000_000 + tenth)
    looks = [measure(36_010 + tenth / 10, 1_000_100, 1_000_100 + tenth * 148) for tenth in range(10)]
    assert looks[-1] == "1373 orders out in 5 s, 91 signals in; 1010 allowed"
    assert not any(looks[:6])


def test_processes_are_known_by_pid_and_start(tmp_path: Path) -> None:
    """A zombie is gone, a pid used again is another, a stranger on the release is found and ended."""  # D02
    releases = tmp_path / "releases"
    script = releases / ("a" * 64) / "tree" / "run.py"
    script.parent.mkdir(parents=True)
    script.write_text("import signal\nsignal.pause()\n")
    child = subprocess.Popen([sys.executable, str(script)])
    until(lambda: process.service_processes(releases) == (child.pid,), 10)
    ticks = process.start_ticks(child.pid)
    assert ticks is not None and process.alive(child.pid, ticks) and not process.alive(child.pid, ticks + 1)
    assert not process.end(child.pid, ticks + 1)
    assert process.end(child.pid, ticks)
    until(lambda: not process.alive(child.pid, ticks), 10)
    assert child.wait(10) == -signal.SIGKILL
    assert not process.end(child.pid, ticks) and process.start_ticks(child.pid) is None
    assert process.service_processes(releases) == ()


def test_look_reads_page_and_proc(tmp_path: Path) -> None:
    """Our own process stands for the trader: what it started is its own, what is gone is no stranger; a page of nonsense is no trader."""
    page = tmp_path / "blue.page"
    pages = {"blue": page, "green": tmp_path / "green.page"}
    assert watch.look(pages, 0) == {"blue": Trader(), "green": Trader()}
    pid = os.getpid()
    mine = msgspec.structs.replace(IDENTITY, pid=pid, start_ticks=process.start_ticks(pid) or 0)
    VitalsWriter(page).write(msgspec.structs.replace(VITALS, identity=mine, beat_ns=100))
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        seen = watch.look(pages, 300, (pid, child.pid, os.getppid(), 2**22 + 1))["blue"]
        assert seen.alive and seen.age_ns == 200 and seen.strangers == (os.getppid(),)
        other = msgspec.structs.replace(IDENTITY, slot="green", pid=os.getppid(), start_ticks=process.start_ticks(os.getppid()) or 0)
        VitalsWriter(pages["green"]).write(msgspec.structs.replace(VITALS, identity=other))
        both = watch.look(pages, 300, (pid, child.pid, os.getppid()))
        assert [(one.alive, one.strangers) for one in both.values()] == [(True, ()), (True, ())]
    finally:
        child.kill()
        child.wait(10)
    page.write_bytes(b"nonsense")
    assert watch.look(pages, 0)["blue"].vitals is None


def test_the_stop_command_is_bounded() -> None:
    """It works, fails, is not there, or hangs: said each time."""
    assert run(process.run_bounded(("/bin/true",), 5)) == ""
    assert "exit status 1" in run(process.run_bounded(("/bin/false",), 5))
    assert "/nowhere" in run(process.run_bounded(("/nowhere/at/all",), 5))
    assert "not done" in run(process.run_bounded((sys.executable, "-c", "import signal; signal.pause()"), 0.2))
