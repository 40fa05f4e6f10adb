"""A trader's host in a folder, and a trader's rooms without sockets: real parts, with a session that keeps what is sent."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tradeops.base.clock import Clock, SystemClock, VirtualClock
from tradeops.base.digest import digest_bytes
from tradeops.contracts.binding import BINDING_SCHEMA, OVERLAY_SCHEMA, Binding, Instrument, Overlay, Venue
from tradeops.contracts.codec import encode
from tradeops.contracts.directive import SCHEMA as DIRECTIVE_SCHEMA
from tradeops.contracts.directive import Directive, Scope, Verb
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.flags import meaning_digest
from tradeops.contracts.host import SCHEMA as HOST_SCHEMA
from tradeops.contracts.host import HostFile
from tradeops.contracts.identity import Identity
from tradeops.contracts.layout import HostLayout
from tradeops.contracts.manifest import PREDICATE_TYPE, STATEMENT_TYPE, Flag, Limits, Manifest, Release, Start
from tradeops.contracts.pages import Narrowing, StopPage, Token, pack_latch
from tradeops.contracts.policy import SCHEMA as POLICY_SCHEMA
from tradeops.contracts.policy import VERBS, Person, Policy
from tradeops.contracts.signature import RunKey
from tradeops.contracts.units import UNIT
from tradeops.trader import assembly
from tradeops.trader.bus import FeedSaid, FeedUp, Looked, SessionUp, VenueSaid
from tradeops.trader.config import load_config
from tradeops.trader.flags import KNOWN, LEAN_TO_MEAN
from tradeops.trader.journal import Journal
from tradeops.trader.mandate import load_mandate
from tradeops.wire.link import Queued
from tradeops.wire.marketdata import QuoteBatch, QuoteRow, Source, Subscribed
from tradeops.wire.protocol import (
    CancelAll,
    CancelOrder,
    Code,
    ExecKind,
    ExecutionReport,
    LoggedOn,
    NewOrder,
    OrderState,
    OrderStatus,
    QueryOrder,
)
from tradeops.wire.session import Answer, Opened, OrderSession, Received, SessionConfig

EXAMPLE = Path(assembly.__file__).with_name("example.yml")
HOST, FLEET, SLOT, SYMBOL, VENUE = "host-1", "lab", "blue", "ACME", "sim"
KEY = RunKey.from_private_bytes(bytes(range(32)))
STRANGER = RunKey.from_private_bytes(bytes(32))
PRICE = 100 * UNIT
TICK = UNIT // 100
LIMITS = Limits(
    instruments=(SYMBOL, "GLOBEX"),
    venues=(VENUE,),
    order_quantity_max=10 * UNIT,
    order_price_max=1000 * UNIT,
    order_value_max=10_000 * UNIT,
    order_count_max=20,
    order_rate_per_s_max=100,
    position_max=100 * UNIT,
)
MEAN_FLAG = Flag(LEAN_TO_MEAN, meaning_digest(KNOWN[LEAN_TO_MEAN]), on=True)
BUDGETS = {"gross_notional": 100_000 * UNIT}


def signed(body: bytes, purpose: Purpose, *keys: RunKey) -> bytes:
    """An envelope's JSON, signed by `keys` or by the one that the policy knows."""
    return msgspec.json.encode(Envelope.of(body, *(key.sign(body, purpose) for key in keys or (KEY,))))


def overlay_file(overlay: Overlay, *keys: RunKey, verb: Verb = Verb.OVERLAY, hosts: tuple[str, ...] = (HOST,)) -> bytes:
    """The directive that carries an overlay, as a guard or an operator leaves it."""
    args = {"overlay": msgspec.to_builtins(overlay)}
    directive = Directive(DIRECTIVE_SCHEMA, f"overlay-{overlay.number}", verb, FLEET, hosts, "test", 0, 1, args=args)
    return signed(encode(directive), Purpose.DIRECTIVE, *keys)


