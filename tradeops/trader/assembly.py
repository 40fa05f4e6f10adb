"""Which rooms there are and how they hang together: one function, one dictionary of events."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tradeops.base.clock import Clock
from tradeops.base.durable import read_bounded
from tradeops.base.errors import TradeopsError, UsageError
from tradeops.contracts.binding import Overlay, Venue
from tradeops.contracts.identity import Identity
from tradeops.contracts.layout import HostLayout
from tradeops.contracts.metrics import flag_hits
from tradeops.contracts.pages import VitalsWriter
from tradeops.trader.brake import Brake
from tradeops.trader.bus import Bus, FeedSaid, FeedSpoke, FeedUp, Looked, SessionDown, SessionUp, VenueSaid
from tradeops.trader.config import Sessions, TraderConfig, ns
from tradeops.trader.engine import Engine
from tradeops.trader.gate.gate import Gate
from tradeops.trader.gate.page import StopWatch
from tradeops.trader.gate.verdict import Verdict
from tradeops.trader.journal import Journal
from tradeops.trader.ledger import Blank, Ledger
from tradeops.trader.mandate import Mandate, load_overlay
from tradeops.trader.market.market import Market
from tradeops.trader.market.offset import FeedOffset
from tradeops.trader.orders.book import Tracked
from tradeops.trader.overlays import OverlayWatch
from tradeops.trader.pace import Pace
from tradeops.trader.pathcheck import PathCheck
from tradeops.trader.placing import Placing
from tradeops.trader.recovery import Recovery
from tradeops.trader.reports import Reports
from tradeops.trader.sessions import FeedLink, OrderLink, Pauses
from tradeops.trader.standing import Standing
from tradeops.trader.telemetry import Telemetry
from tradeops.trader.tenure import Tenure
from tradeops.trader.terms import problems, terms
from tradeops.trader.vitals import VitalsMaker
from tradeops.wire.link import Timeouts
from tradeops.wire.marketdata import FeedClient
from tradeops.wire.session import OrderSession, SessionConfig

SECRET_BYTES_MAX = 64 << 10


class Turns(Protocol):
    """Who decides and writes down after messages came in."""

    def turn(self) -> None:
        """Messages came in."""


@dataclass
class Rooms:
    """All parts of one trader. orders, feeds: the connections, empty until `connect`."""

    clock: Clock
    config: TraderConfig
    mandate: Mandate
    tenure: Tenure
    ledger: Ledger
    gate: Gate
    bus: Bus
    engine: Engine
    placing: Placing
    path: PathCheck
    standing: Standing
    telemetry: Telemetry
    overlays: OverlayWatch
    vitals: VitalsMaker
    page: VitalsWriter
    sessions: dict[str, OrderSession]
    orders: list[OrderLink] = field(default_factory=list)
    feeds: list[FeedLink] = field(default_factory=list)

    def set_overlay(self, overlay: Overlay | None) -> None:
        """Trade on the terms of this overlay from now on."""
        self.placing.terms = terms(self.mandate, self.config, overlay)
        self.engine.on_terms()

    def write_vitals(self, verdict: Verdict) -> None:
        """Publish the vitals now."""
        self.page.write(self.vitals.make(verdict, self.session_states(), self.path.result, self.clock.monotonic_ns()))

    def session_states(self) -> dict[str, str]:
        """Venue -> its order session, venue/feed -> its market data: up, or down and why."""
        return {link.venue: link.status for link in self.orders} | {f"{link.venue}/feed": link.status for link in self.feeds}

    def connect(self, turns: Turns) -> list[OrderLink | FeedLink]:
        """Make the connections; they come up when run."""
        timing = self.config.sessions
        for venue in self.mandate.binding.venues:
            self.orders.append(
                OrderLink(
                    venue.name,
                    self.sessions[venue.name],
                    self.bus,
                    Pauses(timing.retry_first, timing.retry_most),
                    last_heard=_last_heard(self.ledger, venue.name),
                    turn=turns.turn,
                )
            )
            client = FeedClient(venue.market_data, timeouts=_timeouts(timing))
            pauses = Pauses(timing.retry_first, timing.retry_most)
            if self.tenure.writes:
                self.orders[-1].enter()
            self.feeds.append(FeedLink(venue.name, client, self.placing.terms.symbols, self.bus, pauses, self.clock, turn=turns.turn))
        return [*self.orders, *self.feeds]


def assemble(
    layout: HostLayout, config: TraderConfig, mandate: Mandate, identity: Identity, journal: Journal | None, clock: Clock
) -> Rooms:
    """Every room, wired, with the journal replayed and nothing connected. journal: None begins as a standby.

    Raises JournalError, UsageError, OSError.
    """
    host, standing, telemetry = mandate.host.host, Standing(), Telemetry()
    for flag in mandate.release.flags:
        telemetry.count(flag_hits(flag.id), 0)  # told from the start: a path not gone down is another thing than one not counted
    overlays = _overlays(layout, mandate, standing)
    for name, text in problems(mandate, config, overlays.current).items():
        standing.halt(name, text)
    ledger = Ledger(journal or Blank(), clock)
    ledger.replay(journal.replay() if journal else ())
    keeps = all(venue.keep_on_logout for venue in mandate.binding.venues)
    gate = Gate(StopWatch(layout.stop_page, clock, config.gate.patience(), mandate.slot, keeps=keeps))
    sessions = {venue.name: OrderSession(_session(venue, host, layout, config.sessions), clock) for venue in mandate.binding.venues}
    for name, session in sessions.items():
        gate.attach(name, session)
    tenure = Tenure(slot=mandate.slot, folder=layout.data, journal=journal, ledger=ledger, gate=gate, standing=standing)
    markets = _markets(mandate, config)
    on_terms = terms(mandate, config, overlays.current)
    pace = Pace(ns(config.sessions.order_gap))
    placing = Placing(
        ledger=ledger, gate=gate, markets=markets, clock=clock, terms=on_terms, telemetry=telemetry, standing=standing, pace=pace
    )
    engine = Engine(
        placing=placing, ledger=ledger, markets=markets, clock=clock, live_only=mandate.live_only, telemetry=telemetry, standing=standing
    )
    path = PathCheck(engine=engine, placing=placing, ledger=ledger, markets=markets, telemetry=telemetry, standing=standing)
    vitals = VitalsMaker(
        identity=identity,
        gate=gate,
        ledger=ledger,
        markets=markets,
        placing=placing,
        standing=standing,
        telemetry=telemetry,
        tenure=tenure,
    )
    rooms = Rooms(
        clock=clock,
        config=config,
        mandate=mandate,
        tenure=tenure,
        ledger=ledger,
        gate=gate,
        bus=Bus({}),
        engine=engine,
        placing=placing,
        path=path,
        standing=standing,
        telemetry=telemetry,
        overlays=overlays,
        vitals=vitals,
        page=VitalsWriter(layout.vitals_page(mandate.slot)),
        sessions=sessions,
    )
    rooms.bus = wire(rooms)
    return rooms


def wire(rooms: Rooms) -> Bus:
    """Who hears of what, in which order."""
    ledger, gate, engine, path = rooms.ledger, rooms.gate, rooms.engine, rooms.path
    telemetry, standing, host = rooms.telemetry, rooms.standing, rooms.mandate.host.host
    answer_ns = ns(rooms.config.sessions.answer)
    recovery = Recovery(ledger=ledger, gate=gate, telemetry=telemetry, standing=standing, answer_ns=answer_ns)

    def on_end(tracked: Tracked) -> None:
        path.on_end(tracked)
        engine.on_end(tracked)

    def on_taken() -> None:
        recovery.begin()
        engine.on_taken()
        for link in rooms.orders:
            link.enter()

    rooms.tenure.on_taken = on_taken

    reports = Reports(ledger=ledger, telemetry=telemetry, standing=standing, clock=rooms.clock, host=host, on_end=on_end)
    brake = Brake(
        gate=gate, ledger=ledger, placing=rooms.placing, standing=standing, host=host, retry_ns=answer_ns, acknowledged=rooms.write_vitals
    )
    return Bus(
        {
            FeedUp: (engine.on_feed_up,),
            FeedSaid: (engine.on_feed,),
            FeedSpoke: (engine.on_feed_spoke,),
            SessionUp: (engine.on_session_up, brake.on_session_up, recovery.on_session_up),
            SessionDown: (engine.on_session_down, recovery.on_session_down),
            VenueSaid: (reports.on_said,),
            Looked: (brake.on_look, rooms.tenure.on_look, recovery.on_look, path.on_look, engine.on_look),
        }
    )


def _overlays(layout: HostLayout, mandate: Mandate, standing: Standing) -> OverlayWatch:
    """What the slot was switched with, and what the guard took since. One that cannot be believed halts: it might tighten."""
    host = mandate.host
    overlays = OverlayWatch(
        (layout.slot(mandate.slot) / "overlay.json", layout.overlay_file),
        lambda path: load_overlay(path, mandate.policy, fleet=host.fleet, host=host.host),
    )
    try:
        overlays.look()
    except TradeopsError as error:
        standing.halt("overlay", str(error))
    return overlays


def _markets(mandate: Mandate, config: TraderConfig) -> dict[str, Market]:
    references = {instrument.symbol: instrument.reference_price for instrument in mandate.binding.instruments}
    rules = config.market.rules(config.risk.collar_window)
    return {venue.name: Market(references, rules, _offset(config)) for venue in mandate.binding.venues}


def _last_heard(ledger: Ledger, venue: str) -> Callable[[], int]:
    return lambda: ledger.last_heard(venue)


def _offset(config: TraderConfig) -> FeedOffset:
    market = config.market
    return FeedOffset(window_ns=ns(market.offset_window), samples_min=market.offset_samples_min, step_max_ns=ns(market.offset_step_max))


def _timeouts(timing: Sessions) -> Timeouts:
    return Timeouts(connect_s=timing.connect, logon_s=timing.connect, beat_s=timing.beat, silence_s=timing.silence)


def _session(venue: Venue, host: str, layout: HostLayout, timing: Sessions) -> SessionConfig:
    """The session belongs to the host, not to the slot: what one release left working, the next one finds."""
    return SessionConfig(
        url=venue.order_entry,
        session=f"{host}-trader",
        account=venue.account,
        secret=read_secret(layout.root / "etc" / "secrets", venue.secret) if venue.secret else None,
        cancel_on_disconnect=True,
        keep_on_logout=venue.keep_on_logout,
        timeouts=_timeouts(timing),
    )


def read_secret(folder: Path, name: str) -> bytes:
    """The value behind a secret's name: a file of that name, or TRADEOPS_SECRET_NAME of the environment. Raises UsageError."""
    variable = f"TRADEOPS_SECRET_{name.upper().replace('-', '_')}"
    try:
        return read_bounded(folder / Path(name).name, SECRET_BYTES_MAX).strip()
    except (OSError, TradeopsError):
        value = os.environ.get(variable)
    if not value:
        raise UsageError(f"there is no secret {name!r}", where=str(folder), next=f"put it there as a file of mode 0600, or into {variable}")
    return value.encode()
