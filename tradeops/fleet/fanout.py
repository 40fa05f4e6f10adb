"""Doing something on many hosts side by side: with threads, or in turn on a clock that is a value."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tradeops.base.clock import NS_PER_MS, NS_PER_S, Clock, VirtualClock
from tradeops.base.errors import OutcomeUnknown, TradeopsError
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Failed, Outcome, Unknown

T = TypeVar("T")
CONCURRENCY = 64


class _Bug:
    """An exception that is no TradeopsError: raised again after all have ended."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _late(host: Host, deadline_s: float) -> Unknown:
    return Unknown(OutcomeUnknown(f"no answer within {deadline_s:g} s", where=host.name), deadline_s * 1000)


def _attempt(host: Host, act: Callable[[Host], T], clock: Clock) -> Outcome[T] | _Bug:
    began_ns = clock.monotonic_ns()
    try:
        value = act(host)
    except OutcomeUnknown as error:
        return Unknown(error, (clock.monotonic_ns() - began_ns) / NS_PER_MS)
    except TradeopsError as error:
        return Failed(error, (clock.monotonic_ns() - began_ns) / NS_PER_MS)
    except BaseException as error:  # noqa: BLE001  # carried over to the caller's thread and raised there
        return _Bug(error)
    return Done(value, (clock.monotonic_ns() - began_ns) / NS_PER_MS)


class ThreadFanOut:
    """A thread per host at work; they die with the process, so that a host that hangs for ever keeps nobody."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def run(
        self, hosts: Sequence[Host], act: Callable[[Host], T], *, deadline_s: float, concurrency: int | None = None
    ) -> dict[str, Outcome[T]]:
        """See fleet.ports.FanOut. deadline_s counts per host, from when its turn comes."""
        answers: queue.SimpleQueue[tuple[Host, Outcome[T] | _Bug]] = queue.SimpleQueue()
        waiting = deque(hosts)
        began_ns: dict[Host, int] = {}
        outcomes: dict[str, Outcome[T] | _Bug] = {}
        while waiting or began_ns:
            while waiting and len(began_ns) < (concurrency or CONCURRENCY):
                host = waiting.popleft()
                began_ns[host] = self._clock.monotonic_ns()
                self._start(host, act, answers)
            try:
                host, outcome = answers.get(timeout=self._left_s(began_ns, deadline_s))
            except queue.Empty:
                late = [host for host, since_ns in began_ns.items() if self._clock.monotonic_ns() - since_ns >= deadline_s * NS_PER_S]
                for host in late:
                    del began_ns[host]
                    outcomes[host.name] = _late(host, deadline_s)
                continue
            if began_ns.pop(host, None) is not None:
                outcomes[host.name] = outcome
        return _checked(hosts, outcomes)

    def _start(self, host: Host, act: Callable[[Host], T], answers: queue.SimpleQueue[tuple[Host, Outcome[T] | _Bug]]) -> None:
        clock = self._clock
        threading.Thread(target=lambda: answers.put((host, _attempt(host, act, clock))), name=f"host-{host.name}", daemon=True).start()

    def _left_s(self, began_ns: Mapping[Host, int], deadline_s: float) -> float:
        """Seconds until the first host at work is late."""
        return max(0.0, deadline_s - (self._clock.monotonic_ns() - min(began_ns.values())) / NS_PER_S)


class SequentialFanOut:
    """One host after the other, each from the same start; then the clock stands where the slowest ended."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def run(
        self, hosts: Sequence[Host], act: Callable[[Host], T], *, deadline_s: float, concurrency: int | None = None
    ) -> dict[str, Outcome[T]]:
        """See fleet.ports.FanOut. concurrency is of no account here."""
        start_ns = self._clock.monotonic_ns()
        end_ns = start_ns
        outcomes: dict[str, Outcome[T] | _Bug] = {}
        for host in hosts:
            self._clock.rewind_to_ns(start_ns)
            outcome = _attempt(host, act, self._clock)
            late = self._clock.monotonic_ns() - start_ns > deadline_s * NS_PER_S
            outcomes[host.name] = _late(host, deadline_s) if late and not isinstance(outcome, _Bug) else outcome
            end_ns = max(end_ns, min(self._clock.monotonic_ns(), start_ns + int(deadline_s * NS_PER_S)))
        self._clock.rewind_to_ns(end_ns)
        return _checked(hosts, outcomes)


def _checked(hosts: Sequence[Host], outcomes: Mapping[str, Outcome[T] | _Bug]) -> dict[str, Outcome[T]]:
    """The outcomes in the order of `hosts`; the first bug is raised."""
    checked: dict[str, Outcome[T]] = {}
    for host in hosts:
        outcome = outcomes[host.name]
        if isinstance(outcome, _Bug):
            raise outcome.error
        checked[host.name] = outcome
    return checked