def overlay(number: int = 1, **changes: Any) -> Overlay:
    """An overlay with this number."""
    return Overlay(OVERLAY_SCHEMA, FLEET, number, **changes)


@dataclass
class HostRoot:
    """A host's folder with a signed release and binding in slot blue, a halted stop page, and no trader."""

    root: Path
    release: Release = field(
        default_factory=lambda: Release("trader", "1.0.0", 1, (), Start(("{python}",)), None, LIMITS, (MEAN_FLAG,), journal_writes=1)
    )
    budgets: dict[str, int] = field(default_factory=lambda: dict(BUDGETS))
    environment: str = "staging"
    ports: tuple[int, int, int] = (1, 1, 1)
    reference_price: int = PRICE
    symbol: str = SYMBOL
    tick: int = TICK
    lot: int = UNIT
    secret: str = ""
    keep_on_logout: bool = False
    clock: Clock = field(default_factory=SystemClock)
    venues: tuple[Venue, ...] = ()

    @property
    def layout(self) -> HostLayout:
        """Its paths."""
        return HostLayout(self.root)

    def write(self) -> HostRoot:
        """Make the folder. The stop page is made once and stays."""
        layout = self.layout
        for folder in (layout.host_file.parent, layout.stop_page.parent, layout.vitals_page(SLOT).parent, layout.data, layout.slot(SLOT)):
            folder.mkdir(parents=True, exist_ok=True)
        host = HostFile(HOST_SCHEMA, HOST, FLEET, "trader", "systemd", {SLOT: "trader"}, "guard", "python3", "127.0.0.1", 1)
        layout.host_file.write_bytes(msgspec.json.encode(host))
        policy = Policy(POLICY_SCHEMA, FLEET, 1, (Person("operator-1", (KEY.public_line,), ("all",)),), {"all": VERBS})
        layout.policy_file.write_bytes(signed(encode(policy), Purpose.POLICY))
        self.write_release()
        (layout.slot(SLOT) / "binding.json").write_bytes(signed(encode(self.binding()), Purpose.BINDING))
        if not layout.stop_page.exists():
            StopPage.create(layout.stop_page)
        return self

    def write_release(self, *keys: RunKey, release: Release | None = None, slot: str = SLOT) -> Path:
        """Write the release's manifest and point the slot at it; its folder."""
        body = encode(Manifest(STATEMENT_TYPE, (), PREDICATE_TYPE, release or self.release))
        folder = self.layout.release(digest_bytes(body))
        (folder / "tree").mkdir(parents=True, exist_ok=True)
        (folder / "release.json").write_bytes(signed(body, Purpose.RELEASE, *keys))
        link = self.layout.slot(slot) / "current"
        link.unlink(missing_ok=True)
        link.symlink_to(folder)
        return folder

    def fill_slot(self, slot: str, release: Release | None = None) -> None:
        """The same binding in another slot, with a release of its own (none: the same)."""
        folder = self.layout.slot(slot)
        folder.mkdir(parents=True, exist_ok=True)
        target = self.write_release(release=release or self.release, slot=slot)
        (folder / "binding.json").write_bytes((self.layout.slot(SLOT) / "binding.json").read_bytes())
        assert (folder / "current").resolve() == target.resolve()

    def binding(self) -> Binding:
        """This host's binding."""
        orders, feed, drop = (f"ws://127.0.0.1:{port}" for port in self.ports)
        instrument = Instrument(self.symbol, self.tick, self.lot, self.reference_price, self.clock.wall_ns())
        venues = self.venues or (Venue(VENUE, orders, feed, drop, "ACC", self.secret, self.keep_on_logout),)
        return Binding(BINDING_SCHEMA, FLEET, self.environment, HOST, "trader", venues, (instrument,), self.budgets)


def write_config(path: Path, **changes: Any) -> Path:
    """The example configuration with `section__key=value` changed."""
    config = yaml.safe_load(EXAMPLE.read_text())
    for name, value in changes.items():
        section, _, key = name.partition("__")
        if key:
            config[section][key] = value
        else:
            config[section] = value
    path.write_text(yaml.safe_dump(config))
    return path


