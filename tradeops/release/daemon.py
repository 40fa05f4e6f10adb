"""The tree of our own daemons: launcher, configuration, and `lib/` with the locked libraries and our package."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tradeops.base.errors import UsageError
from tradeops.release.definition import StartEntry
from tradeops.release.layers import compile_tree, default_cache, layer

TRADER_START = StartEntry(argv=("{python}", "-I", "-B", "{tree}/run.py"))
TRADER_ROOMS = ("base", "contracts", "wire", "trader")
GUARD_ROOMS = ("base", "contracts", "wire", "guard")
_LAUNCHER = '''\
"""Starts {module} from this tree: its own libraries first, whatever else the host has installed."""

import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here / "lib"))

from {module} import main  # noqa: E402  # the path comes first

if __name__ == "__main__":
    sys.exit(main())
'''


def package_folder() -> Path:
    """Where our own package lies in this installation."""
    return Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Ingredients:
    """What a tree of ours is made from. lock: pinned libraries of the hosts.  package: our own code."""

    lock: Path
    package: Path = field(default_factory=package_folder)
    cache: Path = field(default_factory=default_cache)
    environ: Mapping[str, str] | None = None


def trader_tree(into: Path, ingredients: Ingredients, config: Path | None) -> None:
    """The trader's tree: `run.py`, `lib/`, and `config/` copied from `config` (a folder). Raises as `layer`."""
    daemon_tree(into, ingredients, TRADER_ROOMS, {"run.py": "tradeops.trader.main"})
    if config is not None:
        if not config.is_dir():
            raise UsageError("no such folder", where=str(config), next="put the daemon's configuration there, as config/trader.yml")
        shutil.copytree(config, into / "config", symlinks=True)


def platform_tree(into: Path, ingredients: Ingredients) -> None:
    """The platform's tree: `guard.py`, `lib/`, and `agent/`, which stands on the standard library alone. Raises as `layer`."""
    daemon_tree(into, ingredients, GUARD_ROOMS, {"guard.py": "tradeops.guard.main"})
    shutil.copytree(ingredients.package / "agent", into / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    compile_tree(into / "agent")


def daemon_tree(into: Path, ingredients: Ingredients, rooms: Iterable[str], launchers: Mapping[str, str]) -> None:
    """A tree of `rooms` of our package with their libraries; launchers: file name -> module with a `main()`.

    Raises UsageError when a room is not in the package, and as `layer`.
    """
    libraries = layer(ingredients.lock, ingredients.cache, ingredients.environ)
    into.mkdir(parents=True, exist_ok=True)
    shutil.copytree(libraries, into / "lib", symlinks=True)
    ours = into / "lib" / ingredients.package.name
    ours.mkdir()
    for room in rooms:
        if not (ingredients.package / room).is_dir():
            raise UsageError(f"the package has no {room}", where=str(ingredients.package), next="install tradeops again")
        shutil.copytree(ingredients.package / room, ours / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(ingredients.package / "__init__.py", ours / "__init__.py")
    compile_tree(ours)
    for name, module in launchers.items():
        (into / name).write_text(_LAUNCHER.format(module=module))
