"""One act on many hosts: threads for the real thing, one after the other on a virtual clock for simulation."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TypeVar

from tradeops.base.clock import NS_PER_MS, NS_PER_S, Clock, VirtualClock
from tradeops.base.errors import OutcomeUnknown, TradeopsError, UsageError
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Failed, Outcome, Unknown

T = TypeVar("T")
CONCURRENCY = 64
"""Hosts at once where the caller does not say: many enough to hide latency, few enough for one core."""


@dataclass(frozen=True)
class _Ended:
    """How one act ended. bug: an exception that is not ours, to be raised in the caller's thread."""

    name: str
    outcome: Outcome[object] | None
    bug: BaseException | None = None


class ThreadFanOut:
    """A thread per running act. Threads are daemons: one that hangs keeps neither the command nor the process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def run(
        self, hosts: Sequence[Host], act: Callable[[Host], T], *, deadline_s: float, concurrency: int | None = None
    ) -> dict[str, Outcome[T]]:
        """See fleet.ports.FanOut. The deadline is each host's own, from when its act starts."""
        _check(hosts, concurrency)
        ended: SimpleQueue[_Ended] = SimpleQueue()
        waiting = list(reversed(hosts))
        running: dict[str, int] = {}
        results: dict[str, _Ended] = {}
        while waiting or running:
            while waiting and len(running) < (concurrency or CONCURRENCY):
                host = waiting.pop()
                running[host.name] = self._clock.monotonic_ns()
                threading.Thread(target=self._act, args=(host, act, ended), name=f"fan-out-{host.name}", daemon=True).start()
            for result in self._next(running, ended, deadline_s):
                if running.pop(result.name, None) is not None:
                    results[result.name] = result
        _raise_bugs(results.values())
        return {host.name: results[host.name].outcome for host in hosts}  # type: ignore[misc]  # without a bug there is one

    def together(self, works: Sequence[Callable[[], None]]) -> None:
        """See fleet.ports.FanOut."""
        ended: SimpleQueue[BaseException | None] = SimpleQueue()
        for work in works:
            threading.Thread(target=_work, args=(work, ended), name="together", daemon=True).start()
        bugs = [ended.get() for _ in works]
        for bug in bugs:
            if bug is not None:
                raise bug

    def _act(self, host: Host, act: Callable[[Host], T], ended: SimpleQueue[_Ended]) -> None:
        start_ns = self._clock.monotonic_ns()
        try:
            outcome: Outcome[T] = _settle(host, act, lambda: self._clock.monotonic_ns() - start_ns)
        except BaseException as bug:  # noqa: BLE001  # nobody sees a thread die: it is raised in the caller's
            ended.put(_Ended(host.name, None, bug))
            return
        ended.put(_Ended(host.name, outcome))

    def _next(self, running: dict[str, int], ended: SimpleQueue[_Ended], deadline_s: float) -> list[_Ended]:
        """The next act that ends, or those whose time is up."""
        now_ns = self._clock.monotonic_ns()
        deadline_ns = int(deadline_s * NS_PER_S)
        left_s = (min(running.values()) + deadline_ns - now_ns) / NS_PER_S
        try:
            return [ended.get(timeout=max(0.0, left_s))]
        except Empty:
            now_ns = self._clock.monotonic_ns()
            late = [name for name, start_ns in running.items() if now_ns - start_ns >= deadline_ns]
            return [_Ended(name, _too_late(name, deadline_s)) for name in late]


class SequentialFanOut:
    """The same on a virtual clock: each act runs from the moment it would have started, then time moves to the last end."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def run(
        self, hosts: Sequence[Host], act: Callable[[Host], T], *, deadline_s: float, concurrency: int | None = None
    ) -> dict[str, Outcome[T]]:
        """See fleet.ports.FanOut. A host past its deadline has acted all the same, as a real one may have."""
        _check(hosts, concurrency)
        start_ns = self._clock.monotonic_ns()
        deadline_ns = int(deadline_s * NS_PER_S)
        lanes = [start_ns] * (concurrency or CONCURRENCY)
        last_ns = start_ns
        results: list[_Ended] = []
        for host in hosts:
            begin_ns = heapq.heappop(lanes)
            self._clock.rewind_to_ns(begin_ns)
            results.append(self._act(host, act, begin_ns, deadline_s))
            end_ns = min(self._clock.monotonic_ns(), begin_ns + deadline_ns)
            heapq.heappush(lanes, end_ns)
            last_ns = max(last_ns, end_ns)
        self._clock.rewind_to_ns(last_ns)
        _raise_bugs(results)
        return {result.name: result.outcome for result in results}  # type: ignore[misc]  # without a bug there is one

    def together(self, works: Sequence[Callable[[], None]]) -> None:
        """See fleet.ports.FanOut. Each starts at the same moment; the clock then stands where the last ended."""
        start_ns = last_ns = self._clock.monotonic_ns()
        bugs: SimpleQueue[BaseException | None] = SimpleQueue()
        for work in works:
            self._clock.rewind_to_ns(start_ns)
            _work(work, bugs)
            last_ns = max(last_ns, self._clock.monotonic_ns())
        self._clock.rewind_to_ns(last_ns)
        for _ in works:
            if (bug := bugs.get()) is not None:
                raise bug

    def _act(self, host: Host, act: Callable[[Host], T], begin_ns: int, deadline_s: float) -> _Ended:
        try:
            outcome: Outcome[T] = _settle(host, act, lambda: self._clock.monotonic_ns() - begin_ns)
        except Exception as bug:  # noqa: BLE001  # the port says: raised after all have ended
            return _Ended(host.name, None, bug)
        late = self._clock.monotonic_ns() - begin_ns > int(deadline_s * NS_PER_S)
        return _Ended(host.name, _too_late(host.name, deadline_s) if late else outcome)


def _work(work: Callable[[], None], ended: SimpleQueue[BaseException | None]) -> None:
    try:
        work()
    except BaseException as bug:  # noqa: BLE001  # raised in the caller's thread, after all have ended
        ended.put(bug)
    else:
        ended.put(None)


def _settle(host: Host, act: Callable[[Host], T], elapsed_ns: Callable[[], int]) -> Outcome[T]:
    """What the act came to. Raises what is not a TradeopsError."""
    try:
        value = act(host)
    except OutcomeUnknown as error:
        return Unknown(_named(host, error), elapsed_ns() / NS_PER_MS)
    except TradeopsError as error:
        return Failed(_named(host, error), elapsed_ns() / NS_PER_MS)
    return Done(value, elapsed_ns() / NS_PER_MS)


Error = TypeVar("Error", bound=TradeopsError)


def _named(host: Host, error: Error) -> Error:
    """Every error of a fan-out says which host it is about."""
    if error.where is None:
        error.where = host.name
    return error


def _too_late(name: str, deadline_s: float) -> Unknown:
    error = OutcomeUnknown(
        f"no answer within {deadline_s:g} s", where=name, holds="it may or may not have been done", next="read the host's state back"
    )
    return Unknown(error, deadline_s * 1000)


def _check(hosts: Sequence[Host], concurrency: int | None) -> None:
    """Outcomes are told apart by name alone."""
    if len({host.name for host in hosts}) != len(hosts):
        raise UsageError("a host was chosen twice")
    if concurrency is not None and concurrency < 1:
        raise UsageError(f"a concurrency of {concurrency} does nothing")


def _raise_bugs(results: Iterable[_Ended]) -> None:
    for result in results:
        if result.bug is not None:
            raise result.bug
