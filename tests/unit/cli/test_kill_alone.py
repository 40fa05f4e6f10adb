"""The kill without what it must not need: a healthy SSH agent, a faultless fleet file, the policy (K04, promise 3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sim.world import FLEET
from tests.support.console import Console
from tests.support.silentagent import silent_agent
from tradeops.base.errors import ConfigError, ExitCode
from tradeops.contracts.roster import SCHEMA as ROSTER_SCHEMA
from tradeops.contracts.roster import Roster
from tradeops.fleet.inventory import load_fleet, load_for_kill
from tradeops.fleet.roster import sign_roster
from tradeops.release.sign import signer_for


def test_a_hung_agent_stops_neither_kill_nor_deploy(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """K04: the person's key lies in a file; an SSH agent that accepts and is silent is not waited for."""
    monkeypatch.setattr("tradeops.release.sign._SIGN_S", 10)
    with silent_agent(console.folder, monkeypatch):
        assert console.run("deploy", console.new_release(2)).code == ExitCode.PROVED
        assert console.run("kill-switch", "--all", "--reason", "drill").code == ExitCode.PROVED
    assert console.trading() == []


def edit(*pairs: tuple[str, str]) -> Callable[[Path], None]:
    """Change the fleet file as a person might."""

    def change(folder: Path) -> None:
        file = folder / "fleet.yml"
        text = file.read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new, 1)
        file.write_text(text)

    return change


def damaged(name: str) -> Callable[[Path], None]:
    """What is in it is nonsense now."""

    def harm(folder: Path) -> None:
        (folder / name).write_bytes(b"\xff[nonsense\0")

    return harm


def missing(name: str) -> Callable[[Path], None]:
    """It is gone."""
    return lambda folder: (folder / name).unlink()


FIRM = ("environment: lab", "environment: lab\nbindings: {common: {budgets: {gross: 2}}, firm_limits: {gross: 3}}")
HALF_A_VENUE = ("environment: lab", "environment: lab\nbindings: {common: {venues: {sim: {account: a}}}}")
SAME_NAME = ("name: h2", "name: h1")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (edit(("hosts_declared: 8", "hosts_declared: 9")), "9 hosts are declared"),
        (edit(FIRM), "budgets sum up"),
        (edit(HALF_A_VENUE), "of sim is missing"),
        (edit(SAME_NAME), "already that of"),
        (damaged("fleet.yml"), "not UTF-8"),
        (missing("fleet.yml"), "no such file"),
        (damaged(".tradeops/policy.json"), "without this machine's policy"),
        (missing(".tradeops/policy.json"), "without this machine's policy"),
        (damaged(".tradeops/audit.jsonl"), ""),
    ],
)
def test_the_kill_goes_on_without_what_it_does_not_need(console: Console, harm: Callable[[Path], None], said: str) -> None:
    """K04: missing or damaged, it is told on stderr, and every host is stopped."""
    harm(console.folder)
    done = console.run("kill-switch", "--all", "--reason", "drill")
    assert done.code == ExitCode.PROVED, done.err
    assert said in done.err
    assert console.trading() == []


@pytest.mark.parametrize("harm", [damaged(".tradeops/roster.json"), missing(".tradeops/roster.json")])
def test_without_its_roster_the_kill_says_that_hosts_may_be_missing(console: Console, harm: Callable[[Path], None]) -> None:
    """K04: every host of the fleet file is stopped; the hosts keep a roster that this machine could not read: exit 8."""
    harm(console.folder)
    done = console.run("kill-switch", "--all", "--reason", "drill")
    assert done.code == ExitCode.KILL_INCOMPLETE
    assert "hosts may be missing here" in done.out
    assert console.trading() == []


def test_without_policy_a_newer_roster_is_not_believed(console: Console) -> None:
    """K04: a host keeps a newer one; nobody here can tell who signed it: all that are known are stopped, and exit 8."""
    newer = Roster(ROSTER_SCHEMA, FLEET, 2, ())
    keeper = console.world.truth["h3"]
    keeper.roster_number, keeper.roster = 2, sign_roster(newer, signer_for(str(console.folder / "operator-1")))
    missing(".tradeops/policy.json")(console.folder)
    done = console.run("kill-switch", "--all", "--reason", "drill", "--json")
    assert done.code == ExitCode.KILL_INCOMPLETE
    assert "no roster can be believed without the policy" in done.document["unread"]
    assert console.trading() == []


def test_without_hosts_there_is_nothing_to_kill(console: Console) -> None:
    """Neither fleet file nor roster names one: said as it is."""
    for name in ("fleet.yml", ".tradeops/roster.json"):
        missing(name)(console.folder)
    assert console.run("kill-switch", "--all", "--reason", "drill").code == ExitCode.USAGE


def test_a_kill_without_policy_is_signed_with_the_key_that_is_named(console: Console) -> None:
    """K05: one entitled person; the hosts judge by their own policy. A key nobody noted is none."""
    missing(".tradeops/policy.json")(console.folder)
    assert console.run("kill-switch", "--all", "--reason", "x", "--key", str(console.folder / "nowhere")).code == ExitCode.USAGE
    said = console.run("kill-switch", "--all", "--reason", "x", "--key", str(console.folder / "risk-1"), "--as", "risk-1")
    assert said.code == ExitCode.PROVED
    assert console.trading() == []


@pytest.mark.parametrize("text", ["Match nonsense", "Host *\n  Port many"])
def test_a_broken_ssh_config_stops_no_kill(console: Console, text: str) -> None:
    """K04: the hosts are then reached as the fleet file says."""
    edit(("ssh_config: null", "ssh_config: config"))(console.folder)
    (console.folder / "config").write_text(text)
    with pytest.raises(ConfigError):
        load_fleet(console.folder / "fleet.yml")
    fleet, wrong = load_for_kill(console.folder / "fleet.yml")
    assert len(fleet.hosts) == 8 and len(wrong) == 1
    assert console.run("kill-switch", "--all", "--reason", "drill").code == ExitCode.PROVED
