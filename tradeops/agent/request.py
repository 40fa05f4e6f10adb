"""One request line, parsed strictly enough that its body can always be passed over."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .errors import bad_request

BODY_BYTES_MAX = 16 << 30
_VERB_CHARS_MAX = 32


@dataclass(frozen=True)
class Request:
    """What was asked. size: raw bytes that follow the line.  problem: what is wrong with it, "" for nothing."""

    id: int | str | None
    verb: str
    run: str | None
    fence: int | None
    args: dict[str, Any]
    size: int
    problem: str


def parse(line: bytes) -> Request:
    """Raises AgentError (bad_request) when not even the size of a body can be told: the session then ends."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        raise bad_request("a request must be one JSON object on one line") from None
    size = raw.get("bytes", 0) if isinstance(raw, dict) else None
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= BODY_BYTES_MAX:
        raise bad_request(f"a request must be one JSON object; bytes a whole number up to {BODY_BYTES_MAX}")
    asker = raw.get("id")
    verb, run, fence, args = raw.get("verb"), raw.get("run"), raw.get("fence"), raw.get("args", {})
    return Request(
        id=asker if isinstance(asker, (int, str)) else None,
        verb=verb[:_VERB_CHARS_MAX] if isinstance(verb, str) else "",
        run=run if isinstance(run, str) else None,
        fence=fence if _is_whole(fence) else None,
        args=args if isinstance(args, dict) else {},
        size=size,
        problem=_problem(verb, run, fence, args),
    )


def _problem(verb: object, run: object, fence: object, args: object) -> str:
    if not isinstance(verb, str) or not isinstance(args, dict):
        return "a request has a verb and an object of args"
    if run is not None and not isinstance(run, str):
        return "run must be text"
    if fence is not None and not _is_whole(fence):
        return "fence must be a whole number"
    return ""


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
