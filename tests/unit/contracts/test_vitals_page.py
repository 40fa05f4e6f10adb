"""The vitals page: a reader gets whole vitals or none."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeops.contracts.identity import Identity
from tradeops.contracts.pages import VITALS_BYTES, VITALS_PAYLOAD_MAX, VitalsWriter, parse_vitals, read_vitals
from tradeops.contracts.status import Vitals


def vitals(beat_ns: int = 1, warnings: tuple[str, ...] = ()) -> Vitals:
    """Some vitals."""
    identity = Identity("svc", "sha256:a", "sha256:b", 0, "blue", 10, 20, 30)
    return Vitals(identity, beat_ns, "ready", 1, 0, 0, 0, {}, {}, {}, {}, {}, {}, {}, warnings)


def golden(*beats: int) -> bytes:
    """A page packed by hand with vitals of sequence 1, 2, … in turn."""
    page = bytearray(VITALS_BYTES)
    for sequence, beat in enumerate(beats, 1):
        payload = msgspec.json.encode(vitals(beat))
        at = (4096, 67584)[sequence % 2]
        page[at : at + 16 + len(payload)] = struct.pack("<QII", sequence, len(payload), zlib.crc32(payload)) + payload
    page[0:16] = b"TOVITA01" + struct.pack("<Q", len(beats))
    return bytes(page)


def test_golden_bytes(tmp_path: Path) -> None:
    """The writer makes what the docstring says, byte for byte."""
    writer = VitalsWriter(tmp_path / "v")
    writer.write(vitals(100))
    writer.write(vitals(200))
    assert (tmp_path / "v").read_bytes() == golden(100, 200)
    assert read_vitals(tmp_path / "v") == vitals(200)


def test_nothing_written_is_nothing_read(tmp_path: Path) -> None:
    """Missing, empty, just made, a folder."""
    assert read_vitals(tmp_path / "v") is None
    VitalsWriter(tmp_path / "v")
    assert read_vitals(tmp_path / "v") is None
    assert read_vitals(tmp_path) is None
    (tmp_path / "empty").touch()
    assert read_vitals(tmp_path / "empty") is None


def test_a_restarted_writer_hides_the_vitals_of_the_process_before(tmp_path: Path) -> None:
    """What a dead process said is not taken for the new one's."""
    VitalsWriter(tmp_path / "v").write(vitals(1))
    VitalsWriter(tmp_path / "v")
    assert read_vitals(tmp_path / "v") is None


def test_a_writer_that_died_half_way_leaves_the_last_whole_vitals() -> None:
    """The newest buffer is torn: the one before is read."""
    page = bytearray(golden(100, 200))
    page[4096 + 40] ^= 1
    assert parse_vitals(bytes(page)) == vitals(100)
    page[67584 + 40] ^= 1
    assert parse_vitals(bytes(page)) is None


@given(at=st.integers(0, VITALS_BYTES - 1), data=st.binary(min_size=1, max_size=80))
def test_overwritten_anywhere_it_is_whole_or_none(at: int, data: bytes) -> None:
    """No damage makes vitals that nobody wrote."""
    page = golden(100, 200)
    damaged = (page[:at] + data + page[at + len(data) :])[:VITALS_BYTES]
    assert parse_vitals(damaged) in (vitals(100), vitals(200), None)


@given(st.binary(max_size=300))
def test_foreign_bytes_are_none(data: bytes) -> None:
    """Of any length; also behind the right magic."""
    assert parse_vitals(data) is None
    assert parse_vitals((b"TOVITA01" + data).ljust(VITALS_BYTES, b"\0")[:VITALS_BYTES]) is None


def test_a_whole_buffer_of_something_else_is_none() -> None:
    """The checksum holds and yet it is not vitals."""
    payload = b'{"identity": 5}'
    page = bytearray(VITALS_BYTES)
    page[0:16] = b"TOVITA01" + struct.pack("<Q", 1)
    page[67584 : 67584 + 16 + len(payload)] = struct.pack("<QII", 1, len(payload), zlib.crc32(payload)) + payload
    assert parse_vitals(bytes(page)) is None


def test_vitals_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """And the last ones stay readable."""
    writer = VitalsWriter(tmp_path / "v")
    writer.write(vitals(1))
    with pytest.raises(ValueError, match="fit"):
        writer.write(vitals(2, warnings=("x" * VITALS_PAYLOAD_MAX,)))
    assert read_vitals(tmp_path / "v") == vitals(1)
