"""Names of the metrics that hosts export; gates and dashboards ask for these and no others."""

from __future__ import annotations

from enum import StrEnum

PREFIX = "tradeops_"
IDENTITY_LABELS = ("host", "release", "slot")


class Counter(StrEnum):
    """Only ever rise within one process."""

    QUOTES = "quotes_total"
    QUOTES_INVALID = "quotes_invalid_total"
    SIGNALS = "signals_total"
    ORDERS_SENT = "orders_sent_total"
    ORDERS_DENIED = "orders_denied_total"
    ORDERS_REJECTED = "orders_rejected_total"
    ORDERS_UNKNOWN = "orders_unknown_total"
    CANCELS_SENT = "cancels_sent_total"
    FILLS = "fills_total"
    SIGNALS_CAPPED = "signals_capped_total"
    ORDERS_WITHHELD = "orders_withheld_total"
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
    """The share of decisions that this trader takes: the tighter of the overlay's cap and a run's; 1 without either (D08)."""
    PATH_CHECK = "path_check"
    """1: passed on every venue since start. 0: not yet, for want of a permit, a session or a quote. -1: failed (D17)."""


class Latency(StrEnum):
    """Histograms in seconds."""

    ORDER_PLACEMENT = "order_placement_latency_seconds"
    QUOTE_TO_SEND = "quote_to_send_latency_seconds"
