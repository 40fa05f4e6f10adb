"""Byte layouts of the two shared pages of a host. Little-endian; a reader never trusts what does not add up.

Stop page (4,096 bytes, written in place, never renamed or truncated):
    0   8s  magic `TOSTOP01`
    8   Q   epoch: rises with every change of the words below
    16  Q   may_send: MAY_SEND or anything else; anything else is halted
    24  Q   beat_ns: the guard's CLOCK_MONOTONIC
    32  Q   latch_cleared: the latch word that the guard has acted on and a permit has ended
    40  Q   scope_generation
    48  I   length, I crc32 of the JSON at 128
    56  I   crc32 of bytes 0..56
    64  Q   latch: written by the agent alone; differs from latch_cleared = halted
    72  Q   the same with all bits turned; any other value = halted
    80  Q   the epoch once more: the words 80..108 belong to the words above
    88  Q   number of the activation token
    96  8s  the slot that holds it, padded with zeros; empty = none: no process of this host may send
    104 I   crc32 of bytes 80..104
    128 ..  what narrows the trading, JSON of Narrowing; nothing when nothing does
The guard alone writes 0..64, 80..108 and 128.., the agent alone 64..80: no word has two writers.

Vitals page (131,072 bytes): two buffers, each header + JSON of contracts.status.Vitals.
    0   8s  magic `TOVITA01`
    8   Q   sequence: the newest whole buffer is sequence % 2
    buffers at 4,096 and 67,584 (4,096 + 63,488): Q sequence, I length, I crc32 of the payload, payload
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tradeops.contracts.codec import parse
from tradeops.contracts.directive import Scope
from tradeops.contracts.status import Vitals

STOP_BYTES: Final = 4096
STOP_MAGIC: Final = b"TOSTOP01"
MAY_SEND: Final = 0x5452_4144_454F_4B21
_STOP_HEAD: Final = struct.Struct("<8sQQQQQII")
_CRC: Final = struct.Struct("<I")
_LATCH: Final = struct.Struct("<QQ")
_LATCH_AT: Final = 64
_TOKEN: Final = struct.Struct("<QQ8s")
_TOKEN_AT: Final = 80
_NARROWING_AT: Final = 128
NARROWING_BYTES_MAX: Final = STOP_BYTES - _NARROWING_AT
_ALL_BITS: Final = 0xFFFF_FFFF_FFFF_FFFF

VITALS_BYTES: Final = 131072
VITALS_MAGIC: Final = b"TOVITA01"
_VITALS_HEAD: Final = struct.Struct("<8sQ")
_BUFFER_HEAD: Final = struct.Struct("<QII")
_BUFFER_AT: Final = (4096, 67584)
VITALS_PAYLOAD_MAX: Final = _BUFFER_AT[1] - _BUFFER_AT[0] - _BUFFER_HEAD.size
_RETRIES: Final = 8


class Narrowing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Trading, but not all of it. scopes: subsets blocked.  flow_cap_ppm: share of signals that a run lets the host take.

    keep_orders: no slot holds the token, and what works is left to the one that is given it.

    A gate that does not know a field cannot obey it: the page does not add up for it, and it is halted.
    """

    scopes: tuple[Scope, ...] = ()
    flow_cap_ppm: int | None = None
    keep_orders: bool = False

    def pack(self) -> bytes:
        """The bytes at 128."""
        return b"" if self == UNNARROWED else msgspec.json.encode(self)


UNNARROWED: Final = Narrowing()


class Token(NamedTuple):
    """The activation token: its number, which only rises, and the slot that holds it; empty: none does."""

    number: int
    slot: str


NOBODY: Final = Token(0, "")


@dataclass(frozen=True)
class StopWords:
    """A stop page as read. `latched`: the agent's latch stands."""

    epoch: int
    may_send: bool
    beat_ns: int
    latch_cleared: int
    scope_generation: int
    narrowing: Narrowing
    latch: int
    latched: bool
    token: Token


def pack_stop(*, epoch: int, may_send: bool, beat_ns: int, latch_cleared: int, scope_generation: int, narrowing: bytes) -> bytes:
    """The guard's words 0..60, for `narrowing` as the JSON at 128."""
    head = _STOP_HEAD.pack(
        STOP_MAGIC, epoch, MAY_SEND if may_send else 0, beat_ns, latch_cleared, scope_generation, len(narrowing), zlib.crc32(narrowing)
    )
    return head + _CRC.pack(zlib.crc32(head))


