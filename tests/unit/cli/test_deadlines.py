"""Two of eight hosts drop every packet: each command ends within what its page states, and names both."""

from __future__ import annotations

import pytest

from tests.sim.world import OperatorDied
from tests.support.console import Console
from tests.support.deadlines import stated
from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import ExitCode
from tradeops.contracts.agent import AgentVerb
from tradeops.contracts.flags import meaning_digest
from tradeops.contracts.manifest import Flag

MEANING = "Routes retail orders to the new liquidity programme."
SILENT = ("h2", "h7")
COMMANDS: dict[str, tuple[tuple[str, ...], ExitCode]] = {
    "plan": (("NEW",), ExitCode.PREFLIGHT),
    "deploy": (("NEW",), ExitCode.PREFLIGHT),
    "rollback": (("--to", "OLD"), ExitCode.PREFLIGHT),
    "runs resume": (("RUN",), ExitCode.PREFLIGHT),
    "runs abort": (("RUN",), ExitCode.PREFLIGHT),
    "verify": ((), ExitCode.MIXED),
    "status": ((), ExitCode.MIXED),
    "doctor": ((), ExitCode.PREFLIGHT),
    "fleet sign": ((), ExitCode.PROVED),
    "fleet facts": ((), ExitCode.MIXED),
    "flags list": ((), ExitCode.PROVED),
    "flags disable": (("rlp-7", "--reason", "x"), ExitCode.MIXED),
    "flags activate": (("rlp-7",), ExitCode.REFUSED),
    "flags retire": (("rlp-7", "--flags", "LEDGER"), ExitCode.REFUSED),
    "audit verify": ((), ExitCode.PROVED),
    "halt": (("--all", "--count", "8", "--reason", "x"), ExitCode.KILL_INCOMPLETE),
    "resume": (("--all", "--reason", "x"), ExitCode.MIXED),
    "permit": (("--all", "--cause", "x", "--and", "risk-1"), ExitCode.MIXED),
    "kill-switch": (("--all", "--reason", "x"), ExitCode.KILL_INCOMPLETE),
}


def test_the_page_states_every_command_that_is_tried() -> None:
    """And every one that it states is tried; an enrolment needs hosts to install on, and is tried on real ones."""
    assert set(stated()) == {*COMMANDS, "fleet enroll"}


@pytest.mark.parametrize("command", COMMANDS)
def test_two_silent_hosts_are_named_in_time(console: Console, command: str) -> None:
    """D01: in simulated time, with every wait as long as it may be."""
    words, code = COMMANDS[command]
    ledger = str(console.folder / "flags.json")
    console.run("flags", "declare", "rlp-7", "--meaning", MEANING, "--flags", ledger)
    flag = Flag("rlp-7", meaning_digest(MEANING))
    names = {"NEW": console.new_release(2, flags=(flag,)), "OLD": console.new_release(1), "LEDGER": ledger}
    if "RUN" in words:
        names["RUN"] = run_that_died(console, names["NEW"])
    for host in SILENT:
        console.world.truth[host].faults.add("ssh_hang")
    began_ns = console.world.clock.monotonic_ns()
    said = console.run(*command.split(), *(names.get(word, word) for word in words))
    seconds = (console.world.clock.monotonic_ns() - began_ns) / NS_PER_S
    assert said.code == code, said
    assert all(host in said.out + said.err for host in SILENT), said
    assert seconds <= stated()[command]


def run_that_died(console: Console, release: str) -> str:
    """A deploy whose operator dies at the first switch; its id."""
    console.world.dies_at = AgentVerb.SWITCH
    with pytest.raises(OperatorDied):
        console.run("deploy", release)
    console.world.revive()
    found: str = console.run("runs", "list", "--json").document["runs"][0]["run"]
    return found
