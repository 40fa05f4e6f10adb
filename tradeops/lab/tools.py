"""Runs the machine's own tools: argument lists only, a deadline each, and their words in the error."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence

from tradeops.lab.errors import LabError

TOOL_TIMEOUT_S = 30.0
_WORDS_MAX = 600


def run(
    argv: Sequence[str],
    *,
    text: str | None = None,
    timeout_s: float = TOOL_TIMEOUT_S,
    where: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run to the end with `text` as input; its standard output. Raises LabError with what the tool said.

    environment: that of a lab marks the tool as the lab's, so that it is found when it outlives a killed operator.
    """
    name = " ".join(argv[:3])
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment)
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not on this machine", where=where, next=f"install the package that has {argv[0]}") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"`{name}` took longer than {timeout_s:g} s", where=where) from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip()[-_WORDS_MAX:]
        raise LabError(f"`{name}` ended with {done.returncode}: {words}", where=where)
    return done.stdout


def missing(names: Sequence[str]) -> list[str]:
    """Those of the tools that are not on PATH (with the folders where administrators' tools lie)."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return [name for name in names if shutil.which(name) is None and shutil.which(name, path=path) is None]
