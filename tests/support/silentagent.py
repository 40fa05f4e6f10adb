"""An SSH agent that accepts and never says a word."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def silent_agent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """SSH_AUTH_SOCK leads to it for as long as the block lasts; the environment with it."""
    path = folder / "silent.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(64)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        yield dict(os.environ)
