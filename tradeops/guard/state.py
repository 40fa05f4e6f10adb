"""What a guard must not forget: `<root>/guard/state.json`, written whole with its checksum. Missing or damaged = unarmed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from tradeops.base.digest import digest_bytes
from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import TradeopsError
from tradeops.contracts.codec import parse
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.layout import SLOTS
from tradeops.contracts.status import Mark

SCHEMA: Final = "tradeops/guard-state/v1"
STATE_BYTES_MAX: Final = 32 << 20


class Permit(msgspec.Struct, frozen=True):
    """The permission to trade, with the signed document it came in. until_ns: wall time, None for no end."""

    id: str
    issued_ns: int
    people: tuple[str, ...]
    cause: str
    envelope: Envelope
    until_ns: int | None = None


class Lease(msgspec.Struct, frozen=True):
    """A run that must keep saying it is there. until_ns: CLOCK_MONOTONIC, worth nothing after a reboot."""

    run: str
    fence: int
    lease_s: int
    until_ns: int


class Spent(msgspec.Struct, frozen=True):
    """A directive that was taken once, and until when it could come again."""

    id: str
    expires_ns: int


class State(msgspec.Struct, frozen=True):
    """Everything durable. epoch: of the stop page's words that this state means.

    floor_ns: what adds risk and was signed at or before this wall time is refused: raised by every kill, and when a
    state was lost together with its list of spent ids.  kills_ended: ids that a permit has ended.  token, active: of the
    newest activation, and the slot that it went to.  latch_seen: the agent's word whose kills are taken over;
    latch_cleared: the one permits ended.
    fence, fence_run: the highest seen, and whose it is.  leased_ns: when that run's newest lease was signed, by its clock.
    flow_cap_ppm: share of the signals that the run leaves to this host; outlives a lease that lapses.
    """

    schema: str = SCHEMA
    epoch: int = 0
    permit: Permit | None = None
    marks: tuple[Mark, ...] = ()
    kills_ended: tuple[str, ...] = ()
    spent: tuple[Spent, ...] = ()
    floor_ns: int = 0
    policy_number: int = 0
    overlay_number: int = 0
    overlay: Envelope | None = None
    overlay_release: str = ""
    symbols_blocked: tuple[str, ...] = ()
    lease: Lease | None = None
    fence: int = 0
    fence_run: str = ""
    leased_ns: int = 0
    flow_cap_ppm: int | None = None
    token: int = 0
    active: str = SLOTS[0]
    latch_seen: int = 0
    latch_cleared: int = 0


class _Sealed(msgspec.Struct, frozen=True):
    digest: str
    state: msgspec.Raw


@dataclass(frozen=True)
class Loaded:
    """state None: there is none that can be believed, and `problem` says why."""

    state: State | None
    problem: str = ""


_Mark = tuple[int, int, int, int, int]


class Store:
    """The file, and what it looked like when this process last wrote or read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: _Mark | None = None
        self._saved: State | None = None

    def load(self) -> Loaded:
        """The state on disk, or why there is none."""
        try:
            state = _open_seal(read_bounded(self.path, STATE_BYTES_MAX))
        except FileNotFoundError:
            return Loaded(None, "the guard's state is missing")
        except (OSError, TradeopsError, ValueError) as error:
            return Loaded(None, f"the guard's state is damaged: {error}")
        self._seen, self._saved = self._stat(), state
        return Loaded(state)

    def save(self, state: State) -> None:
        """Durable when this returns. Raises OSError: then the file holds what it held before."""
        body = msgspec.json.encode(state)
        write_atomic(self.path, msgspec.json.encode(_Sealed(digest_bytes(body), msgspec.Raw(body))))
        self._seen, self._saved = self._stat(), state

    def damage(self) -> str:
        """What somebody else has done to the file since it was last read or written; empty: it holds what it held."""
        if self._seen is not None and self._stat() == self._seen:
            return ""
        saved = self._saved
        loaded = self.load()
        if loaded.state is not None and loaded.state == saved:
            return ""
        self._seen, self._saved = None, saved
        return loaded.problem or "the guard's state was written by somebody else"

    def _stat(self) -> _Mark | None:
        try:
            stat = self.path.stat(follow_symlinks=False)
        except OSError:
            return None
        return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _open_seal(data: bytes) -> State:
    sealed = parse(data, _Sealed)
    if digest_bytes(bytes(sealed.state)) != sealed.digest:
        raise ValueError("its checksum does not match its content")
    state = parse(sealed.state, State)
    if state.schema != SCHEMA:
        raise ValueError(f"its schema is {state.schema!r}, not {SCHEMA!r}")
    return state
