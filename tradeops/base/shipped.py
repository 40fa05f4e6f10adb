"""Files that come with the package and are no code: playbooks, runbooks, the hosts' lock file."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def shipped(name: str) -> Path:
    """Where `name` lies: inside an installed package, or at the root of a checkout."""
    installed = _PACKAGE / "_shipped" / name
    return installed if installed.exists() else _PACKAGE.parent / name
