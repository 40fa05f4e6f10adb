"""Names of the metrics that hosts export; gates and dashboards ask for these and no others.

Every series is labelled with host, release and slot. Counters count since the start of the process, which `process_start_time_seconds`
tells: who takes differences sees a restart by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

PREFIX = "tradeops_"
IDENTITY_LABELS = ("host", "release", "slot")


class Counter(StrEnum):
    """Only ever rise within one process."""

    QUOTES = "quotes_total"
    QUOTES_INVALID = "quotes_invalid_total"
    SIGNALS = "signals_total"
    SIGNALS_CAPPED = "signals_capped_total"
    ORDERS_SENT = "orders_sent_total"
    ORDER_NOTIONAL = "order_notional_total"
    ORDERS_DENIED = "orders_denied_total"
    ORDERS_REJECTED = "orders_rejected_total"
    ORDERS_UNKNOWN = "orders_unknown_total"
    ORDERS_WITHHELD = "orders_withheld_total"
    CANCELS_SENT = "cancels_sent_total"
    FILLS = "fills_total"
    DECISIONS = "decisions_total"
    DECISIONS_COMPARED = "decisions_compared_total"
    DECISIONS_DIFFERENT = "decisions_different_total"
    PATH_CHECKS_PASSED = "path_checks_passed_total"
    PATH_CHECKS_FAILED = "path_checks_failed_total"
    ERRORS = "errors_total"


def flag_hits(flag: str) -> str:
    """The counter of how often the path behind a flag was gone down. flag: its id, in which no underscore stands."""
    return f"flag_hits_{flag.replace('-', '_')}_total"


class Gauge(StrEnum):
    """May go both ways."""

    WORKING_ORDERS = "working_orders"
    GROSS_NOTIONAL = "gross_notional"
    NET_NOTIONAL = "net_notional"
    PNL = "pnl"
    DRAWDOWN = "drawdown"
    FEED_AGE_S = "feed_age_seconds"
    VITALS_AGE_S = "vitals_age_seconds"
    STARTED_AT_S = "process_start_time_seconds"
    TRADING = "trading"
    FLOW_CAP = "flow_cap_ratio"
    PATH_CHECK = "path_check"


class Latency(StrEnum):
    """Histograms in seconds."""

    ORDER_PLACEMENT = "order_placement_latency_seconds"
    QUOTE_TO_SEND = "quote_to_send_latency_seconds"


LATENCY_UPPER_S: Final = (
    *(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.75, 1.0, 2.0, 5.0),
)
"""Upper edges of the latency buckets, in seconds; a last one is open. Releases are compared bucket by bucket: another set of edges
makes a canary incomparable with its control."""

HELP: Final[Mapping[str, str]] = {
    Counter.QUOTES: "Quotes that were believed.",
    Counter.QUOTES_INVALID: "Quotes that were not believed; by reason in the quotes_invalid_REASON_total series.",
    Counter.SIGNALS: "Parents and signals taken in: the exposure that rates are taken over.",
    Counter.SIGNALS_CAPPED: "Signals left to others by a cap on the flow.",
    Counter.ORDERS_SENT: "Orders handed to a venue's session.",
    Counter.ORDER_NOTIONAL: "Price times quantity of the orders handed to a venue's session.",
    Counter.ORDERS_DENIED: "Orders that own risk checks refused; by control in the orders_denied_CONTROL_total series.",
    Counter.ORDERS_REJECTED: "Orders that a venue refused.",
    Counter.ORDERS_UNKNOWN: "Orders without an answer in time, asked about.",
    Counter.ORDERS_WITHHELD: "Orders that the gate kept: they never left.",
    Counter.CANCELS_SENT: "Cancels handed to a venue's session.",
    Counter.FILLS: "Executions.",
    Counter.DECISIONS: "Sides of symbols that were decided on, whatever was wanted there.",
    Counter.DECISIONS_COMPARED: "Sides of symbols on which a standby was held against the slot that trades.",
    Counter.DECISIONS_DIFFERENT: "Those that stayed apart for longer than a moment.",
    Counter.PATH_CHECKS_PASSED: "Order round trips that cannot trade, passed.",
    Counter.PATH_CHECKS_FAILED: "Order round trips that cannot trade, failed.",
    Counter.ERRORS: "Breaks, surprises and notices of venues.",
    Gauge.WORKING_ORDERS: "Working orders, by drop copy where it is known.",
    Gauge.GROSS_NOTIONAL: "Absolute value of all positions at their marks.",
    Gauge.NET_NOTIONAL: "Signed value of all positions at their marks.",
    Gauge.PNL: "Profit since the start of the process, realised and not, at the last valid quotes; absent while a held symbol has none.",
    Gauge.DRAWDOWN: "How far the profit is below its highest since the start of the process; absent with the profit.",
    Gauge.FEED_AGE_S: "Age of the oldest feed's newest word, now.",
    Gauge.VITALS_AGE_S: "Age of what the trader says here.",
    Gauge.STARTED_AT_S: "When the process started, by its host's clock.",
    Gauge.TRADING: "1: a permit, no mark, a living trader.",
    Gauge.FLOW_CAP: "Share of decisions that are taken: the tighter of the overlay's cap and a run's.",
    Gauge.PATH_CHECK: "1: passed on every venue since start. 0: not yet, for want of a permit, a session or a quote. -1: failed.",
    Latency.ORDER_PLACEMENT: "From an order's being wanted to the venue's first word that it has it.",
    Latency.QUOTE_TO_SEND: "From a quote's receipt to the sending of the order that it led to.",
}


def help_of(name: str) -> str:
    """What a metric says, in words; of `orders_denied_tick_total`, what its family says."""
    families = (known for known in HELP if known.endswith("_total") and name.startswith(known.removesuffix("_total") + "_"))
    return HELP.get(name) or HELP.get(max(families, key=len, default=""), name)
