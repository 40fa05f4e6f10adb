"""What runs on a host beside the session: start and stop programs, systemctl, users, keys, units, facts of an interpreter."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.agenthost import ManagedHost, plain
from tests.support.wait import until
from tradeops.agent import facts, install_units, install_users, session, start, stop_all
from tradeops.agent.errors import AgentError
from tradeops.agent.hostfile import Context, parse_host
from tradeops.agent.install_users import Owner, People
from tradeops.agent.names import Layout
from tradeops.agent.sshkey import parse_line, signing_key
from tradeops.agent.systemd import Systemd
from tradeops.agent.units import UnitState
from tradeops.agent.vitals import halted_page

FAKE_SYSTEMCTL = """#!/bin/sh
verb=$2
echo "$@" >> "$FAKE/calls"
[ "$verb" = show ] && cat "$FAKE/shown"
[ -e "$FAKE/fails-$verb" ] && { echo broken >&2; exit 1; }
exit 0
"""


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `systemctl` and a `useradd` that keep what they were asked."""
    folder = tmp_path / "fake"
    folder.mkdir()
    for name in ("systemctl", "useradd"):
        program = folder / name
        program.write_text(FAKE_SYSTEMCTL)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(folder))
    return folder


def show(folder: Path, load: str = "loaded", active: str = "active", pid: int = 7) -> None:
    """What `systemctl show` says from now on."""
    (folder / "shown").write_text(f"LoadState={load}\nActiveState={active}\nMainPID={pid}\n")


@pytest.mark.parametrize(
    ("active", "pid", "state"),
    [
        ("active", 7, UnitState("active", 7)),
        ("inactive", 0, UnitState("inactive", None)),
        ("failed", 0, UnitState("failed", None)),
        ("activating", 8, UnitState("changing", 8)),
        ("something new", 8, UnitState("changing", 8)),
    ],
)
def test_states_of_systemd_in_our_words(systemctl: Path, active: str, pid: int, state: UnitState) -> None:
    """What we do not know is on its way somewhere: neither up nor down."""
    show(systemctl, active=active, pid=pid)
    assert Systemd().states("trader.service") == {"trader.service": state}


def test_systemctl_is_asked_without_a_shell_and_without_waiting(systemctl: Path) -> None:
    """Units come after `--`; a unit that is not there, or a call that fails, is an error with its words."""
    show(systemctl)
    units = Systemd()
    for act in (units.start, units.stop, units.kill, units.restart):
        act("-evil; rm")
    calls = (systemctl / "calls").read_text().splitlines()
    assert all(call.startswith("--no-ask-password ") and call.endswith(" -- -evil; rm") for call in calls)
    assert "--no-ask-password stop --no-block -- -evil; rm" in calls
    (systemctl / "fails-start").touch()
    with pytest.raises(AgentError, match="broken"):
        units.start("trader.service")
    with pytest.raises(AgentError, match="told of 1 units"):
        units.states("trader.service", "other.service")
    show(systemctl, load="not-found")
    with pytest.raises(AgentError, match="enrol the host again"):
        units.states("trader.service")


def test_several_units_are_asked_about_at_once(systemctl: Path) -> None:
    """In the order asked."""
    show(systemctl, pid=7)
    first = (systemctl / "shown").read_text()
    show(systemctl, active="inactive", pid=0)
    (systemctl / "shown").write_text(f"{first}\n{(systemctl / 'shown').read_text()}")
    assert Systemd().states("b.service", "a.service") == {"b.service": UnitState("active", 7), "a.service": UnitState("inactive", None)}
    assert len((systemctl / "calls").read_text().splitlines()) == 1


def test_a_machine_without_systemctl_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AgentError, match="did not answer"):
        Systemd().states("trader.service")


def _context(tmp_path: Path, **changes: object) -> Context:
    fields = {
        "schema": "s",
        "host": "h",
        "fleet": "f",
        "service": "trader",
        "service_manager": "systemd",
        "units": {"blue": "tradeops-trader@blue.service"},
        "guard_unit": "tradeops-guard.service",
        "interpreter": "/usr/bin/python3",
        "control_address": "::",
        "control_port": 1,
    }
    host = parse_host({**fields, **changes}, "test")
    return Context(Layout(tmp_path / "opt"), host, ManagedHost(tmp_path).clock)


