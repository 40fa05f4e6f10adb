"""The kill against a simulated fleet: independent roads, every host accounted for, never better than the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.drive import try_deploy
from tests.sim.world import FLEET, World
from tradeops.base.errors import ExitCode, MixedFleet, Refused, UsageError
from tradeops.checks.drift import read_hosts, verify
from tradeops.checks.finding import Verdict
from tradeops.contracts.directive import ALL_HOSTS, Scope, Verb
from tradeops.deploy.asked import expected_hosts
from tradeops.safety.directives import compose, cosign, read, sign
from tradeops.safety.kill import KillReport, Roads, Sweeping, Swept, kill
from tradeops.safety.permit import halts_to_end, kills_to_end, refusals, require_proved


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Eight hosts that trade release 1."""
    world = World(tmp_path)
    world.old = world.release(1)
    assert try_deploy(world, world.old)[0] == ExitCode.PROVED
    return world


def strike(world: World, *, deadline_s: float = 5.0, scope: Scope = Scope(), sweep: Sweeping | None = None) -> KillReport:
    """Kill the whole fleet."""
    site = world.site()
    directive = compose(Verb.KILL, id=world.new_id(), fleet=FLEET, hosts=(ALL_HOSTS,), reason="drill", now_ns=0, scope=scope)
    roads = Roads(site.controls, site.agents, site.fan_out, site.clock, sweep)
    envelope = sign(directive, world.key)
    return kill(roads, site.hosts, envelope, directive.id, deadline_s=deadline_s, told=lambda _: None, whole_host=scope.everything())


def test_every_host_is_blocked_and_clear(world: World) -> None:
    """K03: one command, one person, every host confirmed over the first road."""
    report = strike(world)
    assert report.exit_code == ExitCode.PROVED
    assert report.blocked() == 8
    assert {host.road for host in report.hosts} == {"https"}
    assert not any(host.trading() for host in world.truth.values())


@pytest.mark.parametrize("fault", ["guard_dead", "guard_hang"])
def test_a_host_whose_guard_is_gone_is_latched_over_ssh(world: World, fault: str) -> None:
    """K04: the second road does not need the guard; what only the guard can tell stays unconfirmed."""
    world.truth["h8"].faults.add(fault)
    report = strike(world)
    odd = report.hosts[0]
    assert (odd.host, odd.road) == ("h8", "ssh")
    assert odd.blocked_ms is not None
    assert odd.clear_ms is None
    assert report.exit_code == ExitCode.KILL_INCOMPLETE
    assert not world.truth["h8"].trading()
    assert "venue" in odd.next_step()


def test_a_host_that_no_road_reaches_is_named(world: World) -> None:
    """K04, promise 3: seven confirmed and one not is not a success."""
    world.truth["h3"].faults.add("ssh_hang")
    report = strike(world)
    assert report.exit_code == ExitCode.KILL_INCOMPLETE
    assert [host.host for host in report.hosts if host.blocked_ms is None] == ["h3"]
    assert set(report.hosts[0].problems) == {"https", "ssh"}
    assert "console" in report.hosts[0].next_step()


def test_a_display_that_fails_ends_neither_road_nor_report(world: World) -> None:
    """Promise 3: what tells a person may break, again and again; every host is stopped and accounted for."""

    def broken(_: object) -> None:
        raise RuntimeError("the terminal is gone")

    site = world.site()
    directive = compose(Verb.KILL, id=world.new_id(), fleet=FLEET, hosts=(ALL_HOSTS,), reason="drill", now_ns=0)
    roads = Roads(site.controls, site.agents, site.fan_out, site.clock)
    report = kill(roads, site.hosts, sign(directive, world.key), directive.id, deadline_s=5.0, told=broken)
    assert len(report.hosts) == 8
    assert not any(host.trading() for host in world.truth.values())


def test_the_venue_confirms_clear_for_a_blocked_host_without_a_guard(world: World) -> None:
    """K04: latched over SSH and cancelled at the venue from here, the host is confirmed without its guard."""
    world.truth["h8"].faults.add("guard_dead")
    report = strike(world, sweep=lambda hosts, _: [Swept(host, 0) for host in hosts])
    assert report.exit_code == ExitCode.PROVED


def test_the_venue_does_not_confirm_a_host_that_may_still_send(world: World) -> None:
    """K08: zero working orders on a host that is not blocked is not the end; an unknown count is none either."""
    world.truth["h3"].faults.add("ssh_hang")
    answers = iter([Swept("h3", 0), Swept("h3", None, "the drop copy does not answer")])
    report = strike(world, sweep=lambda *_: [next(answers, Swept("h3", 0))])
    assert report.exit_code == ExitCode.KILL_INCOMPLETE
    assert report.hosts[0].clear_ms is None
    assert "drop copy" in report.hosts[0].problems["venue"]


def test_a_trader_that_does_not_acknowledge_is_stopped(world: World) -> None:
    """K02: a hung trader is not blocked until its process is gone."""
    world.truth["h2"].faults.add("trader_hung")
    report = strike(world)
    assert world.truth["h2"].process is None
    assert next(host for host in report.hosts if host.host == "h2").stopped


