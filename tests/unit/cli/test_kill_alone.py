"""The kill without what it must not need: a healthy SSH agent, a faultless fleet file, the policy (K04, promise 3)."""

from __future__ import annotations

import pytest

from tests.support.console import Console
from tests.support.silentagent import silent_agent
from tradeops.base.errors import ExitCode


def test_a_hung_agent_stops_neither_kill_nor_deploy(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """K04: the person's key lies in a file; an SSH agent that accepts and is silent is not waited for."""
    monkeypatch.setattr("tradeops.release.sign._SIGN_S", 10)
    with silent_agent(console.folder, monkeypatch):
        assert console.run("deploy", console.new_release(2)).code == ExitCode.PROVED
        assert console.run("kill-switch", "--all", "--reason", "drill").code == ExitCode.PROVED
    assert console.trading() == []
