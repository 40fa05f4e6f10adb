"""Durable files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tradeops.base.durable import append_durable, fsync_dir, read_bounded, write_atomic
from tradeops.base.errors import UsageError


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    """New content, 0600 unless said otherwise, nothing left beside it."""
    path = tmp_path / "state.json"
    write_atomic(path, b"one")
    write_atomic(path, b"two", mode=0o644)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]
    write_atomic(path, b"three")
    assert path.stat().st_mode & 0o777 == 0o600


def test_when_it_cannot_be_replaced_the_old_content_stands(tmp_path: Path) -> None:
    """The target is a folder: an error, the folder untouched, no leftovers."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").touch()
    with pytest.raises(OSError):
        write_atomic(tmp_path / "taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """Folders are not made in passing."""
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "no" / "file", b"x")
    with pytest.raises(FileNotFoundError):
        fsync_dir(tmp_path / "no")


def test_lines_are_appended(tmp_path: Path) -> None:
    """One after the other, private."""
    path = tmp_path / "log"
    append_durable(path, b"a")
    append_durable(path, b"")
    append_durable(path, b"b")
    assert path.read_bytes() == b"a\n\nb\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_torn_line_is_cut_off_by_the_next(tmp_path: Path) -> None:
    """A03: what a power cut left of a line takes no other line with it; the lines before it stand."""
    path = tmp_path / "log"
    for before, after in ((b"a\nb", b"a\nc\n"), (b"torn", b"c\n"), (b"a\n", b"a\nc\n")):
        path.write_bytes(before)
        append_durable(path, b"c")
        assert path.read_bytes() == after


def test_a_full_disk_is_an_error() -> None:
    """The kernel's own full device: the write is not passed over."""
    with pytest.raises(OSError, match="No space"):
        append_durable(Path("/dev/full"), b"x")


def test_reading_has_a_bound(tmp_path: Path) -> None:
    """As large as allowed is read, one byte more is refused and named."""
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(UsageError, match="larger than the 4 bytes") as caught:
        read_bounded(path, 4)
    assert caught.value.where == str(path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """Nobody may ever write into it: refused at once, as a device is that never ends."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UsageError, match="no regular file"):
            read_bounded(path, 4)
    with pytest.raises(IsADirectoryError):
        read_bounded(tmp_path, 4)
