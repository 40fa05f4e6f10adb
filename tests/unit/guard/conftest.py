"""Hosts with a real guard process and a small real trader."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guardhost import GuardHost
from tradeops.base.clock import NS_PER_S

DAY_NS = 24 * 3600 * NS_PER_S


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[GuardHost]:
    """A host with its guard up and its trader halted for want of a permit."""
    with contextlib.closing(GuardHost(tmp_path)) as made:
        made.start_guard()
        made.start_trader()
        yield made


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardHost]:
    """One host for many tests."""
    with contextlib.closing(GuardHost(tmp_path_factory.mktemp("shared"))) as made:
        yield made


@pytest.fixture
def host(shared: GuardHost) -> GuardHost:
    """A host that trades."""
    shared.restore()
    return shared
