"""Trees become manifests; manifests that are not sound are refused whoever signed them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.release.conftest import Workshop
from tradeops.base.digest import digest_bytes
from tradeops.base.errors import Refused, UsageError
from tradeops.contracts.manifest import File, Manifest
from tradeops.release.manifest import check_manifest, scan, table_problem
from tradeops.release.paths import link_problem, path_problem

EMPTY = digest_bytes(b"")


def test_modes_are_normalised_and_links_are_kept(tmp_path: Path) -> None:
    """Only the execute bit counts, so that another umask makes no other release."""
    (tmp_path / "bin").mkdir()
    for name, mode in (("bin/run", 0o700), ("plain", 0o600), ("other", 0o666)):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(mode)
    (tmp_path / "bin" / "link").symlink_to("../plain")
    files = {file.path: file for file in scan(tmp_path)}
    assert [files[name].mode for name in ("bin/run", "plain", "other")] == [0o755, 0o644, 0o644]
    assert files["bin/link"].link == "../plain"
    assert list(files) == sorted(files)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "sub/../../..", "..", "a/../b", ""])
def test_links_that_could_leave_the_tree_are_refused(target: str) -> None:
    """Absolute, above the tree, or through another link."""
    assert link_problem("sub/link", target)


def test_links_inside_the_tree_are_fine() -> None:
    """Beside, below, and above by no more than the link's own depth."""
    assert link_problem("a/b/link", "../../x/y") is None
    assert link_problem("link", "x") is None


@given(st.text(max_size=60))
def test_no_accepted_path_leaves_the_tree(path: str) -> None:
    """Whatever is accepted stays inside and is spelled one way."""
    if path_problem(path) is None:
        assert os.path.normpath(f"/tree/{path}") == f"/tree/{path}"


def test_what_a_release_cannot_hold(tmp_path: Path) -> None:
    """A pipe, a link that leaves, a name with a line break, nothing at all: each named."""
    with pytest.raises(UsageError, match="no file"):
        scan(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="neither"):
        scan(tmp_path)
    (tmp_path / "pipe").unlink()
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match="link"):
        scan(tmp_path)
    (tmp_path / "link").unlink()
    (tmp_path / "a\nb").write_text("")
    with pytest.raises(UsageError, match="control"):
        scan(tmp_path)


def file(path: str, **changes: Any) -> File:
    return msgspec.structs.replace(File(path, 0o644, 0, EMPTY), **changes)


@pytest.mark.parametrize(
    "files",
    [
        [],
        [file("a"), file("a")],
        [file("a"), file("a/b")],
        [file("a/b/c"), file("a/b")],
        [file("../a")],
        [file("/a")],
        [file("a//b")],
        [file("a\0")],
        [file("a" * 2000)],
        [file("a/" + "b" * 300)],
        [file("a", mode=0o4755)],
        [file("a", mode=0o777)],
        [file("a", size=-1)],
        [file("a", size=3 << 30)],
        [file("a", digest="sha256:short")],
        [file("a", link="b")],
        [file("a", link="/b", size=2, digest=digest_bytes(b"/b"))],
        [file(str(n), size=2 << 30) for n in range(5)],
    ],
)
def test_unsound_tables(files: list[File]) -> None:
    """Doubles, files below files, escapes, odd modes, sizes and digests."""
    assert table_problem(files)


def test_an_unsound_manifest_is_refused(workshop: Workshop) -> None:
    """D04, D12: whatever the signature says."""
    manifest = workshop.build().manifest
    check_manifest(manifest)

    def changed(**changes: Any) -> Manifest:
        return msgspec.structs.replace(manifest, predicate=msgspec.structs.replace(manifest.predicate, **changes))

    start = msgspec.structs.replace(manifest.predicate.start, identity="vitals")
    for unsound in (
        changed(number=0),
        changed(start=start),
        changed(start=msgspec.structs.replace(start, argv=())),
        changed(removed=("data",)),
        changed(removed=("main.py",)),
        changed(removed=("/x",)),
        changed(files=manifest.predicate.files[1:]),
        changed(service="other"),
        msgspec.structs.replace(manifest, type="x"),
        msgspec.structs.replace(manifest, predicate_type="x"),
    ):
        with pytest.raises(Refused, match="not sound"):
            check_manifest(unsound)
