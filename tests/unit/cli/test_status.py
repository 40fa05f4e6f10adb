"""What every host is doing: the odd one and in what it differs, rates, exposure beside its limit, marks and what ends them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import ExitCode, Unreachable
from tradeops.cli.marks import held_lines
from tradeops.cli.status import report_of
from tradeops.contracts.directive import Scope
from tradeops.contracts.identity import Identity
from tradeops.contracts.status import STATUS_SCHEMA, Mark, MarkKind, Status, Vitals

R1, R2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def vitals(*, release: str = R1, beat_s: float = 10.0, sent: int = 0, gross: float | None = 12_400.0, limit: int = 50_000) -> Vitals:
    """A trader's."""
    identity = Identity("trader", release, "sha256:" + "b" * 64, 0, "blue", 7, 70, 1, {})
    gauges = {} if gross is None else {"gross_notional": gross}
    limits = {"gross_notional": limit * 10**9} if limit else {}
    counters = {"orders_sent_total": sent}
    return Vitals(identity, int(beat_s * NS_PER_S), "ready", 1, 0, 0, 0, {}, {"sim": 12_000_000}, {}, counters, gauges, {}, limits)


def host(name: str, *, seen: Vitals | None = None, **changes: Any) -> Status:
    """One that trades."""
    plain = {"marks": (), "permit": "p", "vitals": seen, "vitals_age_ms": 20.0, "epoch": 1, "blocked": False, "clear": True, "working": 2}
    numbers = {"platform": R1, "wall_ns": 0, "policy_number": 1, "roster_number": 1, "overlay_number": 0, "trading": True}
    return Status(**{"schema": STATUS_SCHEMA, "host": name, "fleet": "f", **plain, **numbers, **changes})


def mark(kind: MarkKind, **changes: Any) -> Mark:
    """By a person."""
    return Mark(**{"kind": kind, "id": f"{kind}-1", "by": "operator-1", "reason": "look", "since_wall_ns": 0, **changes})


def fleet(**odd: Status) -> dict[str, Status]:
    """Four hosts that trade alike, but for those given."""
    return {name: odd.get(name, host(name, seen=vitals())) for name in ("h1", "h2", "h3", "h4")}


def test_the_odd_host_is_first_and_it_is_said_in_what_it_differs() -> None:
    """Release, roster, trading: with what the others have."""
    seen = fleet(h3=host("h3", seen=vitals(release=R2), roster_number=2, trading=False, marks=(mark(MarkKind.HALT),)))
    report = report_of(seen, {}, {}, 4)
    assert report.lead == ("✗ h3 differs: release 222222222222, 3 others 111111111111; roster 2, 3 others 1; trading no, 3 others yes",)
    assert report.tables[0].rows[0][0] == "✗ h3"
    assert report.hosts[0]["host"] == "h3"
    assert report.title == "3 of 4 hosts trade; 0 do not answer"
    assert report.exit_code == ExitCode.PROVED


def test_standbys_are_no_oddity_and_are_told() -> None:
    """O09: declared beside what trades: which slot, which release, and how far their decisions are apart."""
    counters = {"decisions_compared_total": 1000, "decisions_different_total": 3}
    beside = replace(vitals(release=R2), identity=replace(vitals(release=R2).identity, slot="green"), counters=counters, writes=False)
    seen = {name: replace(status, standby=beside) for name, status in fleet().items()}
    report = report_of(seen, {}, {}, 4)
    assert report.lead == () and all(row[0].startswith("✓") for row in report.tables[0].rows)
    assert "h1 h2 h3 h4: slot green stands by with release 222222222222" in report.lines
    assert "decisions of standbys: 12 of 4,000 different from what trades" in report.lines


def test_a_host_that_does_not_answer_is_first_of_all() -> None:
    """Unknown is never well: exit 6, and why."""
    report = report_of(fleet(), {"h9": Unreachable("no answer in time")}, {}, 5)
    assert report.tables[0].rows[0][:2] == ("? h9", "no answer")
    assert report.lead == ("? h9 does not answer: no answer in time",)
    assert report.exit_code == ExitCode.MIXED
    assert "doctor" in report.next


def test_half_a_fleet_is_not_odd() -> None:
    """Two against two: neither is the usual."""
    other = {name: host(name, seen=vitals(release=R2)) for name in ("h3", "h4")}
    assert report_of(fleet(**other), {}, {}, 4).lead == ()


@pytest.mark.parametrize(
    ("before", "now", "rate"),
    [
        (vitals(sent=100), vitals(beat_s=12.0, sent=107), "3.5"),
        (vitals(), vitals(), "–"),
        (None, vitals(), "–"),
        (vitals(release=R2), vitals(beat_s=12.0), "–"),
        (vitals(), None, "–"),
    ],
)
def test_orders_per_second_are_between_two_looks_at_one_process(before: Vitals | None, now: Vitals | None, rate: str) -> None:
    """No rate from one look, from the same beat, or across a restart."""
    report = report_of({"h1": host("h1", seen=now)}, {}, {"h1": host("h1", seen=before)}, 1)
    assert report.tables[0].rows[0][4] == rate


@pytest.mark.parametrize(
    ("gross", "limit", "words"),
    [(12_400.0, 50_000, "12.4k/50k"), (-2_500_000.0, 0, "-2.5M/?"), (950.0, 1_000, "950/1k"), (None, 10, "–"), (3e9, 4 * 10**12, "3G/4T")],
)
def test_exposure_stands_beside_its_limit(gross: float | None, limit: int, words: str) -> None:
    """O03: briefly, and a limit that is missing is a question."""
    seen = {"h1": host("h1", seen=vitals(gross=gross, limit=limit))}
    assert report_of(seen, {}, {}, 1).tables[0].rows[0][5] == words


def test_a_host_without_a_trader_is_told_as_such() -> None:
    """Nothing is made up for it; its problems are told."""
    report = report_of({"h1": host("h1", vitals_age_ms=None, trading=False, problems=("no vitals",))}, {}, {}, 1)
    assert report.tables[0].rows[0][1:] == ("no trader", "–", "–", "–", "–", "2", "–", "–")
    assert report.lines[0] == "h1: no vitals"


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ((mark(MarkKind.HALT),), "halt by operator-1: look; next: one person: `tradeops resume --host h1 --reason TEXT`"),
        (
            (mark(MarkKind.KILL), mark(MarkKind.UNARMED), mark(MarkKind.HOLD)),
            "hold by operator-1: look; next: two people: `tradeops permit --host h1 --cause TEXT`; then one person: `tradeops resume",
        ),
        ((mark(MarkKind.HALT, run="r7"),), "next: the run ends it: `tradeops runs show r7`; if it is dead: `tradeops runs abort r7`"),
        ((mark(MarkKind.STANDBY),), "next: activation of its slot ends standby"),
        ((mark(MarkKind.HALT, scope=Scope(symbols=("ACME",))),), "halt of ACME by operator-1: look"),
    ],
)
def test_marks_say_who_and_why_and_what_ends_them(marks: tuple[Mark, ...], words: str) -> None:
    """What holds on the host, and the next command for it."""
    (line,) = held_lines({"h1": host("h1", marks=marks)})
    assert line.startswith("h1: ")
    assert words in line


def test_hosts_with_the_same_marks_share_a_line() -> None:
    """A killed fleet is one line, not a thousand; a host without marks has none."""
    killed = {f"h{number}": host(f"h{number}", marks=(mark(MarkKind.KILL),)) for number in range(20)}
    (line,) = held_lines({**killed, "free": host("free")})
    assert line.startswith("20 hosts: kill by operator-1: look")
