"""Why the agent says no: one class, a code of the protocol, and how system errors become codes."""

from __future__ import annotations

import errno
from typing import Any

LOCKED = "locked"
FENCED = "fenced"
SIGNATURE = "signature"
DIGEST = "digest"
OLDER = "older"
DISK_FULL = "disk_full"
READ_ONLY = "read_only"
NOT_FOUND = "not_found"
BAD_REQUEST = "bad_request"
SERVICE = "service"
INTERNAL = "internal"

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_WRITE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class AgentError(Exception):
    """A refusal: `code` for the operator's program, `what` and `next` for a person, `detail` for both."""

    def __init__(self, code: str, what: str, *, next: str = "", detail: dict[str, Any] | None = None) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.next = next
        self.detail = detail or {}


def bad_request(what: str) -> AgentError:
    """The request itself is wrong."""
    return AgentError(BAD_REQUEST, what)


def from_os_error(error: OSError) -> AgentError:
    """A full disk and a read-only folder have codes of their own; the rest is internal."""
    where = f"{error.filename}: " if error.filename else ""
    what = f"{where}{error.strerror or error}"
    if error.errno in _NO_SPACE:
        return AgentError(DISK_FULL, what, next="make room on the host (`tradeops doctor` shows how much), then run it again")
    if error.errno in _NO_WRITE:
        return AgentError(READ_ONLY, what, next="make the root folder of tradeops writable on the host, then run it again")
    return AgentError(INTERNAL, what)