def pack_token(token: Token, *, epoch: int) -> bytes:
    """The guard's words 80..108, as they go with the words of `epoch`."""
    words = _TOKEN.pack(epoch, token.number, token.slot.encode())
    return words + _CRC.pack(zlib.crc32(words))


def _parse_token(page: bytes, epoch: int) -> Token | None:
    words = page[_TOKEN_AT : _TOKEN_AT + _TOKEN.size]
    (crc,) = _CRC.unpack_from(page, _TOKEN_AT + _TOKEN.size)
    written, number, slot = _TOKEN.unpack(words)
    if crc != zlib.crc32(words) or written != epoch:
        return None
    return Token(number, slot.rstrip(b"\0").decode(errors="replace"))


def pack_latch(latch: int) -> bytes:
    """The agent's words 64..80."""
    return _LATCH.pack(latch, latch ^ _ALL_BITS)


def parse_stop(page: bytes) -> StopWords | None:
    """The words of a whole page, or None when they do not add up: then nothing may be sent."""
    if len(page) != STOP_BYTES:
        return None
    head = page[: _STOP_HEAD.size]
    magic, epoch, may_send, beat_ns, cleared, generation, length, narrowing_crc = _STOP_HEAD.unpack(head)
    (crc,) = _CRC.unpack_from(page, _STOP_HEAD.size)
    latch, inverse = _LATCH.unpack_from(page, _LATCH_AT)
    if magic != STOP_MAGIC or crc != zlib.crc32(head) or length > NARROWING_BYTES_MAX or latch ^ inverse != _ALL_BITS:
        return None
    token = _parse_token(page, epoch)
    if token is None:
        return None
    body = page[_NARROWING_AT : _NARROWING_AT + length]
    if zlib.crc32(body) != narrowing_crc:
        return None
    try:
        narrowing = parse(body, Narrowing) if length else UNNARROWED
    except msgspec.DecodeError:
        return None
    return StopWords(epoch, may_send == MAY_SEND, beat_ns, cleared, generation, narrowing, latch, latch != cleared, token)


class StopPage:
    """An open stop page. The trader maps it read-only; the guard writes and reads through the file, never through a
    mapping: a mapping of a file that somebody truncates kills its user (SIGBUS), and the guard must outlive that.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        """Raises OSError, ValueError (missing, wrong size)."""
        fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            stat = os.fstat(fd)
            if stat.st_size != STOP_BYTES:
                raise ValueError(f"{path}: {stat.st_size} bytes, not {STOP_BYTES}")
            self._map = None if writable else mmap.mmap(fd, STOP_BYTES, access=mmap.ACCESS_READ)
        except BaseException:
            os.close(fd)
            raise
        self._fd: int | None = fd if writable else None
        if not writable:
            os.close(fd)
        self._path = path
        self._inode = (stat.st_dev, stat.st_ino)

    @staticmethod
    def create(path: Path) -> None:
        """A halted page of the right size. Raises OSError; FileExistsError when there is one."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(fd, _halted(epoch=1, latch=0, token=NOBODY))
            os.fsync(fd)
        finally:
            os.close(fd)

    def same_file(self) -> bool:
        """Whether the name still leads to the mapped file at its full size: a mapping outlives its name."""
        try:
            stat = self._path.stat(follow_symlinks=False)
        except OSError:
            return False
        return (stat.st_dev, stat.st_ino) == self._inode and stat.st_size == STOP_BYTES

    def read(self) -> StopWords | None:
        """The words now; None when they do not add up in a few tries."""
        for _ in range(_RETRIES):
            if words := parse_stop(self._page()):
                return words
        return None

    def _page(self) -> bytes:
        if self._map is not None:
            return self._map[:]
        return os.pread(self._writable_fd(), STOP_BYTES, 0)

    def _writable_fd(self) -> int:
        if self._fd is None:
            raise ValueError("the page is closed or was opened to read")
        return self._fd

    def write(
        self,
        *,
        epoch: int,
        may_send: bool,
        beat_ns: int,
        latch_cleared: int,
        scope_generation: int,
        narrowing: Narrowing,
        token: Token,
        durable: bool,
    ) -> None:
        """Set the guard's words; `durable` waits for the disk (every change of meaning; not for a mere beat).

        The token first: whoever reads a new epoch reads its token too, or nothing that adds up.
        Raises OSError; ValueError when the narrowing does not fit.
        """
        body = narrowing.pack()
        if len(body) > NARROWING_BYTES_MAX:
            raise ValueError(f"the narrowing takes {len(body)} bytes, {NARROWING_BYTES_MAX} fit")
        fd = self._writable_fd()
        if body:
            os.pwrite(fd, body, _NARROWING_AT)
        os.pwrite(fd, pack_token(token, epoch=epoch), _TOKEN_AT)
        head = pack_stop(
            epoch=epoch,
            may_send=may_send,
            beat_ns=beat_ns,
            latch_cleared=latch_cleared,
            scope_generation=scope_generation,
            narrowing=body,
        )
        os.pwrite(fd, head, 0)
        if durable:
            self.sync()

    def sync(self) -> None:
        """Wait until what was written is on the disk. Raises OSError."""
        os.fsync(self._writable_fd())

    def mend(self, *, epoch: int, latch: int, token: Token) -> None:
        """Whole again after damage, halted: the one time the guard writes the agent's word, as last seen. Raises OSError."""
        os.pwrite(self._writable_fd(), _halted(epoch=epoch, latch=latch, token=token), 0)
        self.sync()

    def close(self) -> None:
        """Drop the mapping or the file."""
        if self._map is not None:
            self._map.close()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _halted(*, epoch: int, latch: int, token: Token) -> bytes:
    """A whole page that says no; the latch is cleared."""
    head = pack_stop(epoch=epoch, may_send=False, beat_ns=0, latch_cleared=latch, scope_generation=0, narrowing=b"")
    words = (head.ljust(_LATCH_AT, b"\0") + pack_latch(latch)).ljust(_TOKEN_AT, b"\0") + pack_token(token, epoch=epoch)
    return words.ljust(STOP_BYTES, b"\0")


