"""House rules that no library checks: sizes, cycles, clocks, broad handlers, runbooks. Ratchets: the lists below only shrink."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tradeops"
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
CLOCKS = {"tradeops/base/clock.py", "tradeops/agent/clock.py"}

BROAD_HANDLERS = {
    "tradeops/agent/session.py": "a mistake in a verb must be an answer; silence would leave the operator with an unknown outcome",
    "tradeops/fleet/fanout.py": "a bug on one host is raised in the caller's thread, after all hosts have ended",
    "tradeops/safety/kill.py": "one road's mistake is a problem of its hosts; the other roads and the report go on",
    "tradeops/cli/app.py": "the error boundary: a bug must still end with a documented exit code and a message",
}
"""Files that may catch everything without raising it again, and why. Each such line also gives its reason."""

SOURCES = sorted(PACKAGE.rglob("*.py"))
ALL_SOURCES = SOURCES + sorted((ROOT / "tests").rglob("*.py"))


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


@pytest.mark.parametrize("path", ALL_SOURCES, ids=_name)
def test_no_file_is_longer_than_400_lines(path: Path) -> None:
    """A file is one thing; more than 400 lines is more than one."""
    assert len(path.read_text().splitlines()) <= FILE_LINES_MAX


@pytest.mark.parametrize("path", ALL_SOURCES, ids=_name)
def test_no_function_is_longer_than_70_lines(path: Path) -> None:
    """A function fits on a screen."""
    functions = [node for node in ast.walk(_tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {node.name: node.end_lineno - node.lineno + 1 for node in functions if node.end_lineno is not None}
    assert {name: lines for name, lines in long.items() if lines > FUNCTION_LINES_MAX} == {}


def test_modules_import_each_other_in_one_direction_only() -> None:
    """No chain of imports leads back to where it began."""
    graph = grimp.build_graph("tradeops", cache_dir=None)
    loops = [
        (module, imported)
        for module in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(module))
        if graph.chain_exists(importer=imported, imported=module)
    ]
    assert loops == []


def test_every_room_has_an_import_contract() -> None:
    """A new room is shut out of all others until the design says what it may import."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    covered = {source.split(".")[1] for contract in contracts for source in contract["source_modules"] if source.count(".") == 2}
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms - {"cli"} <= covered


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_clocks_are_read_in_one_place(path: Path) -> None:
    """Only base/clock.py, and the agent's own, read a clock; all else is handed one, or a `now`."""
    if _name(path) in CLOCKS:
        return
    tree = _tree(path)
    assert "time" not in set(_imported(tree))
    calls = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not calls & {"now", "utcnow", "today", "monotonic_raw"} or "datetime" not in set(_imported(tree))


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_types_are_decoded_in_one_place(path: Path) -> None:
    """msgspec looks up a type at its first use, and two threads at once end the process: contracts/codec.py keeps them apart."""
    calls = [node for node in ast.walk(_tree(path)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    typed = [call.lineno for call in calls if call.func.attr == "decode" and any(word.arg == "type" for word in call.keywords)]  # type: ignore[attr-defined]  # only attributes are left
    converted = [call.lineno for call in calls if ast.unparse(call.func) == "msgspec.convert"]
    assert not typed + converted or _name(path) == "tradeops/contracts/codec.py"


def _catches_all(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException")) for kind in caught)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler))


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_everything_is_caught_only_where_listed(path: Path) -> None:
    """A handler of everything raises it again, or stands in the list with its reason."""
    handlers = [node for node in ast.walk(_tree(path)) if isinstance(node, ast.ExceptHandler)]
    broad = [handler for handler in handlers if _catches_all(handler) and not _raises_again(handler)]
    lines = path.read_text().splitlines()
    assert all("#" in "".join(lines[handler.lineno - 1 : handler.lineno + 1]) for handler in broad), "no reason on the line or the next"
    assert not broad or _name(path) in BROAD_HANDLERS


def test_the_list_of_broad_handlers_holds_nothing_stale() -> None:
    """What no longer catches everything leaves the list."""
    stale = [name for name in BROAD_HANDLERS if not any(map(_catches_all, _handlers(ROOT / name)))]
    assert stale == []


def _handlers(path: Path) -> list[ast.ExceptHandler]:
    return [node for node in ast.walk(_tree(path)) if isinstance(node, ast.ExceptHandler)] if path.exists() else []


@pytest.mark.parametrize("path", sorted((PACKAGE / "agent").rglob("*.py")), ids=_name)
def test_the_agent_imports_the_standard_library_alone(path: Path) -> None:
    """It runs on hosts that have nothing but Python 3.9: no library, no room of ours but itself."""
    outside = {name for name in _imported(_tree(path)) if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name for name in outside if not name.startswith("tradeops.agent")} == set()


@pytest.mark.parametrize("path", sorted((PACKAGE / "agent").rglob("*.py")), ids=_name)
def test_the_agent_reads_as_python_3_9(path: Path) -> None:
    """No syntax younger than the oldest interpreter on a host."""
    ast.parse(path.read_text(), feature_version=(3, 9))
    assert not any(isinstance(node, ast.Match) for node in ast.walk(_tree(path)))


@pytest.mark.parametrize("path", [path for path in ALL_SOURCES if path.name != "test_house.py"], ids=_name)
def test_silenced_checks_give_their_reason(path: Path) -> None:
    """`type: ignore` and `noqa` name the code and say why."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if match := re.search(r"#\s*(type: ignore|noqa)(\[[\w, -]+\]|: ?[A-Z0-9, ]+)?(.*)", line):
            assert match[2], f"{number}: name the code"
            assert len(match[3].strip(" #:-")) > 5, f"{number}: say why"


def _runbooks_of_errors() -> dict[str, str]:
    """Runbook -> the file whose class names it, over all sources."""
    assigned = re.compile(r'^    runbook(?:: [^=]+)? = "([\w-]+)"', re.MULTILINE)
    return {name: _name(path) for path in SOURCES for name in assigned.findall(path.read_text())}


def test_every_runbook_an_error_names_is_there() -> None:
    """An error that needs a person leads to a page that says what to do."""
    missing = {name: path for name, path in _runbooks_of_errors().items() if not (ROOT / "runbooks" / f"{name}.md").exists()}
    assert missing == {}


def test_every_runbook_is_reached() -> None:
    """A page that no error and no other page leads to is read by nobody."""
    pages = {path.stem: path.read_text() for path in (ROOT / "runbooks").glob("*.md")}
    reached, todo = set(), [name for name in _runbooks_of_errors() if name in pages] + ["README"]
    while todo:
        name = todo.pop()
        if name in pages and name not in reached:
            reached.add(name)
            todo += re.findall(r"\]\(([\w-]+)\.md\)", pages[name])
    assert set(pages) - reached == set()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-host.lock"])
def test_locks_have_hashes_and_no_addresses(lock: str) -> None:
    """What is installed is what was locked, from wherever it comes."""
    text = (ROOT / lock).read_text()
    pinned = re.findall(r"^[A-Za-z0-9._-]+(?:\[[\w,-]+\])?==[^\s\\]+", text, re.MULTILINE)
    assert len(pinned) > 3
    assert text.count("--hash=sha256:") >= len(pinned)
    assert not re.search(r"https?:|file:|--(extra-)?index|--find-links|--trusted", text)
