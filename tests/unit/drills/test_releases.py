"""The demo's releases do what they are there for, on a real exchange: by settings that any user of the trader has."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml

from tests.support.console import write_fleet
from tests.support.exchange import Trading, settings_of
from tests.support.processes import GuardHand, TraderProcess, VenueProcess
from tests.support.trader import PRICE, SYMBOL, VENUE, HostRoot
from tests.support.wait import until
from tradeops.base.errors import ConfigError
from tradeops.contracts.metrics import Counter, Latency
from tradeops.contracts.units import UNIT, parse_units
from tradeops.drills import releases
from tradeops.drills.releases import BROKEN, FLAG, IDLE, MEANING, NOISY, SETTINGS, SLOW, config_of
from tradeops.lab.fleet_folder import SYMBOLS
from tradeops.release.definition import FlagEntry
from tradeops.release.ledger import FlagLedger
from tradeops.trader.config import load_config
from tradeops.trader.flags import KNOWN
from tradeops.trader.messages import Fill
from tradeops.wire.protocol import Side

USUAL = 1
SECONDS = 60
SEEDS = (1, 2, 3)


def config(folder: Path, version: int) -> Path:
    """The version's file."""
    path = folder / f"trader-{version}.yml"
    path.write_text(config_of(version))
    return path


def traded(folder: Path, version: int) -> tuple[dict[str, int], list[int]]:
    """Counters, and orders by bucket of their placement latency, of some minutes on markets in the lab's symbols."""
    counters: dict[str, int] = {}
    slow: list[int] = []
    settings = settings_of(config(folder, version))
    for seed, (symbol, price) in itertools.product(SEEDS, SYMBOLS.items()):
        trading = Trading(folder / f"{symbol}-{seed}", settings, price=parse_units(price), seed=seed)
        for name, count in trading.run(SECONDS)[0].items():
            counters[name] = counters.get(name, 0) + count
        counts = trading.desks["ACC0"].rooms.telemetry.histograms()[Latency.ORDER_PLACEMENT].counts
        slow = [a + b for a, b in zip(slow or [0] * len(counts), counts, strict=True)]
        trading.close()
    return counters, slow


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, int], list[int]]:
    """What the others are measured against."""
    return traded(tmp_path_factory.mktemp("usual"), USUAL)


def rejects(counters: dict[str, int]) -> float:
    """Rejects per signal."""
    return counters[Counter.ORDERS_REJECTED] / counters[Counter.SIGNALS]


def test_every_version_is_a_configuration_but_the_broken_one(tmp_path: Path) -> None:
    """Each by a desk of its own; comments are kept."""
    for version in SETTINGS:
        path = config(tmp_path, version)
        if version == BROKEN:
            with pytest.raises(ConfigError, match="no_such_setting"):
                load_config(path)
        else:
            assert load_config(path).desk == f"desk-{version}"
            assert "# at most one decision per symbol in this time" in path.read_text()


def test_a_service_folder_for_each(tmp_path: Path) -> None:
    """Its version, the limits that a release must carry, its settings, and the flag on which they rely, on."""  # D12
    write_fleet(tmp_path)
    releases.write_services(tmp_path, now_ns=1)
    for version in SETTINGS:
        definition = yaml.safe_load((tmp_path / f"service-{version}" / "service.yml").read_text())
        assert definition["version"] == str(version) and definition["limits"].keys() >= {"instruments", "venues", "position_max"}
        flags = [FlagEntry.model_validate(entry) for entry in definition["flags"]]
        FlagLedger(tmp_path / f"service-{version}" / "flags.json").check(flags)
        assert [(flag.id, flag.active, KNOWN[flag.id]) for flag in flags] == [(FLAG, True, MEANING)]
        assert (tmp_path / f"service-{version}" / "config" / "trader.yml").read_text() == config_of(version)


