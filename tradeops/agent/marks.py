"""Why this host does not trade, as far as the agent can read it: the guard's state file, and kills latched here."""

from __future__ import annotations

from typing import Any

from .errors import AgentError
from .files import read_object
from .hostfile import Context
from .names import SLOTS

_FIELDS = ("kind", "id", "by", "reason", "since_wall_ns")


def guard_state(context: Context) -> dict[str, Any]:
    """The guard's durable state, empty when there is none that can be read: the guard says the rest itself."""
    try:
        sealed = read_object(context.layout.guard_state / "state.json") or {}
    except (AgentError, OSError):
        return {}
    state = sealed.get("state")
    return state if isinstance(state, dict) else {}


def active_slot(context: Context) -> str:
    """The slot that the newest activation went to; the first one before there was any."""
    slot = guard_state(context).get("active")
    return slot if slot in SLOTS else SLOTS[0]


def token(context: Context) -> int:
    """The number of the newest activation, 0 before there was any."""
    number = guard_state(context).get("token")
    return number if isinstance(number, int) else 0


def ended_kills(context: Context) -> set[str]:
    """Ids of kills that a permit has ended: they are spent."""
    ended = guard_state(context).get("kills_ended")
    return {kill for kill in ended if isinstance(kill, str)} if isinstance(ended, list) else set()


def marks(context: Context) -> list[dict[str, Any]]:
    """contracts.status.Mark of each: the guard's, then latched kills that it has not taken over yet."""
    state = guard_state(context)
    listed = state.get("marks")
    rows = (
        [mark for mark in listed if isinstance(mark, dict) and all(field in mark for field in _FIELDS)] if isinstance(listed, list) else []
    )
    if not state.get("permit"):
        said = {"kind": "unarmed", "id": "unarmed", "by": "host", "reason": "no permit", "since_wall_ns": 0}
        rows = [*([] if any(row["kind"] == "unarmed" for row in rows) else [said]), *rows]
    known = {row["id"] for row in rows} | ended_kills(context)
    return rows + [
        _latched(path.stem, path.stat().st_mtime_ns) for path in sorted(context.layout.latched.glob("*.json")) if path.stem not in known
    ]


def _latched(kill: str, since_wall_ns: int) -> dict[str, Any]:
    return {"kind": "kill", "id": kill, "by": "agent", "reason": "latched over SSH", "since_wall_ns": since_wall_ns}
