"""Every metric that a gate may ask for is measured by a trader, exported by its guard, and read by Prometheus' own tools."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.trader import FLEET, HOST, PRICE, SLOT, TICK, Desk, HostRoot
from tradeops.base.clock import VirtualClock
from tradeops.contracts.metrics import HELP, LATENCY_UPPER_S, PREFIX, Counter, Gauge, Latency, help_of
from tradeops.contracts.pages import read_vitals
from tradeops.contracts.status import STATUS_SCHEMA, Status
from tradeops.contracts.units import UNIT
from tradeops.guard.exposition import exposition
from tradeops.wire.protocol import ExecKind, Side

PROMTOOL = shutil.which("promtool")


def status(desk: Desk) -> Status:
    """What the guard would say of this trader, asked 20 ms after it spoke."""
    desk.rooms.write_vitals(desk.rooms.gate.look())
    vitals = read_vitals(desk.layout.vitals_page(SLOT))
    assert vitals is not None
    return Status(STATUS_SCHEMA, HOST, FLEET, True, (), "p1", vitals, 20.0, 1, False, False, 2, "", 0, 1, 1, 0)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A trader that has bought one of what it bid for."""
    clock = VirtualClock(wall_ns=1_800_000_000_000_000_000, monotonic_ns=1_000_000_000_000)
    desk = Desk(HostRoot(tmp_path / "host", clock=clock).write(), clock)
    desk.open_path()
    desk.quote()
    desk.look()
    clock.advance_ns(40_000_000)
    for order in desk.session.orders():
        desk.report(order, ExecKind.NEW)
    bid = next(order for order in desk.session.orders() if order.side is Side.BUY)
    desk.report(bid, ExecKind.FILL, cumulative=bid.qty, last=bid.qty)
    yield desk
    desk.close()


def series(text: str) -> dict[str, float]:
    """Name and labels -> value."""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if not line.startswith("#")}


def test_all_names_are_exported_and_explained(desk: Desk) -> None:
    """Under the labels that a gate tells hosts, releases and slots by; the process's start on the same page."""  # D11
    now = status(desk)
    assert now.vitals is not None
    found = series(exposition(now))
    labels = f'{{host="{HOST}",release="{now.vitals.identity.release}",slot="{SLOT}"}}'
    assert {f"{PREFIX}{name}{labels}" for name in (*Counter, *Gauge)} <= found.keys()
    assert {f"{PREFIX}{name}_count{labels}" for name in Latency} <= found.keys()
    assert set(HELP) == {*Counter, *Gauge, *Latency}
    assert found[f"{PREFIX}{Gauge.STARTED_AT_S}{labels}"] == now.vitals.identity.started_wall_ns / 1e9
    assert found[f"{PREFIX}{Counter.SIGNALS}{labels}"] == 3
    assert found[f"{PREFIX}{Counter.ORDERS_SENT}{labels}"] == 3


def test_money_is_in_the_currency(desk: Desk) -> None:
    """One bought three ticks below the mid and marked there; the notional of what was sent, the path check's lot with it."""
    found = {name.partition("{")[0].removeprefix(PREFIX): value for name, value in series(exposition(status(desk))).items()}
    assert found[Gauge.GROSS_NOTIONAL] == found[Gauge.NET_NOTIONAL] == PRICE / UNIT
    assert found[Gauge.PNL] == pytest.approx(3 * TICK / UNIT)
    assert found[Gauge.DRAWDOWN] == 0
    assert found[Counter.ORDER_NOTIONAL] == pytest.approx(100 + 100 + 98)
    desk.quote(PRICE - 6 * TICK, PRICE - 4 * TICK)
    found = {name.partition("{")[0].removeprefix(PREFIX): value for name, value in series(exposition(status(desk))).items()}
    assert found[Gauge.DRAWDOWN] == pytest.approx(5 * TICK / UNIT)
    assert found[Gauge.PNL] == pytest.approx(-2 * TICK / UNIT)


def test_the_buckets_tell_what_is_slower_than_half_a_second() -> None:
    """The default limit is an edge, with others on both sides to round a control's own quantile up to."""
    assert 0.5 in LATENCY_UPPER_S and sorted(LATENCY_UPPER_S) == list(LATENCY_UPPER_S)
    assert len([edge for edge in LATENCY_UPPER_S if 0.05 <= edge <= 0.5]) >= 10


def test_kinds_of_a_family_are_explained_by_it() -> None:
    """The longest name that fits; one that nobody knows explains itself."""
    assert help_of("orders_denied_order_rate_total") == HELP[Counter.ORDERS_DENIED]
    assert help_of("quotes_invalid_stale_total") == HELP[Counter.QUOTES_INVALID]
    assert help_of("moons_total") == "moons_total"


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (apt-get install prometheus)")
def test_promtool_finds_nothing_to_object_to(desk: Desk) -> None:
    """Format, names, types, units and help, by Prometheus' own linter."""
    assert PROMTOOL is not None
    text = exposition(status(desk))
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