def test_units_are_written_loaded_and_enabled_once(systemctl: Path, tmp_path: Path) -> None:
    """A second time nothing is written or reloaded; a guard that is active and does not beat is an error."""
    context = _context(tmp_path)
    page = context.layout.stop_page
    page.parent.mkdir(parents=True)
    units = tmp_path / "units"
    units.mkdir()
    show(systemctl)
    page.write_bytes(halted_page(1 << 62))
    changed: list[str] = []
    install_units.ensure(context, changed, restart=False, folder=units)
    assert changed == ["tradeops-trader@.service", "tradeops-guard.service", "tradeops-stop.service", "tradeops-stop.path"]
    calls = (systemctl / "calls").read_text()
    assert "daemon-reload" in calls and "enable --quiet tradeops-guard.service tradeops-stop.path" in calls
    (systemctl / "calls").unlink()
    changed.clear()
    install_units.ensure(context, changed, restart=False, folder=units)
    assert changed == [] and "daemon-reload" not in (systemctl / "calls").read_text()
    (systemctl / "fails-enable").touch()
    with pytest.raises(AgentError, match="enable"):
        install_units.ensure(context, changed, restart=False, folder=units)


def test_the_operators_login_gets_a_forced_command_and_one_line_of_sudo(managed: ManagedHost, tmp_path: Path) -> None:
    """In files that the login cannot change; again: nothing changed; None: nothing done."""
    top, layout = tmp_path / "top", Layout(managed.root)
    (top / "etc/sudoers.d").mkdir(parents=True)
    login = {"user": "tradeops", "keys": [managed.one.public_line + " a comment; evil"]}
    changed: list[str] = []
    install_users.let_in(layout, login, changed, top)
    keys = top / "var/lib/tradeops-login/tradeops/.ssh/authorized_keys"
    assert keys.read_text() == f'restrict,command="sudo -n {managed.root}/bin/tradeops-agent" {managed.one.public_line}\n'
    sudoers = top / "etc/sudoers.d/tradeops"
    assert f'tradeops ALL=(root) NOPASSWD: {managed.root}/bin/tradeops-agent ""\n' in sudoers.read_text()
    assert stat.S_IMODE(sudoers.stat().st_mode) == 0o440 and len(changed) == 2
    install_users.let_in(layout, login, changed, top)
    install_users.let_in(layout, None, changed, top)
    assert len(changed) == 2
    with pytest.raises(AgentError, match="not a public key"):
        install_users.let_in(layout, {"user": "tradeops", "keys": ['x" command="sh']}, changed, top)


def test_where_root_itself_logs_in_its_other_keys_stay(managed: ManagedHost, tmp_path: Path) -> None:
    """Only the lines that force our agent are ours."""
    path = tmp_path / "top" / "root" / ".ssh" / "authorized_keys"
    path.parent.mkdir(parents=True)
    path.write_text("ssh-ed25519 ADMIN admin\n")
    for key in (managed.one, managed.two):
        install_users.let_in(Layout(managed.root), {"user": "root", "keys": [key.public_line]}, [], tmp_path / "top")
    lines = path.read_text().splitlines()
    assert lines[0] == "ssh-ed25519 ADMIN admin" and len(lines) == 2 and lines[1].endswith(managed.two.public_line)


def test_users_are_made_where_they_are_missing(systemctl: Path, tmp_path: Path) -> None:
    """With the machine's own tool; a name that is an option, or a tool that fails, is refused."""
    me = Owner(os.getuid(), os.getgid())
    host = _context(tmp_path, guard_user="tradeops-guard-x", trader_user="tradeops-trader-x").host
    changed: list[str] = []
    people = install_users.ensure(host, {"user": "tradeops-x", "keys": []}, changed)
    assert people == People(me, me, me)
    assert changed == ["user tradeops-guard-x", "user tradeops-trader-x", "user tradeops-x"]
    assert (systemctl / "calls").read_text().count("--no-create-home") == 3
    with pytest.raises(AgentError, match="not a user's name"):
        install_users.ensure(replace(host, guard_user="-o"), None, [])
    (systemctl / "fails---user-group").touch()
    with pytest.raises(AgentError, match="cannot be made"):
        install_users.ensure(host, None, [])


