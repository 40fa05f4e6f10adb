"""Sent ahead of a platform's archive at enrolment: unpacks it and lets the installer inside do the rest. One JSON line back.

Runs by itself (`exec` of this text), so it imports nothing of ours until the archive is there. On standard input, after
this text: a line with the enrolment (JSON), then a gzipped tar of plain files.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any, BinaryIO


def unpack(stream: BinaryIO, into: Path) -> None:
    """Plain files only, each below `into`: anything else is refused. Raises ValueError, OSError, tarfile.TarError."""
    with tarfile.open(fileobj=stream, mode="r|gz") as archive:
        for member in archive:
            path = into / member.name
            parts = Path(member.name).parts
            content = archive.extractfile(member) if member.isreg() else None
            if content is None or member.name.startswith("/") or ".." in parts:
                raise ValueError(f"the archive holds {member.name!r}, which is no plain file below its folder")
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                while chunk := content.read(1 << 20):
                    file.write(chunk)


def run(stream: BinaryIO) -> dict[str, Any]:
    """Unpack and install; the answer for the operator, as the agent's protocol writes it."""
    spec = json.loads(stream.readline())
    platforms = Path(spec["root"]) / "platform"
    platforms.mkdir(parents=True, exist_ok=True)
    tree = platforms / f".partial-{os.getpid()}-enrolment"
    try:
        unpack(stream, tree)
        sys.path.insert(0, str(tree))
        answer: dict[str, Any] = importlib.import_module("agent.install").answer(spec, tree)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    return answer


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.stdout.write(json.dumps(run(sys.stdin.buffer)) + "\n")
