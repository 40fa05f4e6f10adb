"""A service that is not ours on three local hosts, by the same commands as the trader."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.haproxy import HAPROXY
from tests.support.webfleet import live, web_fleet

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH's client"),
    pytest.mark.skipif(HAPROXY is None, reason="needs haproxy (Debian: apt-get install haproxy)"),
]


def test_it_lives_as_the_trader_does(tmp_path: Path) -> None:
    """D01, D02, D08, K06, K07: refused without a permit, proved by its URL, no call lost, rolled back, killed, halted."""
    with web_fleet(tmp_path, "local", 3) as web:
        live(web)
