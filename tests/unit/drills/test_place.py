"""A story's folder: in memory where there is room, else where temporary files lie."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tradeops.drills.place import new_folder


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files lie."""
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "disk"))
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def test_it_lies_in_memory_where_there_is_room(disk: Path, tmp_path: Path) -> None:
    """A new one each time."""
    (tmp_path / "memory").mkdir()
    one, other = (new_folder("demo", tmp_path / "memory", room_bytes=1) for _ in range(2))
    assert one != other and one.parent == other.parent == tmp_path / "memory"
    assert one.name.startswith("tradeops-demo-")


@pytest.mark.parametrize("why", ["none", "short", "asked"])
def test_else_on_disk(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """No such memory, too little of it, or somebody chose another place."""
    if why == "asked":
        monkeypatch.setenv("TMPDIR", str(disk))
    memory = tmp_path / ("nowhere" if why == "none" else ".")
    assert new_folder("demo", memory, room_bytes=1 << 60 if why == "short" else 1).parent == disk
