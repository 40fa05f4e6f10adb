"""lab.json."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from tradeops.lab.errors import LabError
from tradeops.lab.state import SCHEMA, Fault, LabHost, LabState, StateFile


def _host(name: str) -> LabHost:
    return LabHost(name, "127.0.0.1", 22, 1, "", "/r", "/f", "root", "/usr/bin/python3", "systemd")


def _state(folder: Path) -> LabState:
    return LabState(SCHEMA, "abc123", "local", str(folder), "127.80.0.0/24", "", "127.80.0.254", (_host("host-1"), _host("host-2")))


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """All fields, 0600."""
    file = StateFile(tmp_path)
    assert not file.exists()
    file.create(_state(tmp_path))
    assert file.read() == _state(tmp_path)
    assert (tmp_path / "lab.json").stat().st_mode & 0o777 == 0o600
    file.remove()
    assert not file.exists()


def test_a_second_lab_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    """Its names would be lost."""
    StateFile(tmp_path).create(_state(tmp_path))
    with pytest.raises(LabError, match="already"):
        StateFile(tmp_path).create(_state(tmp_path))


def test_missing_broken_and_unknown_are_errors_that_say_so(tmp_path: Path) -> None:
    """No lab, not JSON, no such host."""
    with pytest.raises(LabError, match="no lab here"):
        StateFile(tmp_path).read()
    (tmp_path / "lab.json").write_text("{")
    with pytest.raises(LabError, match="cannot be read"):
        StateFile(tmp_path).read()
    with pytest.raises(LabError, match="no host 'host-9'"):
        _state(tmp_path).host("host-9")


def test_changes_from_many_sides_are_all_kept(tmp_path: Path) -> None:
    """Threads, and file objects of their own, as several processes would have."""
    StateFile(tmp_path).create(_state(tmp_path))

    def add(number: int) -> None:
        StateFile(tmp_path).update(lambda now: msgspec.structs.replace(now, faults=(*now.faults, Fault("host-1", f"f{number}"))))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    assert {fault.kind for fault in StateFile(tmp_path).read().faults} == {f"f{number}" for number in range(24)}


def test_one_host_is_replaced_by_name(tmp_path: Path) -> None:
    """The others stay."""
    changed = _state(tmp_path).with_host(msgspec.structs.replace(_host("host-2"), port=99))
    assert [host.port for host in changed.hosts] == [22, 99]
