"""What an earlier version of the tool left in a fleet's state is read as what it meant then."""

from __future__ import annotations

import json
from pathlib import Path

from tests.sim.drive import ROLLING, try_deploy
from tests.sim.world import World
from tradeops.base.errors import ExitCode
from tradeops.deploy.asked import expected_hosts
from tradeops.deploy.journal import list_runs
from tradeops.deploy.rollback import release_before, rollback
from tradeops.deploy.verdict import fleet_verdict


def as_then(run: Path) -> None:
    """A run's folder as it was written before there were two slots."""
    drawn = json.loads((run / "plan.json").read_bytes())
    del drawn["cutover"]
    for part in drawn["hosts"]:
        for key in ("slot", "active", "idle"):
            del part[key]
    (run / "plan.json").write_text(json.dumps(drawn))
    *before, last = (run / "journal.jsonl").read_text().splitlines()
    end = json.loads(last)
    del end["detail"]["slots"]
    (run / "journal.jsonl").write_text("".join(f"{line}\n" for line in (*before, json.dumps(end))))


def test_what_was_written_before_there_were_two_slots_still_counts(world: World) -> None:
    """A journal as it was then, without slots: verify, rollback and the next deploy read it as of the one slot that there was."""
    assert try_deploy(world, world.new)[0] == ExitCode.PROVED
    site = world.site()
    for journal in list_runs(site.runs):
        as_then(journal.folder)
    expected = expected_hosts(site.runs, site.releases, site.bindings, overlay=0, flags_off={})
    assert {(want.release, want.slot) for want in expected.values()} == {(world.new, "blue")}
    assert (
        fleet_verdict(site.hosts, lambda _: expected, world, world, site.fan_out, timeout_s=2.0, control_s=2.0).exit_code()
        == ExitCode.PROVED
    )
    assert release_before(site) == world.old
    assert rollback(site, world.old, ROLLING).exit_code == ExitCode.PROVED
