"""`tradeops-start SLOT`: what a slot's unit runs. Becomes the release's own command, under the service's user."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from . import release, slot
from .errors import NOT_FOUND, AgentError
from .hostfile import Context, load_context
from .names import SLOTS, linked_digest

_PATH = "/usr/local/bin:/usr/bin:/bin"
_PASSED_ON = ("LANG", "LC_ALL", "TZ")


def command(context: Context, name: str) -> tuple[list[str], dict[str, str], Path]:
    """Arguments, environment and working folder of what the slot is linked to. Raises AgentError, OSError.

    The link is followed once: the process stays with the release it was started from.
    """
    digest = linked_digest(context.layout.slot(name) / "current")
    if digest is None:
        raise AgentError(NOT_FOUND, f"slot {name} is linked to no release")
    manifest = release.present(context, digest)
    tree = context.layout.release(digest) / "tree"
    words = {"{python}": context.host.interpreter, "{tree}": str(tree)}
    argv = [_fill(str(part), words) for part in manifest.start.get("argv", ())]
    if not argv:
        raise AgentError(NOT_FOUND, f"release {digest} names no start command")
    own = {str(key): _fill(str(value), words) for key, value in dict(manifest.start.get("environment") or {}).items()}
    inherited = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    said = {
        "TRADEOPS_ROOT": str(context.layout.root),
        "TRADEOPS_SLOT": name,
        "TRADEOPS_RELEASE": digest,
        "TRADEOPS_BINDING": slot.binding_digest(context, name) or "",
    }
    return argv, {"PATH": _PATH, **inherited, **own, **said}, tree


def main(root: Path, argv: list[str]) -> int:
    """Never returns when it works."""
    try:
        if len(argv) != 1 or argv[0] not in SLOTS:
            raise AgentError(NOT_FOUND, f"usage: tradeops-start {'|'.join(SLOTS)}")
        words, environment, tree = command(load_context(root), argv[0])
        os.chdir(tree)
        os.execvpe(words[0], words, environment)
    except (AgentError, OSError) as error:
        sys.stderr.write(f"tradeops-start: {error}\n")
        return 78


def _fill(text: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        text = text.replace(name, value)
    return text
