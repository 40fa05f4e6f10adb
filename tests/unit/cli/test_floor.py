"""Commands that stop hosts leave enough of the fleet at work, or are told their number; the kill is exempt (D18)."""

from __future__ import annotations

import pytest

from tests.support.console import Console
from tradeops.base.errors import ExitCode


def test_the_floor_is_not_walked_around_in_steps(console: Console) -> None:
    """D18: four of eight, and then one more: what is left at work counts, not what is chosen."""
    assert console.run("halt", "--tag", "t0", "--reason", "look").code == ExitCode.PROVED
    said = console.run("halt", "--host", "h1", "--reason", "look")
    assert said.code == ExitCode.REFUSED
    assert "leave 3 of 8 hosts at work" in said.err
    assert console.trading() == ["h1", "h3", "h5", "h7"]
    assert console.run("halt", "--host", "h2", "--reason", "again").code == ExitCode.PROVED
    assert console.run("halt", "--host", "h1", "--reason", "meant", "--count", "1").code == ExitCode.PROVED
    assert console.run("kill-switch", "--all", "--reason", "drill").code == ExitCode.PROVED


@pytest.mark.parametrize(("chosen", "code"), [("h1", ExitCode.REFUSED), ("h8", ExitCode.KILL_INCOMPLETE)])
def test_a_host_that_is_not_heard_is_not_at_work(console: Console, chosen: str, code: ExitCode) -> None:
    """D18: four do not answer: none of the others is halted without the count; one of the four is, as far as it can be."""
    for name in ("h5", "h6", "h7", "h8"):
        console.world.truth[name].faults.add("guard_dead")
    assert console.run("halt", "--host", chosen, "--reason", "look").code == code
