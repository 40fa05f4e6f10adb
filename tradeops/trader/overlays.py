"""The overlay in force: read again when it changes, and never looser than what this process has already obeyed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tradeops.base.errors import TradeopsError
from tradeops.contracts.binding import Overlay


def tighter(current: Overlay | None, new: Overlay | None) -> Overlay | None:
    """The newer number, with the tighter of both in everything. An overlay that is gone stays in force."""
    if current is None or new is None:
        return current or new
    caps = [cap for cap in (current.flow_cap_ppm, new.flow_cap_ppm) if cap is not None]
    limits = dict(new.limits)
    for name, limit in current.limits.items():
        limits[name] = min(limit, limits.get(name, limit))
    return Overlay(
        schema=new.schema,
        fleet=new.fleet,
        number=max(current.number, new.number),
        flags_off=_later(current.flags_off, new.flags_off),
        flags_retired=tuple(sorted({*current.flags_retired, *new.flags_retired})),
        limits=limits,
        flow_cap_ppm=min(caps) if caps else None,
        symbols_blocked=tuple(sorted({*current.symbols_blocked, *new.symbols_blocked})),
    )


def _later(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {flag: max(one.get(flag, 0), other.get(flag, 0)) for flag in sorted({*one, *other})}


_Stamp = tuple[int, int, int, int]


class OverlayWatch:
    """The files an overlay can come in. `look` costs a stat per file when nothing changed."""

    def __init__(self, paths: tuple[Path, ...], load: Callable[[Path], Overlay | None]) -> None:
        """load: reads and verifies one file."""
        self._paths = paths
        self._load = load
        self._stamps: dict[Path, _Stamp | None] = {}
        self.current: Overlay | None = None

    def look(self) -> bool:
        """Whether `current` has changed. Raises TradeopsError for a file that cannot be believed: it is read again next time."""
        before = self.current
        for path in self._paths:
            stamp = _stamp(path)
            if stamp == self._stamps.get(path):
                continue
            self.current = tighter(self.current, self._load(path))
            self._stamps[path] = stamp
        return self.current != before


def _stamp(path: Path) -> _Stamp | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TradeopsError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
