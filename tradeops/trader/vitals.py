"""The vitals page: everything the trader says about itself, put together by the hot loop."""

from __future__ import annotations

from collections.abc import Mapping

from tradeops.contracts.identity import Identity
from tradeops.contracts.metrics import Gauge
from tradeops.contracts.status import OPEN_ORDERS_MAX, OWN_HALT, OpenOrder, Vitals
from tradeops.contracts.units import PPM, UNIT
from tradeops.trader.gate.gate import Gate
from tradeops.trader.gate.verdict import Verdict
from tradeops.trader.ledger import Ledger
from tradeops.trader.market.market import Market
from tradeops.trader.orders.book import Tracked
from tradeops.trader.placing import Placing
from tradeops.trader.positions import Profit
from tradeops.trader.standing import Standing
from tradeops.trader.telemetry import Telemetry
from tradeops.trader.tenure import Tenure
from tradeops.wire.protocol import AMOUNT_MAX


class VitalsMaker:
    """Reads the rooms; changes nothing but what profit and drawdown are measured from."""

    def __init__(
        self,
        *,
        identity: Identity,
        gate: Gate,
        ledger: Ledger,
        markets: Mapping[str, Market],
        placing: Placing,
        standing: Standing,
        telemetry: Telemetry,
        tenure: Tenure,
    ) -> None:
        self._identity = identity
        self._gate = gate
        self._ledger = ledger
        self._markets = markets
        self._placing = placing
        self._standing = standing
        self._telemetry = telemetry
        self._profit = Profit()
        self._tenure = tenure

    def make(self, verdict: Verdict, sessions: Mapping[str, str], path_check: int, now_ns: int) -> Vitals:
        """The vitals at `now_ns`. sessions: name -> up, or down and why."""
        terms = self._placing.terms
        ages = {venue: age for venue, market in self._markets.items() if (age := market.age_ns(now_ns)) >= 0}
        acknowledged = self._gate.acknowledged
        return Vitals(
            identity=self._with_terms(),
            beat_ns=now_ns,
            state=self._standing.state(verdict),
            ack_epoch=acknowledged.epoch,
            ack_latch=acknowledged.latch,
            send_queue=self._gate.send_queue,
            working=self._ledger.orders.open_count,
            sessions=dict(sessions),
            feed_age_ns=ages,
            positions={symbol: held for symbol, held in self._ledger.positions.quantities().items() if abs(held) <= AMOUNT_MAX},
            counters=self._counters(),
            gauges=self._gauges(verdict, path_check),
            histograms=self._telemetry.histograms(),
            limits=dict(terms.limits.values),
            warnings=(*self._telemetry.warnings, *(f"{OWN_HALT}{name}: {text}" for name, text in self._standing.reasons.items())),
            writes=self._tenure.writes,
            token=self._tenure.token,
            unanswered=self._ledger.orders.unanswered,
            open_orders=open_orders(verdict, self._tenure, self._standing, self._ledger),
        )

    def _counters(self) -> dict[str, int]:
        """The common names, and denials and bad quotes by their kind."""
        counters = dict(self._telemetry.counters)
        counters |= {f"orders_denied_{code.value}_total": n for code, n in self._placing.denied.items()}
        for market in self._markets.values():
            for fault, n in market.faults.items():
                name = f"quotes_invalid_{fault.value}_total"
                counters[name] = counters.get(name, 0) + n
        return counters

    def _with_terms(self) -> Identity:
        terms, identity = self._placing.terms, self._identity
        return Identity(
            service=identity.service,
            release=identity.release,
            binding=identity.binding,
            overlay=terms.overlay_number,
            slot=identity.slot,
            pid=identity.pid,
            start_ticks=identity.start_ticks,
            started_wall_ns=identity.started_wall_ns,
            flags=dict(terms.flags),
        )

    def _gauges(self, verdict: Verdict, path_check: int) -> dict[str, float]:
        marks: dict[str, int] = {}
        for market in self._markets.values():
            marks |= market.marks()
        totals = self._ledger.positions.totals(marks)
        gauges = {
            Gauge.WORKING_ORDERS.value: float(self._ledger.orders.open_count),
            Gauge.GROSS_NOTIONAL.value: totals.gross / UNIT,
            Gauge.NET_NOTIONAL.value: totals.net / UNIT,
            Gauge.TRADING.value: float(self._standing.may_place(verdict)),
            Gauge.FLOW_CAP.value: self._placing.flow.cap_ppm / PPM,
            Gauge.PATH_CHECK.value: float(path_check),
        }
        if totals.marked:
            pnl, drawdown = self._profit.since_start(totals.pnl)
            gauges |= {Gauge.PNL.value: pnl / UNIT, Gauge.DRAWDOWN.value: drawdown / UNIT}
        return gauges


def open_orders(verdict: Verdict, tenure: Tenure, standing: Standing, ledger: Ledger) -> tuple[OpenOrder, ...] | None:
    """What a standby would take over, as the journal tells it: said while orders are kept for one."""
    kept = verdict.words is not None and verdict.words.narrowing.keep_orders
    if not kept or tenure.writes or standing.reasons or ledger.orders.open_count > OPEN_ORDERS_MAX:
        return None
    return tuple(_told(tracked) for tracked in ledger.orders.open())


def _told(tracked: Tracked) -> OpenOrder:
    order = tracked.order
    return OpenOrder(order.venue, order.id, order.symbol, order.side.value, order.price, order.quantity, tracked.filled)
