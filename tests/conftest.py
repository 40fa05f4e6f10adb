"""Tests that need real hosts are skipped, with the reason, where there can be none."""

from __future__ import annotations

import os
import shutil
import signal

import pytest
from hypothesis import settings

settings.register_profile("tradeops", deadline=None, max_examples=60)
settings.load_profile("tradeops")

# A shell without job control has its background ignore SIGINT, nohup SIGHUP; every process started here would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _no_hosts() -> str | None:
    if os.geteuid() != 0:
        return "real hosts need root"
    lacking = [
        name
        for name in ("systemd-nspawn", "debootstrap", "ip", "nft")
        if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None
    ]
    return f"real hosts need {', '.join(lacking)}" if lacking else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip `fleet` tests with the reason why they cannot run here."""
    if reason := _no_hosts():
        for item in items:
            if item.get_closest_marker("fleet"):
                item.add_marker(pytest.mark.skip(reason=reason))
