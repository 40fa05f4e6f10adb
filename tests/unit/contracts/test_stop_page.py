"""The stop page: what does not add up never reads as `may send`."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeops.contracts.directive import Scope
from tradeops.contracts.pages import (
    MAY_SEND,
    NARROWING_BYTES_MAX,
    NOBODY,
    STOP_BYTES,
    Narrowing,
    StopPage,
    Token,
    pack_latch,
    pack_stop,
    pack_token,
    parse_stop,
)

NARROWED = b'{"scopes":[{"venues":["X"],"symbols":[],"strategies":[]}],"flow_cap_ppm":10000}'
ALL_BITS = (1 << 64) - 1


BLUE, GREEN = Token(6, "blue"), Token(7, "green")


def page(
    *,
    may_send: bool = True,
    epoch: int = 5,
    beat_ns: int = 77,
    latch: int = 2,
    cleared: int = 2,
    narrowed: bytes = NARROWED,
    token: Token = BLUE,
) -> bytes:
    """A whole page."""
    head = pack_stop(epoch=epoch, may_send=may_send, beat_ns=beat_ns, latch_cleared=cleared, scope_generation=3, narrowing=narrowed)
    words = head.ljust(64, b"\0") + pack_latch(latch) + pack_token(token, epoch=epoch)
    return words.ljust(128, b"\0") + narrowed.ljust(STOP_BYTES - 128, b"\0")


def may_send(data: bytes) -> bool:
    """What a gate makes of it, age aside."""
    words = parse_stop(data)
    return words is not None and words.may_send and not words.latched


def test_golden_bytes() -> None:
    """The layout of the docstring, packed by hand."""
    hand = bytearray(STOP_BYTES)
    hand[0:8] = b"TOSTOP01"
    hand[8:48] = struct.pack("<QQQQQ", 5, 0x54524144454F4B21, 77, 2, 3)
    hand[48:56] = struct.pack("<II", len(NARROWED), zlib.crc32(NARROWED))
    hand[56:60] = struct.pack("<I", zlib.crc32(bytes(hand[0:56])))
    hand[64:80] = struct.pack("<QQ", 2, ALL_BITS - 2)
    hand[80:104] = struct.pack("<QQ8s", 5, 6, b"blue")
    hand[104:108] = struct.pack("<I", zlib.crc32(bytes(hand[80:104])))
    hand[128 : 128 + len(NARROWED)] = NARROWED
    assert page() == bytes(hand)
    words = parse_stop(bytes(hand))
    assert words is not None
    assert (words.epoch, words.may_send, words.beat_ns, words.latch_cleared, words.scope_generation) == (5, True, 77, 2, 3)
    assert (words.latch, words.latched, words.narrowing) == (2, False, Narrowing((Scope(venues=("X",)),), 10_000))
    assert words.token == BLUE


@given(st.binary(max_size=STOP_BYTES + 8))
def test_foreign_bytes_never_say_may_send(data: bytes) -> None:
    """K06: whatever lies in the file."""
    assert not may_send(data)
    assert not may_send(data.ljust(STOP_BYTES, b"\0"))
    assert not may_send(data.ljust(STOP_BYTES, b"\xff"))


@given(at=st.integers(0, 127 + len(NARROWED)), flip=st.integers(1, 255))
def test_a_changed_byte_never_turns_halted_into_may_send(at: int, flip: int) -> None:
    """K06: one byte of a halted page changed, in any place, is still halted."""
    for halted in (page(may_send=False), page(latch=3)):
        changed = bytearray(halted)
        changed[at] ^= flip
        assert not may_send(bytes(changed))


@given(at=st.integers(0, 107), flip=st.integers(1, 255))
def test_a_damaged_page_does_not_say_may_send(at: int, flip: int) -> None:
    """K06: one changed byte among the words of a page that said yes: it no longer does (60..64 holds nothing)."""
    changed = bytearray(page())
    changed[at] ^= flip
    assert may_send(bytes(changed)) == (60 <= at < 64)


@given(cut=st.integers(0, STOP_BYTES - 1))
def test_a_truncated_page_does_not_say_may_send(cut: int) -> None:
    """K06: also when the missing part reads as zeros."""
    assert not may_send(page()[:cut])
    assert not may_send(page()[: min(cut, 107)].ljust(STOP_BYTES, b"\0"))


@given(cut=st.integers(0, 60), epoch=st.integers(6, 2**63), beat=st.integers(0, 2**63))
def test_a_torn_write_shows_the_old_or_the_new_words_or_none(cut: int, epoch: int, beat: int) -> None:
    """Half of the new words over the old: never a mixture, and a halt torn in the middle never says may send."""
    old, new = page(), page(may_send=False, epoch=epoch, beat_ns=beat)
    torn = new[:cut] + old[cut:80] + new[80:]
    assert parse_stop(torn) in (parse_stop(old), parse_stop(new), None)
    assert not may_send(torn) or torn == old


@given(head=st.integers(0, 60), token=st.integers(80, 108))
def test_a_token_that_is_being_handed_over_is_the_old_one_the_new_one_or_none(head: int, token: int) -> None:
    """O09: whatever part of either write a reader sees, an epoch comes with its own token and with no other."""
    old, new = page(), page(epoch=9, token=GREEN)
    torn = new[:head] + old[head:80] + new[80:token] + old[token:]
    words = parse_stop(torn)
    assert words is None or (words.epoch, words.token) in ((5, BLUE), (9, GREEN))


def test_a_narrowing_that_does_not_add_up_halts() -> None:
    """Other bytes than were counted, and bytes that are counted and yet mean nothing to this reader: it could not obey them."""
    data = bytearray(page())
    data[130] ^= 1
    assert parse_stop(bytes(data)) is None
    assert parse_stop(page(narrowed=b"not json")) is None
    assert parse_stop(page(narrowed=b'{"scopes":1}')) is None
    assert parse_stop(page(narrowed=b'{"flow_cap_ppm":"all"}')) is None
    assert parse_stop(page(narrowed=b'{"desks":["d1"]}')) is None


def test_a_new_page_is_halted(tmp_path: Path) -> None:
    """K06: a host begins without permission; a page is never made over another."""
    path = tmp_path / "stop.page"
    StopPage.create(path)
    reader = StopPage(path, writable=False)
    words = reader.read()
    assert words is not None
    assert (words.may_send, words.latched, words.token, path.stat().st_size) == (False, False, NOBODY, STOP_BYTES)
    with pytest.raises(FileExistsError):
        StopPage.create(path)
    reader.close()


def test_what_the_guard_writes_the_trader_reads(tmp_path: Path) -> None:
    """In place, through another opening of the same file, and back to halted."""
    path = tmp_path / "stop.page"
    StopPage.create(path)
    guard, trader = StopPage(path, writable=True), StopPage(path, writable=False)
    scopes = (Scope(symbols=("AAA",)), Scope(strategies=("s1",), venues=("X",)))
    for said, narrowing in ((True, Narrowing(scopes)), (True, Narrowing((), 50_000)), (True, Narrowing()), (False, Narrowing(scopes, 0))):
        guard.write(epoch=9, may_send=said, beat_ns=1, latch_cleared=0, scope_generation=4, narrowing=narrowing, token=GREEN, durable=said)
        words = trader.read()
        assert words is not None
        assert (words.epoch, words.may_send, words.narrowing) == (9, said, narrowing)
    guard.close()
    trader.close()


def test_the_guards_writes_leave_the_agents_word(tmp_path: Path) -> None:
    """K04: a kill that came over SSH stands while the guard goes on writing."""
    path = tmp_path / "stop.page"
    StopPage.create(path)
    with path.open("r+b") as agent:
        agent.seek(64)
        agent.write(pack_latch(1))
    guard = StopPage(path, writable=True)
    guard.write(epoch=2, may_send=True, beat_ns=1, latch_cleared=0, scope_generation=0, narrowing=Narrowing(), token=BLUE, durable=True)
    words = guard.read()
    assert words is not None
    assert words.may_send
    assert words.latched
    guard.close()


def test_damage_is_seen_and_mended_to_halted(tmp_path: Path) -> None:
    """K06: overwritten with rubbish: unreadable; mended: whole, halted, the latch as last seen."""
    path = tmp_path / "stop.page"
    StopPage.create(path)
    guard = StopPage(path, writable=True)
    with path.open("r+b") as hand:
        hand.write(b"x" * 200)
    assert guard.read() is None
    guard.mend(epoch=8, latch=3, token=GREEN)
    words = guard.read()
    assert words is not None
    assert (words.epoch, words.may_send, words.latch, words.latched, words.token) == (8, False, 3, False, GREEN)
    guard.close()


def test_a_name_that_leads_elsewhere_is_noticed(tmp_path: Path) -> None:
    """K06: deleted, replaced, truncated: a mapping would outlive each of them."""
    path = tmp_path / "stop.page"
    StopPage.create(path)
    opened = StopPage(path, writable=True)
    assert opened.same_file()
    path.unlink()
    assert not opened.same_file()
    StopPage.create(path)
    assert not opened.same_file()
    opened.close()
    again = StopPage(path, writable=True)
    with path.open("r+b") as hand:
        hand.truncate(100)
    assert not again.same_file()
    assert again.read() is None
    again.close()


def test_what_is_no_page_is_not_opened(tmp_path: Path) -> None:
    """Missing, wrong size, a link to somewhere else."""
    path = tmp_path / "stop.page"
    with pytest.raises(FileNotFoundError):
        StopPage(path, writable=False)
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="5 bytes"):
        StopPage(path, writable=True)
    StopPage.create(tmp_path / "other")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        StopPage(tmp_path / "link", writable=False)


def test_a_closed_or_read_only_page_is_not_written(tmp_path: Path) -> None:
    """A mistake in the caller is told at once."""
    path = tmp_path / "stop.page"
    StopPage.create(path)
    guard, trader = StopPage(path, writable=True), StopPage(path, writable=False)
    guard.close()
    guard.close()
    for opened in (guard, trader):
        with pytest.raises(ValueError, match="closed or was opened to read"):
            opened.sync()


def test_a_narrowing_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """The page keeps its old words."""
    path = tmp_path / "stop.page"
    StopPage.create(path)
    guard = StopPage(path, writable=True)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="fit"):
        guard.write(
            epoch=2,
            may_send=True,
            beat_ns=0,
            latch_cleared=0,
            scope_generation=1,
            narrowing=Narrowing((Scope(symbols=("A" * NARROWING_BYTES_MAX,)),)),
            token=BLUE,
            durable=True,
        )
    assert path.read_bytes() == before
    guard.close()


def test_may_send_is_one_magic_value() -> None:
    """Zero and one are halted."""
    assert int.from_bytes(b"TRADEOK!", "big") == MAY_SEND
    for value in (0, 1, MAY_SEND + 1, ALL_BITS):
        data = bytearray(page())
        data[16:24] = struct.pack("<Q", value)
        data[56:60] = struct.pack("<I", zlib.crc32(bytes(data[:56])))
        assert not may_send(bytes(data))
