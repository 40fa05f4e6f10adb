"""A kill that comes over SSH: needs no lock, no guard, no clock and no room on the disk; it only ever sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import lock, marks, processes, service, verify
from .clock import NS_PER_MS
from .errors import BAD_REQUEST, SERVICE, AgentError
from .facts import number_in
from .files import canonical, flocked, parse_object, write_atomic
from .hostfile import Context
from .names import SLOTS, is_id
from .vitals import raise_latch, read_latch, read_vitals

ALL_HOSTS = "*"
_WAIT_FOR_OTHERS_S = 0.25
_POLL_S = 0.002


@dataclass
class _Latch:
    """What has come of it so far. problems: what failed beside the word.  roster: the number that this host keeps."""

    word: int = 0
    already: bool = False
    roster: int = 0
    problems: list[str] = field(default_factory=list)


def latch(context: Context, envelope: dict[str, Any], *, wait_ms: int, stop: bool) -> dict[str, Any]:
    """contracts.agent.Latched. Raises AgentError: signature, bad_request (not a kill of this whole host), service (no page)."""
    begun_ns = context.clock.monotonic_ns()
    kill = _kill_id(context, envelope)
    if kill in marks.ended_kills(context):
        return _answer(_Latch(_word(context), already=True, roster=_roster(context)), spent=True)
    done = _Latch(already=(context.layout.latched / f"{kill}.json").exists(), roster=_roster(context))
    try:
        with flocked(context.layout.agent_state / "latch.flock", context.clock, _WAIT_FOR_OTHERS_S):
            _set(context, kill, envelope, done)
    except (AgentError, OSError) as error:
        if not done.word:
            done.problems.append(f"other latches were not waited for: {error}")
            _set(context, kill, envelope, done)
    if not done.already:
        _note(done, "the fence was not raised", lambda: lock.raise_fence(context))
    stopped = service.kill_all(context) if stop else None
    blocked = _blocked(context, done.word, wait_ms, begun_ns)
    blocked_ms = (context.clock.monotonic_ns() - begun_ns) / NS_PER_MS if blocked else None
    if not done.word and not blocked:
        raise AgentError(SERVICE, "; ".join(done.problems), next="latch again with `stop`: the kill-switch does it by itself")
    return _answer(done, blocked=blocked, blocked_ms=blocked_ms, stopped=stopped)


def _kill_id(context: Context, envelope: dict[str, Any]) -> str:
    """The id of the kill inside, when this host is to obey it. No age is held against it, and unknown fields are passed over."""
    directive = parse_object(verify.body_of(envelope), "the directive")
    host, hosts, kill = context.host, directive.get("hosts"), directive.get("id")
    if directive.get("verb") != "kill" or not is_id(kill):
        raise AgentError(BAD_REQUEST, "only a kill can be latched, and its id must be able to name a file")
    if directive.get("fleet") != host.fleet or not isinstance(hosts, list) or not (host.host in hosts or hosts == [ALL_HOSTS]):
        raise AgentError(
            BAD_REQUEST, f"the kill is for {hosts!r} of fleet {directive.get('fleet')!r}; this is {host.host!r} of {host.fleet!r}"
        )
    scope = directive.get("scope")
    if isinstance(scope, dict) and any(scope.get(part) for part in ("venues", "symbols", "strategies")):
        said = "the latch stops the whole host, and this kill is for a part of it"
        raise AgentError(BAD_REQUEST, said, next="reach the guard, or kill the whole host: `tradeops kill-switch --host`")
    verify.entitled(verify.host_policy(context), "kill", envelope, verify.DIRECTIVE)
    return str(kill)


def _set(context: Context, kill: str, envelope: dict[str, Any], done: _Latch) -> None:
    """First the file, so that a guard that sees the word finds the kill; the word also when the file cannot be written."""
    if done.already and (word := _standing(context)):
        done.word = word
        return
    _note(done, "the kill was not written down", lambda: write_atomic(context.layout.latched / f"{kill}.json", canonical(envelope), 0o644))
    try:
        done.word = raise_latch(context.layout.stop_page)
    except (OSError, ValueError) as error:
        done.problems.append(f"the stop page cannot be latched: {error}")


def _note(done: _Latch, what: str, act: Any) -> None:
    """A kill goes on when what is beside it fails, and says so."""
    try:
        act()
    except (AgentError, OSError) as error:
        done.problems.append(f"{what}: {error}")


def _standing(context: Context) -> int:
    """The word when it halts the host now, else 0."""
    try:
        found = read_latch(context.layout.stop_page.read_bytes())
    except OSError:
        return 0
    return found.word if found and found.whole and found.standing() else 0


def _roster(context: Context) -> int:
    """0 where there is none, or none that can be read: that stops no kill."""
    try:
        return number_in(context.layout.roster_file)
    except (AgentError, OSError):
        return 0


def _word(context: Context) -> int:
    try:
        found = read_latch(context.layout.stop_page.read_bytes())
    except OSError:
        return 0
    return found.word if found else 0


def _blocked(context: Context, word: int, wait_ms: int, begun_ns: int) -> bool:
    """Whether no order can leave: every slot's gate acknowledged the word with an empty send queue, or no process is left.

    A process of the service that none of those gates' processes has started acknowledges nothing: while one lives, nothing is proved.
    """
    while True:
        pages = [page for slot in SLOTS for page in [read_vitals(context.layout.vitals_page(slot))] if page and _lives(page)]
        if not pages or (word and all(page.get("ack_latch") == word and page.get("send_queue") == 0 for page in pages)):
            living = processes.of_service(context)
            known = [processes.descendants(page["identity"]["pid"], living) for page in pages]
            if {process.pid for process in living} <= set().union(*known):
                return True
        if (context.clock.monotonic_ns() - begun_ns) >= wait_ms * NS_PER_MS:
            return False
        context.clock.sleep_s(_POLL_S)


def _lives(page: dict[str, Any]) -> bool:
    identity = page.get("identity")
    pid, ticks = (identity.get("pid"), identity.get("start_ticks")) if isinstance(identity, dict) else (None, None)
    return isinstance(pid, int) and isinstance(ticks, int) and processes.alive(pid, ticks)


def _answer(
    done: _Latch, *, spent: bool = False, blocked: bool = False, blocked_ms: float | None = None, stopped: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "latch": done.word,
        "already": done.already,
        "spent": spent,
        "blocked": blocked,
        "blocked_ms": blocked_ms,
        "stopped": stopped,
        "problems": done.problems,
        "roster_number": done.roster,
    }