class Permit:
    """Acts as the guard: writes the stop page of a host."""

    def __init__(self, layout: HostLayout, clock: Clock) -> None:
        self.page = StopPage(layout.stop_page, writable=True)
        self.epoch = 1
        self.may_send = False
        self.narrowing = Narrowing()
        self.generation = 0
        self.token = Token(0, SLOT)
        self._clock = clock

    def beat(self) -> None:
        """Say again what was said, as of now."""
        self.page.write(
            epoch=self.epoch,
            may_send=self.may_send,
            beat_ns=self._clock.monotonic_ns(),
            latch_cleared=0,
            scope_generation=self.generation,
            narrowing=self.narrowing,
            token=self.token,
            durable=False,
        )

    def say(self, may_send: bool, *scopes: Scope, flow_cap_ppm: int | None = None, keep_orders: bool = False) -> None:
        """Say something new."""
        self.may_send, self.narrowing = may_send, Narrowing(scopes, flow_cap_ppm, keep_orders)
        self.epoch += 1
        self.generation += 1
        self.beat()


def raise_latch(layout: HostLayout, latch: int = 1) -> None:
    """Acts as the agent: writes its word."""
    fd = os.open(layout.stop_page, os.O_RDWR)
    try:
        os.pwrite(fd, pack_latch(latch), 64)
    finally:
        os.close(fd)


