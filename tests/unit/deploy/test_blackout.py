"""Windows in which nothing is deployed, in the zone they are written in."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tradeops.deploy.blackout import Blackout, blacked_out

OPEN = Blackout(days=("mon", "fri"), since="09:20", until="10:00", zone="America/New_York")
NIGHT = Blackout(days=("sun",), since="23:00", until="01:00")


def at(text: str) -> int:
    """Wall nanoseconds of a moment in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-23T14:30:00", "2026-11-23T15:00:00"),  # a Monday in winter: 09:30 in New York
        ("2026-07-06T13:30:00", "2026-07-06T14:00:00"),  # a Monday in summer
        ("2026-11-23T15:00:00", None),
        ("2026-11-24T14:30:00", None),  # a Tuesday
        ("2026-11-22T23:30:00", "2026-11-23T01:00:00"),
        ("2026-11-23T00:30:00", "2026-11-23T01:00:00"),  # Monday morning, of Sunday's window
        ("2026-11-24T00:30:00", None),
    ],
)
def test_a_window_ends_when_it_says(now: str, until: str | None) -> None:
    """Days are those on which a window begins, clocks those of its zone."""
    assert blacked_out((OPEN, NIGHT), at(now)) == (at(until) if until else None)


def test_a_whole_day() -> None:
    """The same minute twice is a day."""
    assert Blackout(since="00:00", until="00:00").ends_ns(at("2026-11-24T12:00:00")) == at("2026-11-25T00:00:00")
