"""Two slots that take turns on eight real systemd hosts that trade: over, and back while the old slots are warm."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import tempfile
import urllib.request
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.conftest import NEW, OLD
from tests.support.fleetlab import FleetLab, short_id
from tests.support.wait import until
from tradeops.base.errors import ExitCode
from tradeops.contracts.layout import HostLayout
from tradeops.deploy.journal import list_runs
from tradeops.deploy.token import ORDERS
from tradeops.fleet.inventory import load_fleet
from tradeops.lab.fleet_folder import VENUE_PORTS
from tradeops.trader.journal import read_entries
from tradeops.trader.messages import Happened, Intended, OrderEvent

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]
TURNS = """schema: tradeops/playbook/v1
name: turns
steps: [{hosts: 100%}]
at_once: 100%
cutover:
  shadow:
    bake: 2s
    decisions: 100
    gate:
      slot: standby
      every: 500ms
      warm_up: 1s
      exposure: tradeops_decisions_compared_total
      metrics:
        decisions_different:
          kind: ratio
          events: tradeops_decisions_different_total
          per: tradeops_decisions_compared_total
          limit: 10%
  orders: adopt
  warm: 10m
"""


def playbook(fleet: FleetLab) -> str:
    """All hosts at once, tried for seconds, and warm for longer than the test lasts."""
    path = fleet.folder / "turns.yml"
    path.write_text(TURNS)
    return str(path)


def sent(fleet: FleetLab, host: str) -> set[str]:
    """Ids of the orders that the host's journal holds as sent. From a copy: SQLite opens nothing behind /proc/PID/root."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        for end in ("", "-wal"):
            shutil.copy(HostLayout(fleet.root(host)).data / f"journal.sqlite{end}", f"{path}{end}")
        with closing(sqlite3.connect(path)) as db:
            entries = [entry for _, entry in read_entries(db, 0, path)]
    withheld = {entry.order for entry in entries if isinstance(entry, Happened) and entry.event is OrderEvent.WITHHELD}
    return {entry.order.id for entry in entries if isinstance(entry, Intended)} - withheld


def there(fleet: FleetLab, host: str) -> list[str]:
    """Ids of the host's orders at the venue, as often as they are there."""
    url = f"http://{fleet.state.venue_address}:{VENUE_PORTS['control']}/v1/orders?host={host}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return [order["client_id"] for order in json.load(answer)["orders"]]


def slots(fleet: FleetLab) -> set[tuple[Any, ...]]:
    """Of every host: the slot in force, its release, whether it trades, and what stands by beside it."""
    hosts = fleet.run("status").document["hosts"]
    return {(host["active"], host["vitals"]["identity"]["release"], host["trading"], _beside(host)) for host in hosts}


def _beside(host: dict[str, Any]) -> str | None:
    return host["standby"]["identity"]["release"] if host["standby"] else None


def notes(fleet: FleetLab) -> list[str]:
    """What became of the orders at work on each host, over and back; a host that is too slow cancels them, and says so."""
    run = list_runs(load_fleet(fleet.folder / "fleet.yml").state.runs)[-1]
    told = [entry.detail for entry in run.entries() if entry.phase == ORDERS]
    return [str(detail[host]) for detail in told for host in fleet.names()]


def test_over_and_back_while_it_trades(fleet: FleetLab) -> None:
    """O09, D13: eight hosts cut over; a rollback while the old slots are warm gives them the token back: the very processes trade
    again, what works is handed from slot to slot, no order is lost and none is at the venue twice.
    """
    old, new = fleet.releases[OLD], fleet.releases[NEW]
    before, pids = {host: sent(fleet, host) for host in fleet.names()}, fleet.pids()

    def back(_run: subprocess.Popen[str]) -> None:
        assert until(lambda: slots(fleet) == {("green", new, True, old)}, 20), slots(fleet)
        fleet.must("rollback")

    ended = fleet.midway("deploy", short_id(new), "--playbook", playbook(fleet), at="let-go done", act=back)
    assert ended.code == ExitCode.LOCKED, ended.out + ended.err
    assert "was replaced" in ended.out
    assert sum("adopted: " in note for note in notes(fleet)) >= 12, notes(fleet)
    assert slots(fleet) == {("blue", old, True, None)} and fleet.pids() == pids
    fleet.must("verify")
    fleet.must("halt", "--all", "--count", "8", "--reason", "to count the orders")
    for host in fleet.names():
        ours, theirs = sent(fleet, host) - before[host], Counter(there(fleet, host))
        assert len(ours) > 10, f"{host} hardly traded"
        assert not ours - theirs.keys(), f"{host}: lost"
        assert max(theirs[order] for order in ours) == 1, f"{host}: twice"
