"""Our own daemon's tree: locked libraries, our rooms, a launcher; made once per lock, the same bytes each time."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tradeops.base.errors import TradeopsError, UsageError
from tradeops.contracts.signature import RunKey
from tradeops.release.build import Source, build
from tradeops.release.daemon import Ingredients, daemon_tree, platform_tree, trader_tree
from tradeops.release.definition import load_definition
from tradeops.release.layers import compile_tree, default_cache, layer, layer_key, this_python
from tradeops.release.ledger import FlagLedger
from tradeops.release.manifest import scan
from tradeops.release.store import Store

_LIBRARY = """\
NAMES = {"a", "b", "c"}


def known(name):
    return name in {"x", "y", "z", "w"}


def main():
    return 0
"""


def make_wheel(folder: Path) -> Path:
    """The smallest wheel there is, with a console script, as pip takes it."""
    wheel = folder / "tiny_lib-1.0-py3-none-any.whl"
    files = {
        "tiny_lib/__init__.py": _LIBRARY,
        "tiny_lib-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-lib\nVersion: 1.0\n",
        "tiny_lib-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny_lib-1.0.dist-info/entry_points.txt": "[console_scripts]\ntiny = tiny_lib:main\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}\n"
        for name, text in files.items()
    )
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, "tiny_lib-1.0.dist-info/RECORD": record + "tiny_lib-1.0.dist-info/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return wheel


def make_lock(folder: Path, digest: str | None = None) -> Path:
    wheel = make_wheel(folder)
    lock = folder / "requirements-host.lock"
    lock.write_text(f"tiny-lib==1.0 --hash=sha256:{digest or hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return lock


def make_package(folder: Path) -> Path:
    """A package of the shape of ours, whose trader says where its library comes from."""
    package = folder / "tradeops"
    for room in ("base", "contracts", "wire", "trader"):
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "trader" / "main.py").write_text("import tiny_lib\n\n\ndef main():\n    print(tiny_lib.__file__)\n    return 7\n")
    (package / "base" / "__pycache__").mkdir()
    (package / "base" / "__pycache__" / "stale.pyc").write_bytes(b"junk")
    return package


def ingredients(folder: Path, name: str) -> Ingredients:
    environ = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
    return Ingredients(folder / "requirements-host.lock", folder / "package" / "tradeops", folder / name, environ)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("daemon")
    make_lock(folder)
    make_package(folder / "package")
    trader_tree(folder / "one" / "tree", ingredients(folder, "cache-1"), None)
    return folder


def test_the_tree_is_the_same_wherever_it_is_made(bench: Path) -> None:
    """D16: another cache, another folder, every layer made anew: the same files to the last byte of bytecode."""
    trader_tree(bench / "two" / "else" / "tree", ingredients(bench, "cache-2"), None)
    files = scan(bench / "one" / "tree")
    assert scan(bench / "two" / "else" / "tree") == files
    paths = {file.path for file in files}
    assert {"run.py", "lib/tiny_lib/__init__.py", "lib/tradeops/trader/main.py"} <= paths
    assert any(path.startswith("lib/tiny_lib/__pycache__/") for path in paths)
    assert not any("bin/" in path or path.endswith(("RECORD", "INSTALLER", "stale.pyc")) for path in paths)


def test_the_launcher_runs_from_its_own_libraries(bench: Path) -> None:
    """The host's own packages play no part, and main's result is the exit status."""
    run = bench / "one" / "tree" / "run.py"
    ran = subprocess.run([sys.executable, "-I", "-B", str(run)], cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 7, ran.stderr
    assert ran.stdout.strip() == str(bench / "one" / "tree" / "lib" / "tiny_lib" / "__init__.py")


def test_a_layer_is_made_once_and_again_when_it_was_touched(bench: Path) -> None:
    """The cache is not trusted: a changed file in it is found, and the layer made anew."""
    parts = ingredients(bench, "cache-1")
    kept = layer(parts.lock, parts.cache, {"PATH": "/nonexistent"})
    (kept / "tiny_lib" / "__init__.py").chmod(0o644)
    (kept / "tiny_lib" / "__init__.py").write_text("evil = True\n")
    made = layer(parts.lock, parts.cache, parts.environ)
    assert made == kept
    assert "evil" not in (made / "tiny_lib" / "__init__.py").read_text()


def test_a_wheel_that_is_not_the_locked_one_is_refused(tmp_path: Path) -> None:
    """A05: pip must find the very file whose hash is locked; nothing is left behind."""
    make_lock(tmp_path, digest="0" * 64)
    parts = ingredients(tmp_path, "cache")
    with pytest.raises(TradeopsError, match="pip could not install"):
        layer(parts.lock, parts.cache, parts.environ)
    assert list(parts.cache.iterdir()) == []


def test_config_and_missing_parts(bench: Path, tmp_path: Path) -> None:
    """config/ comes along; a missing folder, room or lock is said so."""
    parts = ingredients(bench, "cache-1")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "trader.yml").write_text("x: 1\n")
    trader_tree(tmp_path / "tree", parts, tmp_path / "config")
    assert (tmp_path / "tree" / "config" / "trader.yml").exists()
    with pytest.raises(UsageError, match="no such folder"):
        trader_tree(tmp_path / "tree-2", parts, tmp_path / "missing")
    with pytest.raises(UsageError, match="no guard"):
        daemon_tree(tmp_path / "tree-3", parts, ("guard",), {})
    with pytest.raises(UsageError, match="lock"):
        layer_key(tmp_path / "missing.lock")


def test_a_trader_is_built_into_the_store(bench: Path, tmp_path: Path) -> None:
    """D12, D16: our own daemon from its folder: limits in the manifest, the layer in its provenance, twice the same."""
    folder = tmp_path / "service"
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "trader.yml").write_text("x: 1\n")
    limits = "".join(f'  {name}: "1"\n' for name in ("order_quantity_max", "order_price_max", "order_value_max", "position_max"))
    (folder / "service.yml").write_text(
        "service: trader\nversion: '1'\nkind: trader\nlimits:\n  instruments: [AAA]\n  venues: [SIM]\n"
        f"  order_count_max: 1\n  order_rate_per_s_max: 1\n{limits}"
    )
    source = Source(load_definition(folder / "service.yml"), folder, ingredients(bench, "cache-1"), {"commit": "abc"})
    store, ledger = Store(tmp_path / "store"), FlagLedger(tmp_path / "flags.json")
    made = [build(source, store, RunKey.generate(), ledger, now_ns=now, number=1) for now in (1, 2)]
    assert made[0].id == made[1].id
    release = made[0].manifest.predicate
    assert release.limits is not None
    assert release.limits.order_price_max == 1_000_000_000
    assert release.python == this_python()
    assert release.provenance == {"commit": "abc", "layer": layer_key(bench / "requirements-host.lock")}
    assert {"run.py", "config/trader.yml", "lib/tiny_lib/__init__.py"} <= {file.path for file in release.files}


def test_the_platform_carries_the_agent_as_it_is(bench: Path, tmp_path: Path) -> None:
    """Guard with its libraries, agent beside it, each its own launcher or none."""
    parts = ingredients(bench, "cache-1")
    package = tmp_path / "tradeops"
    shutil.copytree(parts.package, package)
    for room in ("guard", "agent"):
        (package / room).mkdir()
        (package / room / "main.py").write_text("def main():\n    return 0\n")
    platform_tree(tmp_path / "tree", replace(parts, package=package))
    paths = {file.path for file in scan(tmp_path / "tree")}
    assert {"guard.py", "agent/main.py", "lib/tradeops/guard/main.py", "lib/tiny_lib/__init__.py"} <= paths
    assert not any(path.startswith("lib/tradeops/trader") for path in paths)


def test_source_that_does_not_compile_is_left_without_bytecode(tmp_path: Path) -> None:
    """Libraries carry templates and code of other versions: no reason to fail."""
    (tmp_path / "bad.py").write_text("def (:\n")
    (tmp_path / "good.py").write_text("x = 1\n")
    compile_tree(tmp_path)
    assert [path.name.split(".")[0] for path in (tmp_path / "__pycache__").iterdir()] == ["good"]
    shutil.rmtree(tmp_path / "__pycache__")


def test_where_and_for_what() -> None:
    """The cache is the user's; the ABI is this interpreter's."""
    assert default_cache().name == "layers"
    assert this_python().abi == f"cp{sys.version_info.major}{sys.version_info.minor}"
