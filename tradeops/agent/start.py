"""`tradeops-start SLOT`: what a slot's unit runs. Becomes the release's own command, under the service's user."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from . import keeper, release, slot
from .errors import NOT_FOUND, AgentError
from .hostfile import Context, load_context
from .manifest import Manifest
from .names import SLOTS, linked_digest

_PATH = "/usr/local/bin:/usr/bin:/bin"
_PASSED_ON = ("LANG", "LC_ALL", "TZ")


@dataclass(frozen=True)
class Command:
    """What a slot's process is to become. folder: its working folder.  kept: whether the platform keeps it (keeper.py)."""

    argv: list[str]
    environment: dict[str, str]
    folder: Path
    manifest: Manifest
    kept: bool


def command(context: Context, name: str) -> Command:
    """The start command of what the slot is linked to. Raises AgentError, OSError.

    The link is followed once: the process stays with the release it was started from.
    """
    digest = linked_digest(context.layout.slot(name) / "current")
    if digest is None:
        raise AgentError(NOT_FOUND, f"slot {name} is linked to no release")
    manifest = release.present(context, digest)
    kept = keeper.check(context, manifest)
    tree = context.layout.release(digest) / "tree"
    address, port = keeper.endpoint(context, manifest.start)
    words = {"{python}": context.host.interpreter, "{tree}": str(tree), "{address}": address, "{port}": str(port)}
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
    return Command(argv, {"PATH": _PATH, **inherited, **own, **said}, tree, manifest, kept)


def main(root: Path, argv: list[str]) -> int:
    """Never returns when it works."""
    try:
        if len(argv) != 1 or argv[0] not in SLOTS:
            raise AgentError(NOT_FOUND, f"usage: tradeops-start {'|'.join(SLOTS)}")
        context = load_context(root)
        start = command(context, argv[0])
        if start.kept:
            keeper.fork(context, argv[0], start.manifest)
        os.chdir(start.folder)
        os.execvpe(start.argv[0], start.argv, start.environment)
    except (AgentError, OSError) as error:
        sys.stderr.write(f"tradeops-start: {error}\n")
        return 78


def _fill(text: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        text = text.replace(name, value)
    return text
