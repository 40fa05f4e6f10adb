"""Times at which nothing is deployed: the open, the close, a settlement. Pure: `now` is handed in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from tradeops.base.clock import NS_PER_S
from tradeops.base.config import Strict

_DAY_MINUTES = 24 * 60
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{value!r} is no time zone: write UTC, or a name as America/New_York") from None
    return value


Minute = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Blackout(Strict):
    """A window on the named days, local time of `zone`; `until` before `since` is on the next day."""

    days: Annotated[tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Field(strict=False, min_length=1)] = _DAYS  # type: ignore[assignment]  # the same words
    since: Minute
    until: Minute
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"

    def ends_ns(self, now_ns: int) -> int | None:
        """When the window that `now_ns` (wall) lies in is over; None when it lies in none."""
        now = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).astimezone(ZoneInfo(self.zone))
        length = (_minutes(self.until) - _minutes(self.since)) % _DAY_MINUTES or _DAY_MINUTES
        for back in (0, 1):
            day = (now - timedelta(days=back)).replace(hour=0, minute=0, second=0, microsecond=0)
            since = day + timedelta(minutes=_minutes(self.since))
            if _DAYS[day.weekday()] in self.days and since <= now < since + timedelta(minutes=length):
                return int((since + timedelta(minutes=length)).timestamp()) * NS_PER_S
        return None


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def blacked_out(windows: Sequence[Blackout], now_ns: int) -> int | None:
    """When deploying is allowed again, wall time; None: now."""
    ends = [end for window in windows if (end := window.ends_ns(now_ns)) is not None]
    return max(ends, default=None)