class VitalsWriter:
    """The trader's side: writes the buffer that is not being read, then turns the sequence."""

    def __init__(self, path: Path) -> None:
        """Creates or reuses the file. Raises OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.ftruncate(fd, VITALS_BYTES)
            self._map = mmap.mmap(fd, VITALS_BYTES)
        finally:
            os.close(fd)
        self._sequence = 0
        self._map[: _VITALS_HEAD.size] = _VITALS_HEAD.pack(VITALS_MAGIC, 0)
        for at in _BUFFER_AT:
            self._map[at : at + _BUFFER_HEAD.size] = bytes(_BUFFER_HEAD.size)

    def write(self, vitals: Vitals) -> None:
        """Publish. Raises ValueError when it does not fit."""
        payload = msgspec.json.encode(vitals)
        if len(payload) > VITALS_PAYLOAD_MAX:
            raise ValueError(f"vitals take {len(payload)} bytes, {VITALS_PAYLOAD_MAX} fit")
        self._sequence += 1
        at = _BUFFER_AT[self._sequence % 2]
        head = _BUFFER_HEAD.pack(self._sequence, len(payload), zlib.crc32(payload))
        self._map[at : at + len(head) + len(payload)] = head + payload
        self._map[: _VITALS_HEAD.size] = _VITALS_HEAD.pack(VITALS_MAGIC, self._sequence)


def parse_vitals(page: bytes) -> Vitals | None:
    """The newest whole vitals of a page, or None: missing, torn, foreign."""
    if len(page) != VITALS_BYTES:
        return None
    magic, sequence = _VITALS_HEAD.unpack_from(page)
    if magic != VITALS_MAGIC:
        return None
    for candidate in (sequence, sequence - 1):
        payload = _buffer(page, candidate)
        if payload is not None:
            try:
                return parse(payload, Vitals)
            except msgspec.DecodeError:
                return None
    return None


def _buffer(page: bytes, sequence: int) -> bytes | None:
    if sequence < 1:
        return None
    at = _BUFFER_AT[sequence % 2]
    written, length, crc = _BUFFER_HEAD.unpack_from(page, at)
    payload = page[at + _BUFFER_HEAD.size : at + _BUFFER_HEAD.size + length]
    whole = written == sequence and length <= VITALS_PAYLOAD_MAX and zlib.crc32(payload) == crc
    return payload if whole else None


def read_vitals(path: Path) -> Vitals | None:
    """The newest vitals in the file; None when it is missing or does not add up. A read each time: the file may be replaced."""
    for _ in range(_RETRIES):
        try:
            page = path.read_bytes()
        except OSError:
            return None
        if vitals := parse_vitals(page):
            return vitals
    return None
