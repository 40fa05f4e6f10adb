"""Numbered messages in order, each once: gaps are noticed, asked for again and filled. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

M = TypeVar("M")


class Inbound(Generic[M]):
    """What has come in. last: the highest number up to which nothing is missing; asked: up to which it was asked for again."""

    def __init__(self, last: int, *, held_max: int = 100_000) -> None:
        self.last = last
        self._held: dict[int, M] = {}
        self._held_max = held_max
        self.asked = last

    def accept(self, seq: int, message: M) -> list[M]:
        """The messages that are now in order. Raises OverflowError when too many wait behind a gap."""
        if seq <= self.last or seq in self._held:
            return []
        self._held[seq] = message
        if len(self._held) > self._held_max:
            raise OverflowError(f"{len(self._held)} messages wait for number {self.last + 1}")
        ready: list[M] = []
        while (following := self._held.pop(self.last + 1, None)) is not None:
            self.last += 1
            ready.append(following)
        return ready

    def missing(self, up_to: int) -> tuple[int, int] | None:
        """The numbers to ask for, first and last, given that the other side has reached `up_to`; each is asked for once."""
        highest = max(up_to, max(self._held, default=0))
        first = max(self.last, self.asked) + 1
        while first in self._held:
            first += 1
        last = highest
        while last in self._held:
            last -= 1
        if first > last:
            return None
        self.asked = last
        return first, last

    @property
    def waiting(self) -> int:
        """How many messages wait behind a gap."""
        return len(self._held)
