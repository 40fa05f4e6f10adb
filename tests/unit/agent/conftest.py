"""A host enrolled once for all tests of the agent, and a copy of it for each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agenthost import LocalAdmin, ManagedHost


@pytest.fixture(scope="session")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> ManagedHost:
    """Enrolled for real, then left alone."""
    host = ManagedHost(tmp_path_factory.mktemp("enrolled"))
    with host.supervisord():
        host.enrol(admin=LocalAdmin())
    return host


@pytest.fixture
def managed(enrolled: ManagedHost, tmp_path: Path) -> Iterator[ManagedHost]:
    """A host of its own, its service manager down."""
    host = ManagedHost(tmp_path, enrolled.one, enrolled.two, enrolled.nobody, enrolled.run_key)
    shutil.copytree(enrolled.root, host.root, symlinks=True)
    text = host.layout.host_file.read_text().replace(str(enrolled.folder), str(tmp_path))
    host.layout.host_file.write_text(text)
    assert json.loads(text)["supervisor_socket"] == str(host.socket)
    yield host
    host.close()


@pytest.fixture
def running(managed: ManagedHost) -> Iterator[ManagedHost]:
    """The same with its service manager up."""
    with managed.supervisord():
        yield managed
        managed.close()
