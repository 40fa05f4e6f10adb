"""A service that is not ours on systemd hosts behind a real HAProxy: its keeper under a user and a hardened unit of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.haproxy import HAPROXY
from tests.support.webfleet import has_a_canary, live, loses_its_proxy, web_fleet
from tradeops.lab.nspawn.driver import why_not

pytestmark = [
    pytest.mark.fleet,
    pytest.mark.timeout(600),
    pytest.mark.skipif(HAPROXY is None, reason="needs haproxy (Debian: apt-get install haproxy)"),
]


HOSTS = 3
"""A canary, and a wave behind it: enough, beside the sixteen that are up by then."""


def test_it_lives_as_the_trader_does(tmp_path: Path) -> None:
    """D01, D02, D08, K06, K07: refused without a permit, proved by its URL, no call lost, rolled back, killed, halted.

    Then a canary by weights, for which open connections are waited for, and a proxy that dies in mid-run.
    """
    if reason := why_not():
        pytest.skip(reason)
    with web_fleet(tmp_path, "nspawn", HOSTS) as web:
        live(web)
        has_a_canary(web)
        loses_its_proxy(web)
