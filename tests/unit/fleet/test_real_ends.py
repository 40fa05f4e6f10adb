"""This room against the real other ends: an enrolled host's agent behind sshd's forced command, and a real guard."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agenthost import FLEET, RUN, ManagedHost, plain
from tests.support.guardhost import GuardHost
from tests.support.people import HOST as GUARDED
from tests.support.sshd import Sshd, host, running_sshd
from tradeops.base.clock import SystemClock
from tradeops.base.errors import LockHeld, Refused, TradeopsError
from tradeops.contracts.agent import AgentVerb, Code
from tradeops.contracts.directive import Verb
from tradeops.contracts.envelope import Purpose
from tradeops.fleet.agent import SshAgents
from tradeops.fleet.control import HttpControls
from tradeops.fleet.fleetfile import Deadlines
from tradeops.fleet.outcome import Done, errors, values
from tradeops.fleet.ports import AgentSession
from tradeops.fleet.ssh import Ssh

CLOCK = SystemClock()


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[ManagedHost]:
    """An enrolled host; its service manager runs."""
    managed = ManagedHost(tmp_path / "h")
    managed.folder.mkdir()
    with managed.supervisord():
        managed.enrol()
        yield managed
        managed.close()


@pytest.fixture
def forced(managed: ManagedHost, tmp_path: Path) -> Iterator[Sshd]:
    """sshd whose every login is the agent."""
    command = f"ForceCommand {sys.executable} -I -B {managed.root}/bin/tradeops-agent"
    with running_sshd(tmp_path / "sshd", command) as server:
        yield server


def take_lease(session: AgentSession, managed: ManagedHost) -> dict[str, Any]:
    """The host's lock for the run, as deploy/phases.py asks for it."""
    nonce = session.hello.nonce.encode()
    return session.call(
        AgentVerb.LOCK,
        run=RUN,
        timeout_s=10,
        owner="operator-1",
        reason="a test",
        ttl_s=60.0,
        delegation=plain(managed.delegation()),
        proof=managed.run_key.sign(nonce, Purpose.SESSION),
        takeover=False,
    )


def test_a_release_is_staged_over_one_session(managed: ManagedHost, forced: Sshd) -> None:
    """Facts, lease, blobs, assembly through the forced command; then a kill fences the run off."""
    ssh = Ssh(deadlines=Deadlines())
    session = SshAgents(ssh, fleet=FLEET).open(forced.host(), timeout_s=10)
    assert session.call(AgentVerb.FACTS, timeout_s=10)["host"] == "host-1"
    release = managed.release()
    owned: dict[str, Any] = {"run": RUN, "fence": take_lease(session, managed)["fence"]}
    announcement = release.announcement()
    missing = session.stream(AgentVerb.MISSING, [announcement], len(announcement), timeout_s=10, **owned)["missing"]
    parcel = release.parcel(missing)
    assert session.stream(AgentVerb.RECEIVE, [parcel], len(parcel), timeout_s=10, **owned)["stored"] == len(missing)
    assert session.call(AgentVerb.ASSEMBLE, timeout_s=10, release=release.id, **owned)["files"] == 2
    rival = SshAgents(ssh, fleet=FLEET).open(forced.host(), timeout_s=10)
    with pytest.raises(LockHeld, match=f"held by operator-1 for run {RUN} "):
        take_lease(rival, managed)
    rival.call(AgentVerb.LATCH, timeout_s=10, directive=managed.kill())
    with pytest.raises(LockHeld) as caught:
        session.call(AgentVerb.START, timeout_s=10, slot="blue", **owned)
    assert caught.value.code == Code.FENCED
    ssh.close()


def test_another_key_holder_can_reach_the_agent_and_nothing_else(forced: Sshd) -> None:
    """K05: whatever is asked for over SSH, the forced command answers."""
    ssh = Ssh(deadlines=Deadlines())
    channel = ssh.open_channel(forced.host(), "rm -rf / --no-preserve-root", timeout_s=10)
    assert b"tradeops-agent/v1" in channel.readline(10, bytes_max=65536)
    channel.close()
    ssh.close()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[GuardHost]:
    guarded = GuardHost(tmp_path / "g")
    guarded.start_guard()
    yield guarded
    guarded.close()


def test_a_real_guard_is_read_and_killed(guarded: GuardHost) -> None:
    """Identity, status, health, metrics; a kill without certificate; a resume nobody may give is refused with its reason."""
    controls = HttpControls(guarded.tls.folder, CLOCK)
    hosts = [host(GUARDED, port=1, control_port=guarded.port, user=getpass.getuser())]
    assert values(controls.identities(hosts, deadline_s=5))[GUARDED].host == GUARDED
    assert values(controls.statuses(hosts, deadline_s=5))[GUARDED].trading is False
    assert values(controls.healths(hosts, deadline_s=5))[GUARDED].host == GUARDED
    assert "tradeops_" in values(controls.metrics(hosts, deadline_s=5))[GUARDED]
    killed = controls.direct(hosts, guarded.people.say(Verb.KILL), deadline_s=5)[GUARDED]
    assert isinstance(killed, Done)
    assert killed.value.accepted
    refused = errors(controls.direct(hosts, guarded.people.say(Verb.RESUME, fleet="other"), deadline_s=5))[GUARDED]
    assert isinstance(refused, (Refused, TradeopsError))
    assert refused.where == GUARDED
