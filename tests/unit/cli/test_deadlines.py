"""Two of eight hosts drop every packet: each command ends within what its page states, and names both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.console import Console
from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import ExitCode

PAGE = Path(__file__).parents[3] / "runbooks" / "deadlines.md"
SILENT = ("h2", "h7")
COMMANDS: dict[str, tuple[tuple[str, ...], ExitCode]] = {
    "plan": (("NEW",), ExitCode.PREFLIGHT),
    "deploy": (("NEW",), ExitCode.PREFLIGHT),
    "rollback": (("--to", "OLD"), ExitCode.PREFLIGHT),
    "verify": ((), ExitCode.MIXED),
    "status": ((), ExitCode.MIXED),
    "doctor": ((), ExitCode.PREFLIGHT),
    "fleet facts": ((), ExitCode.MIXED),
    "audit verify": ((), ExitCode.PROVED),
    "halt": (("--all", "--count", "8", "--reason", "x"), ExitCode.KILL_INCOMPLETE),
    "resume": (("--all", "--reason", "x"), ExitCode.MIXED),
    "permit": (("--all", "--cause", "x", "--and", "risk-1"), ExitCode.MIXED),
    "kill-switch": (("--all", "--reason", "x"), ExitCode.KILL_INCOMPLETE),
}


def stated() -> dict[str, float]:
    """Command -> seconds with silent hosts, as the page says."""
    return {name: float(seconds) for name, seconds in re.findall(r"^\| `([a-z -]+)` \| (\d+) s", PAGE.read_text(), re.MULTILINE)}


def test_the_page_states_every_command_that_is_tried() -> None:
    """And tries every command that it states; an abort needs a run that died, and is tried on real hosts."""
    assert set(stated()) - set(COMMANDS) == {"runs abort"}
    assert set(COMMANDS) <= set(stated())


@pytest.mark.parametrize("command", COMMANDS)
def test_two_silent_hosts_are_named_in_time(console: Console, command: str) -> None:
    """D01: in simulated time, with every wait as long as it may be."""
    words, code = COMMANDS[command]
    names = {"NEW": console.new_release(2), "OLD": console.new_release(1)}
    for host in SILENT:
        console.world.truth[host].faults.add("ssh_hang")
    began_ns = console.world.clock.monotonic_ns()
    said = console.run(*command.split(), *(names.get(word, word) for word in words))
    seconds = (console.world.clock.monotonic_ns() - began_ns) / NS_PER_S
    assert said.code == code, said
    assert all(host in said.out + said.err for host in SILENT), said
    assert seconds <= stated()[command]
