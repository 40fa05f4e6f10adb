"""`tradeops-stop`: how the guard has a hung trader killed. No arguments, and all it can do is stop the service."""

from __future__ import annotations

import sys
from pathlib import Path

from . import service
from .errors import AgentError
from .hostfile import load_context

REQUEST = "stop-request"


def main(root: Path) -> int:
    """SIGKILL every process of the service; 0 when none is left. The guard's request is taken away first."""
    try:
        context = load_context(root)
        (context.layout.guard_state / REQUEST).unlink(missing_ok=True)
        stopped = service.kill_all(context)
    except (AgentError, OSError) as error:
        sys.stderr.write(f"tradeops-stop: {error}\n")
        return 1
    return 0 if stopped["stopped"] else 1