def test_orders_that_still_work_are_not_clear(world: World) -> None:
    """K08: blocked with an order working at the venue ends 8 and says how many."""
    world.truth["h4"].faults.add("orders_stuck")
    report = strike(world)
    assert report.exit_code == ExitCode.KILL_INCOMPLETE
    assert (report.hosts[0].host, report.hosts[0].working) == ("h4", 3)


def test_a_scoped_kill_takes_no_ssh_road(world: World) -> None:
    """K01: an agent can only stop everything, so a subset goes to guards alone."""
    world.truth["h8"].faults.add("guard_dead")
    report = strike(world, scope=Scope(symbols=("AAA",)), deadline_s=1.0)
    assert report.exit_code == ExitCode.KILL_INCOMPLETE
    assert "ssh" not in report.hosts[0].problems


def test_a_second_kill_changes_nothing(world: World) -> None:
    """Repeating a kill is harmless: it is read as already there."""
    strike(world)
    assert strike(world).exit_code == ExitCode.PROVED


def test_directives_need_hosts_and_a_reason() -> None:
    """A directive without hosts or reason is a usage error."""
    with pytest.raises(UsageError):
        compose(Verb.HALT, id="1", fleet=FLEET, hosts=(), reason="x", now_ns=0)
    with pytest.raises(UsageError):
        compose(Verb.HALT, id="1", fleet=FLEET, hosts=("h1",), reason=" ", now_ns=0)


def test_two_people_sign_the_same_bytes(world: World) -> None:
    """K07: the second signature covers what the first did; the directive reads back unchanged."""
    directive = compose(Verb.PERMIT, id="p", fleet=FLEET, hosts=("h1",), reason="start", now_ns=5, ends=("k",))
    envelope = cosign(sign(directive, world.key), world.key)
    assert len(envelope.signatures) == 2
    assert read(envelope, source="test") == directive


def test_kills_to_end_are_all_named_or_nothing_is_written(world: World) -> None:
    """K07: a permit names every standing kill; a host that does not answer may carry one more."""
    report = strike(world)
    site = world.site()
    assert kills_to_end(site.controls.statuses(site.hosts, deadline_s=1.0)) == (report.kill,)
    assert halts_to_end(site.controls.statuses(site.hosts, deadline_s=1.0)) == ()
    world.truth["h5"].faults.add("guard_dead")
    with pytest.raises(MixedFleet, match="not known"):
        kills_to_end(site.controls.statuses(site.hosts, deadline_s=1.0))


def look(world: World) -> dict[str, set[Verdict]]:
    """Verify the fleet; host -> verdicts, the odd one first."""
    site = world.site()
    expected = expected_hosts(site.runs, site.releases, site.bindings, overlay=0, flags_off={})
    readings = read_hosts(site.hosts, site.agents, site.fan_out, timeout_s=2.0)
    controls = site.controls
    reports, statuses = controls.identities(site.hosts, deadline_s=2.0), controls.statuses(site.hosts, deadline_s=2.0)
    verdict = verify(site.hosts, expected, readings, reports, statuses)
    world.verdict = verdict
    return {name: {finding.verdict for finding in found} for name, found in verdict.findings.items()}


def test_a_fleet_that_is_as_asked_verifies(world: World) -> None:
    """D01: every host yes."""
    assert look(world) == {name: {Verdict.YES} for name in world.truth}
    assert world.verdict.exit_code() == ExitCode.PROVED
    require_proved(world.verdict)


@pytest.mark.parametrize("fault", ["flipped_byte", "lying_guard"])
def test_drift_is_named_first(world: World, fault: str) -> None:
    """D02, D03: a changed file on host 5 ends 10 with host 5 on top."""
    world.truth["h5"].faults.add(fault)
    assert next(iter(look(world))) == "h5"
    assert world.verdict.exit_code() == ExitCode.DRIFT
    with pytest.raises(Refused, match="h5"):
        require_proved(world.verdict)


def test_another_process_by_hand_is_drift(world: World) -> None:
    """D02: a process of another release is found though the link is right."""
    world.truth["h6"].tampered(world.release(9))
    assert next(iter(look(world))) == "h6"
    assert world.verdict.exit_code() == ExitCode.DRIFT


def test_unreachable_is_unknown_and_never_success(world: World) -> None:
    """D01: verify with a host that does not answer ends 6."""
    world.truth["h7"].faults.add("ssh_refused")
    assert next(iter(look(world))) == "h7"
    assert world.verdict.exit_code() == ExitCode.MIXED


def test_refusals_name_the_hosts(world: World) -> None:
    """A guard that does not take a directive is listed with its words."""
    site = world.site()
    world.truth["h2"].faults.add("guard_dead")
    envelope = sign(compose(Verb.HALT, id="halt", fleet=FLEET, hosts=("*",), reason="x", now_ns=0), world.key)
    replies = site.controls.direct(site.hosts, envelope, deadline_s=1.0)
    assert set(refusals(replies, [host.name for host in site.hosts])) == {"h2"}
