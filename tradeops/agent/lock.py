"""The lease on a host: owner, reason, run, expiry on the host's own monotonic clock, and a fence that only rises.

`agent/lock.json` holds the fence and the lease. Two file locks keep sessions apart: `lock.flock` for the microseconds of
a change, `verb.flock` while a verb changes the host, so that an old run's last verb and a new run's first never overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from .clock import NS_PER_S, boot_id
from .errors import FENCED, INTERNAL, LOCKED, AgentError
from .files import canonical, flocked, read_object, write_atomic
from .hostfile import Context

TTL_S_MIN, TTL_S_MAX = 1.0, 3600.0
_CHANGE_WAIT_S = 2.0
_VERB_WAIT_S = 30.0


@dataclass(frozen=True)
class Lease:
    """Who holds the host. It is worth nothing after `expires_ns` of the boot it was made in."""

    run: str
    owner: str
    reason: str
    fence: int
    boot: str
    expires_ns: int


@dataclass(frozen=True)
class State:
    """fence: the highest number ever given or raised."""

    fence: int
    lease: Lease | None


def load(context: Context) -> State:
    """The state on disk; a lease that has run out is none. Raises AgentError, OSError."""
    raw = read_object(context.layout.agent_state / "lock.json")
    if raw is None:
        return State(0, None)
    try:
        lease = Lease(**raw["lease"]) if raw["lease"] else None
        state = State(int(raw["fence"]), lease)
    except (KeyError, TypeError, ValueError) as error:
        what = f"agent/lock.json is damaged ({error!r}), so which runs are fenced off is not known"
        raise AgentError(INTERNAL, what, next="enrol the host again: `tradeops fleet enroll` starts a new, higher fence") from None
    if lease and (lease.boot != boot_id() or context.clock.monotonic_ns() >= lease.expires_ns):
        return State(state.fence, None)
    return state


def acquire(context: Context, *, run: str, owner: str, reason: str, ttl_s: float, takeover: bool) -> dict[str, Any]:
    """Take the lease under a new fence. Raises AgentError (locked) when another holds it, or the same run without `takeover`."""
    with _change(context):
        state = load(context)
        if state.lease and not (takeover and state.lease.run == run):
            raise _held(context, state.lease)
        fence = state.fence + 1
        lease = Lease(run, owner, reason, fence, boot_id(), context.clock.monotonic_ns() + int(ttl_s * NS_PER_S))
        _store(context, State(fence, lease))
        _tell(context, lease.expires_ns)
        return public(context, lease)


def renew(context: Context, *, run: str, fence: int, ttl_s: float) -> dict[str, Any]:
    """Move the expiry. Raises AgentError (locked, fenced): a lease that has run out is not brought back."""
    with _change(context):
        lease = _checked(context, run, fence)
        moved = Lease(**{**asdict(lease), "expires_ns": context.clock.monotonic_ns() + int(ttl_s * NS_PER_S)})
        _store(context, State(fence, moved))
        _tell(context, moved.expires_ns)
        return public(context, moved)


def release(context: Context, *, run: str, fence: int) -> None:
    """Give the lease back. Raises AgentError (locked, fenced)."""
    with _change(context):
        _checked(context, run, fence)
        _store(context, State(fence, None))
        _tell(context, context.clock.monotonic_ns())


def check(context: Context, *, run: str, fence: int) -> None:
    """Raises AgentError: `fenced` below the highest fence seen, `locked` without a live lease of this run."""
    with _change(context):
        _checked(context, run, fence)


@contextmanager
def acting(context: Context, *, run: str, fence: int) -> Iterator[None]:
    """Hold the host for one verb that changes it. Raises AgentError (locked, fenced), OSError."""
    with flocked(context.layout.agent_state / "verb.flock", context.clock, _VERB_WAIT_S):
        check(context, run=run, fence=fence)
        yield


def raise_fence(context: Context) -> int:
    """Fence off every run there is: what a kill does. The lease stays until it runs out. Raises AgentError, OSError."""
    with _change(context):
        state = load(context)
        _store(context, State(state.fence + 1, state.lease))
        return state.fence + 1


def public(context: Context, lease: Lease) -> dict[str, Any]:
    """The lease as contracts.agent.Lock."""
    left_s = max(0, lease.expires_ns - context.clock.monotonic_ns()) / NS_PER_S
    return {"run": lease.run, "owner": lease.owner, "reason": lease.reason, "fence": lease.fence, "expires_in_s": left_s}


def _change(context: Context) -> Any:
    return flocked(context.layout.agent_state / "lock.flock", context.clock, _CHANGE_WAIT_S)


def _checked(context: Context, run: str, fence: int) -> Lease:
    state = load(context)
    if fence < state.fence:
        said = f"fence {fence} is below {state.fence}: a newer session or a kill has taken this host from run {run}"
        raise AgentError(FENCED, said, next="see `tradeops status`; then `tradeops runs abort`", detail={"fence": state.fence})
    if state.lease is None:
        raise AgentError(LOCKED, f"run {run} holds no lease here, or it has run out", next="`tradeops runs abort` ends the run")
    if state.lease.run != run or state.lease.fence != fence:
        raise _held(context, state.lease)
    return state.lease


def _held(context: Context, lease: Lease) -> AgentError:
    lock = public(context, lease)
    what = f"held by {lease.owner} for run {lease.run} ({lease.reason}), {lock['expires_in_s']:.0f} s left"
    return AgentError(LOCKED, what, next=f"wait, or `tradeops runs abort {lease.run}`", detail={"lock": lock})


def _store(context: Context, state: State) -> None:
    lease = asdict(state.lease) if state.lease else None
    write_atomic(context.layout.agent_state / "lock.json", canonical({"fence": state.fence, "lease": lease}))


def _tell(context: Context, until_ns: int) -> None:
    """Whoever stands by on this host may read until when a run holds it."""
    write_atomic(context.layout.held_file, str(until_ns).encode(), 0o644)