class MemorySession(OrderSession):
    """A session without a socket: what is sent goes through the same last look, then into `sent`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(SessionConfig("ws://127.0.0.1:1", "s", "ACC"), clock)
        self.sent: list[NewOrder | CancelOrder | CancelAll | QueryOrder] = []
        self.queue: list[Queued] = []
        self.held = False
        self.down = False

    @property
    def is_open(self) -> bool:
        return not self.down

    @property
    def send_queue(self) -> int:
        return sum(len(item.body) for item in self.queue)

    def transmit(self, item: Queued, *, always: bool = False) -> None:
        if self.down:
            self._open_link()
        self.queue.append(item)
        if not self.held:
            self.release()

    def release(self) -> None:
        """Write what is queued, each with its last look."""
        queue, self.queue = self.queue, []
        for item in queue:
            if item.still_allowed is None or item.still_allowed():
                self.sent.append(msgspec.json.decode(item.body, type=NewOrder | CancelOrder | CancelAll | QueryOrder))
            elif item.withheld is not None:
                item.withheld()

    def orders(self) -> list[NewOrder]:
        """New orders that left."""
        return [message for message in self.sent if isinstance(message, NewOrder)]


class Desk:
    """A whole trader without sockets, on a virtual clock, with a guard's hand on the stop page."""

    def __init__(self, host: HostRoot, clock: VirtualClock, *, slot: str = SLOT, beside: Desk | None = None, **changes: Any) -> None:
        """beside: the writer of this host, whose guard's hand is on this one's page too; this one begins as a standby."""
        self.clock = clock
        self.layout = host.layout
        self.host = host
        config = load_config(write_config(host.root / "trader.yml", **changes))
        mandate = load_mandate(host.layout, slot, expected_release="", expected_binding="")
        identity = Identity("trader", mandate.release_id, mandate.binding_id, 0, slot, os.getpid(), 1, clock.wall_ns())
        journal = None if beside else Journal(host.layout.data)
        self.rooms = assembly.assemble(host.layout, config, mandate, identity, journal, clock)
        self.sessions: dict[str, MemorySession] = {}
        for venue in mandate.binding.venues:
            self.sessions[venue.name] = MemorySession(clock)
            self.rooms.gate.attach(venue.name, self.sessions[venue.name])
        self.session = self.sessions[mandate.binding.venues[0].name]
        self.guard: Permit = beside.guard if beside else Permit(host.layout, clock)
        self.seq = 0

    @property
    def journal(self) -> Journal:
        """The one that it holds."""
        assert self.rooms.tenure.journal is not None
        return self.rooms.tenure.journal

    def look(self, advance_ms: float = 10) -> None:
        """Time passes, the guard beats, the loop turns."""
        self.clock.advance_ns(int(advance_ms * 1_000_000))
        self.guard.beat()
        self.stare()

    def stare(self) -> None:
        """The loop turns with the page as it is."""
        verdict = self.rooms.gate.look()
        self.rooms.bus.publish(Looked(verdict, self.clock.monotonic_ns()))
        self.rooms.ledger.commit()

    def log_on(self, *, forgotten: bool = False, missed: int = 0) -> None:
        """The order session comes up."""
        opened = Opened(LoggedOn(session="s", venue=VENUE, expected_seq=1, last_seq=0, venue_ns=0), missed, forgotten)
        self.rooms.bus.publish(SessionUp(VENUE, opened))

    def subscribe(self, source: Source = Source.GENERATED) -> None:
        """The feed comes up."""
        symbol = self.host.symbol
        self.rooms.bus.publish(FeedUp(VENUE, Subscribed(venue=VENUE, source=source, symbols=(symbol,), venue_ns=0)))

    def quote(self, bid: int = PRICE - TICK, ask: int = PRICE + TICK, late_ms: float = 0) -> None:
        """A quote arrives, `late_ms` after it arose."""
        exchange_ns = self.clock.wall_ns() - int(late_ms * 1_000_000)
        row = QuoteRow(0, bid, 10 * UNIT, ask, 10 * UNIT, exchange_ns)
        batch = QuoteBatch(sent_ns=self.clock.wall_ns(), rows=[row])
        self.rooms.bus.publish(FeedSaid(VENUE, batch, self.clock.monotonic_ns()))

    def quotes(self, count: int = 12) -> None:
        """Enough quotes to know the feed's clock."""
        for _ in range(count):
            self.clock.advance_ns(1_000_000)
            self.quote()

    def say(self, message: Answer) -> None:
        """The venue says something."""
        self.seq += 1
        self.rooms.bus.publish(VenueSaid(VENUE, Received(self.seq, message)))

    def report(
        self, order: NewOrder, kind: ExecKind, *, cumulative: int = 0, last: int = 0, code: Code = Code.NONE, **changes: Any
    ) -> None:
        """The venue reports on an order."""
        report = ExecutionReport(
            kind=kind,
            client_id=order.client_id,
            venue_id="v1",
            symbol=order.symbol,
            side=order.side,
            qty=order.qty,
            price=order.price,
            tags=order.tags,
            exchange_ns=0,
            cumulative_qty=cumulative,
            leaves_qty=max(0, order.qty - cumulative),
            last_qty=last,
            last_price=order.price if last else 0,
            trade_id="t1" if last else "",
            code=code,
        )
        self.say(msgspec.structs.replace(report, **changes))

    def status(self, order_id: str, state: OrderState, *, cumulative: int = 0, price: int = 0) -> None:
        """The venue answers a query."""
        self.say(OrderStatus(request_id="q", client_id=order_id, state=state, cumulative_qty=cumulative, price=price))

    def permit(self) -> None:
        """The guard permits, and the loop has seen it."""
        self.guard.say(True)
        self.look()

    def open_path(self) -> None:
        """Connected, quoted, permitted, and the path check passed: it trades with the next decision."""
        self.log_on()
        self.subscribe()
        self.quotes()
        self.permit()
        (check,) = self.session.orders()
        self.report(check, ExecKind.NEW)
        self.report(check, ExecKind.CANCELLED, code=Code.IOC_REST)
        self.session.sent.clear()

    def trade(self) -> list[NewOrder]:
        """Trading, with a bid and an offer working."""
        self.open_path()
        self.quote()
        self.look()
        orders = self.session.orders()
        for order in orders:
            self.report(order, ExecKind.NEW)
        return orders

    def close(self) -> None:
        """Let go of the journal."""
        self.rooms.tenure.close()
