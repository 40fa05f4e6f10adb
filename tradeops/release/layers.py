"""Our daemon's libraries, installed once per lock file and interpreter, and kept: the slow part of a build.

Nothing in a layer depends on when, where or by whom it was made: no scripts, no installer's notes, and bytecode that
is bound to its source by a hash instead of a time stamp.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tradeops.base.digest import canonical_json, digest_bytes
from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import TradeopsError, UsageError
from tradeops.contracts.manifest import PythonAbi
from tradeops.release.manifest import scan

_RECIPE = 1
_LOCK_BYTES_MAX = 4 << 20
_PIP_S = 900
_COMPILE_S = 600
_INSTALLERS_NOTES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
_COMPILE = """\
import compileall, py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
sys.exit(not compileall.compile_dir(sys.argv[1], quiet=2, stripdir=sys.argv[1], maxlevels=40, workers=1, invalidation_mode=mode))
"""


def this_python() -> PythonAbi:
    """What compiled parts are built for here; the version down to the patch, for bytecode depends on it."""
    abi = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return PythonAbi(abi, sysconfig.get_platform().replace("-", "_").replace(".", "_"), platform.python_version())


def default_cache() -> Path:
    """The user's cache folder for layers."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "tradeops" / "layers"


def layer(lock: Path, cache: Path, environ: Mapping[str, str] | None = None) -> Path:
    """The folder of the libraries that `lock` pins, made if it is not in `cache` whole.

    environ: what pip runs with. Raises UsageError (no lock file), TradeopsError (pip failed).
    """
    key = layer_key(lock)
    folder = cache / key.removeprefix("sha256:")[:32]
    if _whole(folder):
        return folder / "lib"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=cache) as making:
        fresh = Path(making) / "layer"
        lib = fresh / "lib"
        lib.mkdir(parents=True)
        _install(lock, lib, environ)
        _strip(lib)
        compile_tree(lib)
        write_atomic(fresh / "layer.json", _seal(lib), mode=0o644)
        _put_in_place(fresh, folder)
    return folder / "lib"


def layer_key(lock: Path) -> str:
    """What a layer depends on: the lock's bytes, the interpreter, and how layers are made."""
    try:
        pinned = read_bounded(lock, _LOCK_BYTES_MAX)
    except FileNotFoundError:
        raise UsageError("no such lock file", where=str(lock), next="name the lock of the host's libraries") from None
    return digest_bytes(canonical_json([_RECIPE, digest_bytes(pinned), *msgspec.structs.astuple(this_python())]))


def compile_tree(folder: Path) -> None:
    """Bytecode beside every source, the same bytes each time: hash-based, one worker, a fixed hash seed.

    A file that this interpreter cannot compile is left without. Raises TradeopsError when the compiler cannot run.
    """
    # Not -I: it would ignore the hash seed, on which the order of frozen sets in bytecode depends.
    environ = {"PYTHONHASHSEED": "0", "PATH": os.defpath}
    command = [sys.executable, "-s", "-S", "-P", "-B", "-c", _COMPILE, str(folder)]
    ran = subprocess.run(command, env=environ, cwd=folder, capture_output=True, check=False, timeout=_COMPILE_S)
    if ran.returncode not in (0, 1):
        raise TradeopsError(f"the compiler ended with {ran.returncode}: {_tail(ran.stderr)}", where=str(folder))


def _install(lock: Path, lib: Path, environ: Mapping[str, str] | None) -> None:
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"),
        *("--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile", "--target", str(lib), "-r", str(lock)),
    ]
    try:
        ran = subprocess.run(command, env=environ, capture_output=True, check=False, timeout=_PIP_S)
    except subprocess.TimeoutExpired:
        raise TradeopsError(f"pip took longer than {_PIP_S} s", where=str(lock), next="check the way to your package index") from None
    if ran.returncode != 0:
        raise TradeopsError(
            f"pip could not install the libraries: {_tail(ran.stderr)}",
            where=str(lock),
            holds="no release was made",
            next="see that this interpreter has pip, and that the index it uses has these very files",
        )


def _strip(lib: Path) -> None:
    """Take away what differs between installations of the same wheels."""
    shutil.rmtree(lib / "bin", ignore_errors=True)
    for info in lib.glob("*.dist-info"):
        for note in _INSTALLERS_NOTES:
            (info / note).unlink(missing_ok=True)
    for cached in list(lib.rglob("__pycache__")):
        shutil.rmtree(cached)


def _seal(lib: Path) -> bytes:
    return digest_bytes(canonical_json(msgspec.to_builtins(scan(lib)))).encode()


def _whole(folder: Path) -> bool:
    """Whether a kept layer is as it was made: a cache is no place to trust."""
    try:
        return read_bounded(folder / "layer.json", 100) == _seal(folder / "lib")
    except (OSError, TradeopsError):
        return False


def _put_in_place(fresh: Path, folder: Path) -> None:
    if folder.exists():
        if _whole(folder):
            return
        shutil.rmtree(folder)
    try:
        fresh.rename(folder)
    except OSError:
        # Another build may have been faster; its layer is as good when it is whole.
        if not _whole(folder):
            raise


def _tail(text: bytes) -> str:
    lines = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    return " / ".join(lines[-3:])[-600:] or "it said nothing"
