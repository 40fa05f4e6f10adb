"""A trader without sockets for every test that asks for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.trader import Desk, HostRoot
from tradeops.base.clock import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    """A clock that moves when told."""
    return VirtualClock(wall_ns=1_800_000_000_000_000_000, monotonic_ns=1_000_000_000_000)


@pytest.fixture
def host(tmp_path: Path, clock: VirtualClock) -> HostRoot:
    """A host's folder."""
    return HostRoot(tmp_path / "host", clock=clock).write()


@pytest.fixture
def start(host: HostRoot, clock: VirtualClock) -> Iterator[Callable[..., Desk]]:
    """Starts traders on the host; lets go of them at the end."""
    desks: list[Desk] = []

    def _start(**changes: Any) -> Desk:
        desks.append(Desk(host, clock, **changes))
        return desks[-1]

    yield _start
    for desk in desks:
        desk.close()
