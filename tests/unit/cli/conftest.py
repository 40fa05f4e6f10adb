"""A fleet's folder made by the tool itself, and the command line over its simulated hosts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.console import Console, write_fleet
from tradeops.base.errors import ExitCode


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet's folder, made once: keys and signatures take their time."""
    folder = tmp_path_factory.mktemp("fleet")
    write_fleet(folder)
    return folder


@pytest.fixture
def console(signed: Path, tmp_path: Path) -> Console:
    """Eight hosts that trade release 1."""
    shutil.copytree(signed, tmp_path, dirs_exist_ok=True)
    console = Console(tmp_path)
    assert console.run("deploy", console.new_release(1)).code == ExitCode.PROVED
    return console
