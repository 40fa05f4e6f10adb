"""The two shared pages as bytes: a small parser of our own, held to contracts/pages.py by tests/contract."""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STOP_BYTES = 4096
STOP_MAGIC = b"TOSTOP01"
BEAT_AT = 24
LATCH_CLEARED_AT = 32
MAY_SEND = 0x5452_4144_454F_4B21
LATCH_AT = 64
TOKEN_AT = 80
ALL_BITS = 0xFFFF_FFFF_FFFF_FFFF
_WORD = struct.Struct("<Q")
_STOP_HEAD = struct.Struct("<8sQQQQQII")
_CRC = struct.Struct("<I")
_LATCH = struct.Struct("<QQ")
_TOKEN = struct.Struct("<QQ8s")

VITALS_BYTES = 131072
VITALS_MAGIC = b"TOVITA01"
_HEAD = struct.Struct("<8sQ")
_BUFFER_HEAD = struct.Struct("<QII")
_BUFFER_AT = (4096, 67584)
PAYLOAD_MAX = _BUFFER_AT[1] - _BUFFER_AT[0] - _BUFFER_HEAD.size
_RETRIES = 8


@dataclass(frozen=True)
class Latch:
    """The agent's word and the one that the guard has cleared. whole: the word and its inverse agree."""

    word: int
    cleared: int
    whole: bool

    def standing(self) -> bool:
        """Whether it halts the host."""
        return not self.whole or self.word != self.cleared


def read_latch(page: bytes) -> Latch | None:
    """The latch words of a stop page, None when it is not one."""
    if len(page) != STOP_BYTES or page[: len(STOP_MAGIC)] != STOP_MAGIC:
        return None
    (cleared,) = _WORD.unpack_from(page, LATCH_CLEARED_AT)
    word, inverse = _LATCH.unpack_from(page, LATCH_AT)
    return Latch(word, cleared, word ^ inverse == ALL_BITS)


def read_beat(path: Path) -> int | None:
    """The guard's last beat on a stop page, CLOCK_MONOTONIC; None when it is not one."""
    try:
        page = path.read_bytes()
    except OSError:
        return None
    if len(page) != STOP_BYTES or page[: len(STOP_MAGIC)] != STOP_MAGIC:
        return None
    return int(_WORD.unpack_from(page, BEAT_AT)[0])


def permits(path: Path, now_ns: int, silent_ns_max: int) -> bool:
    """Whether the page lets the host act now: whole, permitted, not latched, its guard heard of lately. Anything else: no."""
    try:
        page = path.read_bytes()
    except OSError:
        return False
    latch = read_latch(page)
    if latch is None or latch.standing() or _CRC.unpack_from(page, _STOP_HEAD.size)[0] != zlib.crc32(page[: _STOP_HEAD.size]):
        return False
    _, _, may_send, beat_ns, *_ = _STOP_HEAD.unpack_from(page)
    return bool(may_send == MAY_SEND and now_ns - beat_ns <= silent_ns_max)


def pack_latch(word: int) -> bytes:
    """The agent's words 64..80."""
    return _LATCH.pack(word, word ^ ALL_BITS)


def halted_page(beat_ns: int = 0) -> bytes:
    """A whole stop page that says no, as a new host has it; the guard writes its own words once it runs."""
    head = _STOP_HEAD.pack(STOP_MAGIC, 1, 0, beat_ns, 0, 0, 0, zlib.crc32(b""))
    words = (head + _CRC.pack(zlib.crc32(head))).ljust(LATCH_AT, b"\0") + pack_latch(0)
    token = _TOKEN.pack(1, 0, b"")
    return (words.ljust(TOKEN_AT, b"\0") + token + _CRC.pack(zlib.crc32(token))).ljust(STOP_BYTES, b"\0")


def parse_vitals(page: bytes) -> dict[str, Any] | None:
    """The newest whole vitals of a page, or None: missing, torn, foreign."""
    if len(page) != VITALS_BYTES:
        return None
    magic, sequence = _HEAD.unpack_from(page)
    if magic != VITALS_MAGIC:
        return None
    for candidate in (sequence, sequence - 1):
        payload = _payload(page, candidate)
        if payload is not None:
            return _object(payload)
    return None


def read_vitals(path: Path) -> dict[str, Any] | None:
    """The newest vitals in the file; None when it is missing or does not add up in a few tries."""
    for _ in range(_RETRIES):
        try:
            with path.open("rb") as file:
                page = file.read(VITALS_BYTES + 1)
        except OSError:
            return None
        if vitals := parse_vitals(page):
            return vitals
    return None


def write_vitals(path: Path, said: dict[str, Any]) -> None:
    """Put vitals into the page, made when it is not there: the older buffer first, then the sequence. Raises OSError."""
    payload = json.dumps(said).encode()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.ftruncate(fd, VITALS_BYTES)
        magic, sequence = _HEAD.unpack(os.pread(fd, _HEAD.size, 0))
        sequence = sequence + 1 if magic == VITALS_MAGIC else 1
        os.pwrite(fd, _BUFFER_HEAD.pack(sequence, len(payload), zlib.crc32(payload)) + payload, _BUFFER_AT[sequence % 2])
        os.pwrite(fd, _HEAD.pack(VITALS_MAGIC, sequence), 0)
    finally:
        os.close(fd)


def raise_latch(path: Path) -> int:
    """Set the latch word to one that the guard has not cleared, in place and durably; the new word. Raises OSError, ValueError."""
    for _ in range(_RETRIES):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            word = _raise(fd, path)
            if os.path.samestat(os.fstat(fd), path.stat()):
                return word
        finally:
            os.close(fd)
    raise ValueError(f"{path} is being replaced again and again")


def _raise(fd: int, path: Path) -> int:
    latch = read_latch(os.pread(fd, STOP_BYTES + 1, 0))
    if latch is None:
        raise ValueError(f"{path} is not a stop page")
    word = max(latch.word if latch.whole else 0, latch.cleared) + 1
    os.pwrite(fd, pack_latch(word), LATCH_AT)
    os.fsync(fd)
    return word


def _payload(page: bytes, sequence: int) -> bytes | None:
    if sequence < 1:
        return None
    at = _BUFFER_AT[sequence % 2]
    written, length, crc = _BUFFER_HEAD.unpack_from(page, at)
    payload = page[at + _BUFFER_HEAD.size : at + _BUFFER_HEAD.size + length]
    whole = written == sequence and length <= PAYLOAD_MAX and zlib.crc32(payload) == crc
    return payload if whole else None


def _object(payload: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
