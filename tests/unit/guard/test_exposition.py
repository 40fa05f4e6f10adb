"""Prometheus text: names, labels, histograms, and nothing invented where nothing is known."""

from __future__ import annotations

import msgspec

from tradeops.contracts.identity import Identity
from tradeops.contracts.status import STATUS_SCHEMA, Histogram, Status, Vitals
from tradeops.guard.exposition import exposition

IDENTITY = Identity("trader", "sha256:r", "sha256:b", 0, "blue", 1, 2, 3_500_000_000)
VITALS = Vitals(
    IDENTITY,
    0,
    "ready",
    0,
    0,
    0,
    2,
    {},
    {"sim": 1_500_000_000},
    {},
    {"signals_total": 7, "order_notional_total": 2_500_000_000, "orders_denied_tick_total": 1},
    {"pnl": -0.5},
    {"order_placement_latency_seconds": Histogram((0.001, 0.01), (3, 2, 1), 0.25)},
    {},
)
STATUS = Status(STATUS_SCHEMA, 'ho"st', "f", True, (), "p1", VITALS, 20.0, 1, False, False, 2, "", 0, 1, 1, 0)

GOLDEN = r"""# HELP tradeops_feed_age_seconds Age of the oldest feed's newest word, now.
# TYPE tradeops_feed_age_seconds gauge
tradeops_feed_age_seconds{L} 1.52
# HELP tradeops_pnl Profit since the start of the process, realised and not, at the last valid quotes; absent while a held symbol has none.
# TYPE tradeops_pnl gauge
tradeops_pnl{L} -0.5
# HELP tradeops_process_start_time_seconds When the process started, by its host's clock.
# TYPE tradeops_process_start_time_seconds gauge
tradeops_process_start_time_seconds{L} 3.5
# HELP tradeops_trading 1: a permit, no mark, a living trader.
# TYPE tradeops_trading gauge
tradeops_trading{L} 1
# HELP tradeops_vitals_age_seconds Age of what the trader says here.
# TYPE tradeops_vitals_age_seconds gauge
tradeops_vitals_age_seconds{L} 0.02
# HELP tradeops_working_orders Working orders, by drop copy where it is known.
# TYPE tradeops_working_orders gauge
tradeops_working_orders{L} 2
# HELP tradeops_order_notional_total Price times quantity of the orders handed to a venue's session.
# TYPE tradeops_order_notional_total counter
tradeops_order_notional_total{L} 2.5
# HELP tradeops_orders_denied_tick_total Orders that own risk checks refused; by control in the orders_denied_CONTROL_total series.
# TYPE tradeops_orders_denied_tick_total counter
tradeops_orders_denied_tick_total{L} 1
# HELP tradeops_signals_total Parents and signals taken in: the exposure that rates are taken over.
# TYPE tradeops_signals_total counter
tradeops_signals_total{L} 7
# HELP tradeops_order_placement_latency_seconds From an order's being wanted to the venue's first word that it has it.
# TYPE tradeops_order_placement_latency_seconds histogram
tradeops_order_placement_latency_seconds_bucket{L,le="0.001"} 3
tradeops_order_placement_latency_seconds_bucket{L,le="0.01"} 5
tradeops_order_placement_latency_seconds_bucket{L,le="+Inf"} 6
tradeops_order_placement_latency_seconds_sum{L} 0.25
tradeops_order_placement_latency_seconds_count{L} 6
"""


def test_the_text_is_as_prometheus_reads_it() -> None:
    """Written by hand from the format's description."""
    labels = r'host="ho\"st",release="sha256:r",slot="blue"'
    assert exposition(STATUS) == GOLDEN.replace("L,le", f"{labels},le").replace("{L}", f"{{{labels}}}")


def test_a_standby_has_series_of_its_own() -> None:
    """The same names under the label of its slot, each type told once; what works is not its, and it does not trade."""
    beside = msgspec.structs.replace(
        VITALS,
        identity=msgspec.structs.replace(IDENTITY, slot="green", release="sha256:new"),
        counters={"orders_withheld_total": 3},
        working=0,
    )
    text = exposition(msgspec.structs.replace(STATUS, standby=beside, standby_age_ms=40.0))
    own, other = r'host="ho\"st",release="sha256:r",slot="blue"', r'host="ho\"st",release="sha256:new",slot="green"'
    assert f"# TYPE tradeops_trading gauge\ntradeops_trading{{{own}}} 1\ntradeops_trading{{{other}}} 0\n" in text
    assert f"tradeops_orders_withheld_total{{{other}}} 3\n" in text and f"orders_withheld_total{{{own}}}" not in text
    assert f"tradeops_vitals_age_seconds{{{other}}} 0.04\n" in text and f"tradeops_working_orders{{{other}}}" not in text
    types = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types))


def test_without_vitals_there_is_only_what_the_guard_knows() -> None:
    """A missing series is no zero."""  # D11
    text = exposition(msgspec.structs.replace(STATUS, vitals=None, vitals_age_ms=None, working=None, trading=False))
    assert [line.split("{")[0] for line in text.splitlines() if not line.startswith("#")] == ["tradeops_trading"]