def test_a_setting_that_the_example_does_not_have_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A renamed key would otherwise leave a release as usual as the others."""
    monkeypatch.setattr(releases, "SETTINGS", {NOISY: {"half_spread": "1"}})
    with pytest.raises(KeyError, match="half_spread"):
        config_of(NOISY)


def test_the_usual_release_is_rejected_now_and_then(usual: tuple[dict[str, int], list[int]]) -> None:
    """Often enough for a comparison within half a minute; nothing else goes wrong. Alone in its books more often than among eight."""
    counters, _ = usual
    assert 0.08 < rejects(counters) < 0.2
    assert counters[Counter.SIGNALS] / SECONDS / len(SEEDS) > 4
    assert counters[Counter.ERRORS] == counters[Counter.ORDERS_DENIED] == counters[Counter.ORDERS_UNKNOWN] == 0


def test_the_noisy_release_is_rejected_far_more_often(tmp_path: Path, usual: tuple[dict[str, int], list[int]]) -> None:
    """Alone as beside three usual ones in the same books; and it is at least as busy. Among eight, out of step, it is about threefold."""
    counters, _ = traded(tmp_path, NOISY)
    assert 1.8 < rejects(counters) / rejects(usual[0]) < 4
    assert counters[Counter.SIGNALS] >= usual[0][Counter.SIGNALS]
    settings = [settings_of(config(tmp_path, version)) for version in (NOISY, USUAL, USUAL, USUAL)]
    names: tuple[str, ...] = (Counter.ORDERS_REJECTED, Counter.SIGNALS)
    canary, control = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for seed, (symbol, price) in itertools.product(SEEDS, SYMBOLS.items()):
        trading = Trading(tmp_path / f"four-{symbol}-{seed}", *settings, price=parse_units(price), seed=seed)
        first, *others = trading.run(SECONDS)
        trading.close()
        for name in names:
            canary[name] += first[name]
            control[name] += sum(one[name] for one in others)
    assert 1.8 < rejects(canary) / rejects(control) < 4


def test_the_slow_release_places_its_orders_late(tmp_path: Path, usual: tuple[dict[str, int], list[int]]) -> None:
    """Some of its orders wait for longer than any of the usual release's took."""
    _, slow = traded(tmp_path, SLOW)
    slowest = max(at for at, count in enumerate(usual[1]) if count)
    assert sum(slow[slowest + 1 :]) > sum(slow) / 10


def test_with_the_idle_release_nothing_happens(tmp_path: Path) -> None:
    """An order on each side as it begins; then none, whatever it holds, in a market that moves, and none is executed."""
    trading = Trading(tmp_path, settings_of(config(tmp_path, IDLE)))
    desk = trading.desks["ACC0"]
    held = Fill("x1", "earlier-1", VENUE, SYMBOL, Side.SELL, PRICE, 9 * UNIT)
    desk.rooms.ledger.positions.apply(held)
    sent = desk.rooms.telemetry.counters[Counter.ORDERS_SENT]
    (after,) = trading.run(2 * SECONDS)
    trading.close()
    assert (sent, after[Counter.SIGNALS]) == (3, 0), "the path check's, a bid and an offer"
    assert after[Counter.QUOTES] > SECONDS and after[Counter.FILLS] == after[Counter.ORDERS_REJECTED] == 0


@pytest.mark.lab
@pytest.mark.xdist_group("drill-releases")
def test_real_processes_are_rejected_as_often(tmp_path: Path) -> None:
    """Venue and trader as processes, faster than in the demo: the noisy one beside the usual one, on the same market."""
    feed = {"kind": "generated", "quotes_per_s": 100}
    hosts = {}
    for version in (USUAL, NOISY):
        folder = tmp_path / str(version)
        folder.mkdir()
        venue = VenueProcess(folder, symbols=[{"symbol": SYMBOL}], feed=feed, feed_batch="10ms").start()
        host = HostRoot(folder / "host", ports=venue.doors).write()
        settings = settings_of(config(tmp_path, version)) | {"strategy__requote": "60ms"}
        hosts[version] = (venue, GuardHand(host), TraderProcess(host, **settings).start())
    try:
        for _, hand, _ in hosts.values():
            hand.say(True)
        traders = {version: trader for version, (_, _, trader) in hosts.items()}
        for trader in traders.values():
            trader.when(lambda vitals: vitals.counters[Counter.ORDERS_SENT] > 1)
        until(lambda: all((vitals := one.vitals()) and vitals.counters[Counter.SIGNALS] > 400 for one in traders.values()), 90)
        found = {version: trader.vitals() for version, trader in traders.items()}
        noisy, usual = (found[version] for version in (NOISY, USUAL))
        assert noisy and usual
        assert rejects(noisy.counters) > 1.4 * rejects(usual.counters)
        assert {event["code"] for event in traders[NOISY].events("rejected")} == {"would_trade"}
    finally:
        for venue, hand, trader in hosts.values():
            trader.kill()
            hand.silence()
            venue.stop()
