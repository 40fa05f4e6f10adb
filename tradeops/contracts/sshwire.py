"""The SSH wire format (RFC 4251 §5) as far as keys and signatures need it: strict, bounded, one spelling per value."""

from __future__ import annotations

import struct

from tradeops.base.errors import SignatureInvalid

_LENGTH = struct.Struct(">I")


def pack_string(data: bytes) -> bytes:
    """`data` behind its length."""
    return _LENGTH.pack(len(data)) + data


def pack_mpint(number: int) -> bytes:
    """A whole number, not negative, in its shortest form."""
    return pack_string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")


class WireReader:
    """Reads fields one after the other. Every method raises SignatureInvalid at a short or odd field."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > len(self._data) - self._at:
            raise SignatureInvalid("the key or signature is cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def uint32(self) -> int:
        """A 32-bit number."""
        return int(_LENGTH.unpack(self.take(_LENGTH.size))[0])

    def string(self) -> bytes:
        """Bytes behind their length."""
        return self.take(self.uint32())

    def mpint(self, bits_max: int) -> int:
        """A positive number of at most `bits_max` bits, in its shortest form."""
        data = self.string()
        number = int.from_bytes(data, "big")
        if number == 0 or number.bit_length() > bits_max or pack_string(data) != pack_mpint(number):
            raise SignatureInvalid("a number in the key or signature is out of bounds or oddly written")
        return number

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._data):
            raise SignatureInvalid("bytes follow the end of the key or signature")