def test_the_start_command_is_the_releases_own(managed: ManagedHost) -> None:
    """Placeholders filled, a small environment, the link followed once."""
    context = managed.context()
    with pytest.raises(AgentError, match="linked to no release"):
        start.command(context, "blue")
    agent, release = managed.locked(), managed.release()
    managed.stage(agent, release)
    link = managed.layout.slot("blue") / "current"
    link.symlink_to(f"../../releases/{release.id[7:]}")
    made = start.command(context, "blue")
    environment = made.environment
    assert made.argv == [managed.interpreter, "-I", "-B", f"{made.folder}/run.py"] and not made.kept
    assert environment["TRADEOPS_RELEASE"] == release.id and environment["TRADEOPS_BINDING"] == ""
    assert set(environment) <= {
        "PATH",
        "LANG",
        "LC_ALL",
        "TZ",
        "GREETING",
        "TRADEOPS_ROOT",
        "TRADEOPS_SLOT",
        "TRADEOPS_RELEASE",
        "TRADEOPS_BINDING",
    }


def test_programs_say_what_is_wrong_and_end(tmp_path: Path, managed: ManagedHost, capsys: pytest.CaptureFixture[str]) -> None:
    """An unenrolled root, a wrong slot, a service manager that is down."""
    assert session.main(tmp_path) == 1 and stop_all.main(tmp_path) == 1 and start.main(tmp_path, ["blue"]) == 78
    assert start.main(managed.root, ["red"]) == 78 and start.main(managed.root, []) == 78
    said = capsys.readouterr().err
    assert "host.json is missing" in said and "usage" in said


def test_the_stop_program_takes_the_request_away_and_leaves_nothing(running: ManagedHost) -> None:
    """Then it may be asked again."""
    agent = running.locked()
    release = running.release()
    running.stage(agent, release)
    agent.do("switch", slot="blue", release=release.id, binding=plain(running.binding()), overlay=None)
    pid = agent.do("start", slot="blue")["pid"]
    request = running.layout.guard_state / "stop-request"
    request.touch()
    assert stop_all.main(running.root) == 0
    assert not request.exists()
    until(lambda: not Path(f"/proc/{pid}").exists(), 10)


def test_another_interpreter_is_asked_for_its_abi(managed: ManagedHost) -> None:
    """It is that one that will run releases; one that does not run is a problem, not a guess."""
    context = managed.context()

    system = replace(context, host=replace(context.host, interpreter="/usr/bin/python3"))
    asked = facts.facts(system)
    assert asked["python_abi"].startswith("cp3") and asked["python_version"].count(".") == 2
    gone = facts.facts(replace(context, host=replace(context.host, interpreter="/nonexistent")))
    assert gone["python_abi"] == "" and any("/nonexistent does not run" in problem for problem in gone["problems"])


@pytest.mark.parametrize("line", ["", "ssh-ed25519", "ssh-ed25519 %%%", "ssh-rsa AAAAC3NzaC1lZDI1NTE5", "ssh-dss AAAAB3NzaC1kc3M=", 5])
def test_lines_that_are_no_keys_are_none(line: object) -> None:
    """They count for nothing."""
    assert parse_line(line) is None


@pytest.mark.parametrize("body", ["", "%%%", "QUJD", "U1NIU0lHAAAAAQ==", "U1NIU0lHAAAAAf////8="])
def test_armored_texts_that_are_no_signatures_are_refused(body: str) -> None:
    """Without reading past their end."""
    with pytest.raises(AgentError):
        signing_key(f"-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----")


def test_a_host_file_of_another_shape_is_refused(managed: ManagedHost) -> None:
    """Missing fields, or no JSON: what is wrong and what to do."""
    managed.layout.host_file.write_text(json.dumps({"host": "h"}))
    with pytest.raises(AgentError, match="missing"):
        managed.context()
    managed.layout.host_file.write_text("[]")
    with pytest.raises(AgentError, match="not a JSON object"):
        managed.context()
