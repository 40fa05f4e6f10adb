"""Messages between a venue and its members, as PROTOCOL.md beside this file describes them.

A frame is a JSON array `[seq, message]`; seq 0 means outside the sequence. Prices, quantities: integers in 1e-9 units.
Times: nanoseconds since the Unix epoch. Structs are checked when decoded; unknown fields are passed over.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

AMOUNT_MAX: Final = (1 << 63) - 1
FRAME_BYTES_MAX: Final = 4 << 20
PATH_ORDERS: Final = "/v1/orders"
PATH_MARKET_DATA: Final = "/v1/market-data"
PATH_DROP_COPY: Final = "/v1/drop-copy"

Amount = Annotated[int, Meta(ge=1, le=AMOUNT_MAX)]
"""A price or a quantity, never zero or less."""
AmountOrZero = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[!-~]+$")]
"""Ids, symbols, tags: printable ASCII without spaces."""
NameOrEmpty = Annotated[str, Meta(max_length=100, pattern=r"^[!-~]*$")]
Text = Annotated[str, Meta(max_length=500)]
Names = Annotated[tuple[Name, ...], Meta(max_length=10_000)]


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "buy"
    SELL = "sell"


class Tif(StrEnum):
    """How long an order stands. day: until cancelled or disconnected.  gtc: outlives a disconnect.  ioc: now or never."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"


class Role(StrEnum):
    """What a session may do: enter and cancel, or cancel and query alone (guards, operators)."""

    TRADE = "trade"
    CANCEL_ONLY = "cancel_only"


class ExecKind(StrEnum):
    """What an execution report says."""

    NEW = "new"
    CHANGED = "changed"
    PARTIAL = "partial"
    FILL = "fill"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class OrderState(StrEnum):
    """Where an order stands at the venue. unknown: the venue never saw it."""

    WORKING = "working"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class Code(StrEnum):
    """Why a venue said no, or why an order was cancelled."""

    NONE = ""
    REQUESTED = "requested"
    MASS_CANCEL = "mass_cancel"
    DISCONNECTED = "disconnected"
    SELF_TRADE = "self_trade"
    IOC_REST = "ioc_rest"
    DUPLICATE_CLIENT_ID = "duplicate_client_id"
    UNKNOWN_ORDER = "unknown_order"
    TOO_LATE = "too_late"
    UNKNOWN_SYMBOL = "unknown_symbol"
    BAD_TICK = "bad_tick"
    BAD_LOT = "bad_lot"
    WOULD_TRADE = "would_trade"
    HALTED = "halted"
    NOT_ALLOWED = "not_allowed"
    BAD_MESSAGE = "bad_message"
    BAD_SEQUENCE = "bad_sequence"
    BAD_PROOF = "bad_proof"
    SESSION_IN_USE = "session_in_use"
    NOT_LOGGED_ON = "not_logged_on"
    REFUSED = "refused"


class Tags(msgspec.Struct, frozen=True):
    """Who is behind an order (K09): carried by every order and given back in every report."""

    strategy: Name
    release: Name
    host: Name
    desk: Name


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t"):
    """Base of every message; the field `t` says which it is."""


# -- both ways ---------------------------------------------------------------------------------------------------


class Logon(Message, frozen=True, kw_only=True, tag="logon"):
    """First message of an order entry session.

    cancel_on_disconnect: when the connection is lost.  keep_on_logout: what works outlives an orderly logout all the same; refused
    where the venue does not offer it.
    last_seq: the last venue message this session has; what follows it is sent again. -1: nothing old is wanted.
    heartbeat_ms: how often either side speaks at least; three times as long without a word ends the session.
    time_ns, proof: see wire/auth.py; needed when the venue holds a secret for the account.
    """

    session: Name
    account: Name
    cancel_on_disconnect: bool = False
    keep_on_logout: bool = False
    role: Role = Role.TRADE
    last_seq: Annotated[int, Meta(ge=-1, le=AMOUNT_MAX)] = -1
    heartbeat_ms: Annotated[int, Meta(ge=10, le=600_000)] = 1000
    time_ns: AmountOrZero = 0
    proof: NameOrEmpty = ""


class LoggedOn(Message, frozen=True, kw_only=True, tag="logged_on"):
    """The venue's yes. expected_seq: the next sequence number it takes from the client: all below have reached it.

    last_seq: the last number it has given to a message of this session; first_seq: the first that it can still resend.
    """

    session: Name
    venue: Name
    expected_seq: Amount
    last_seq: AmountOrZero
    first_seq: Amount = 1
    venue_ns: AmountOrZero


class LogonRefused(Message, frozen=True, kw_only=True, tag="logon_refused"):
    """The venue's no; it closes the connection."""

    code: Code
    text: Text = ""


class Logout(Message, frozen=True, kw_only=True, tag="logout"):
    """The member's last word: it leaves in order."""


class LoggedOut(Message, frozen=True, kw_only=True, tag="logged_out"):
    """The venue's answer, and its own last word. kept: orders of the session that go on working."""

    kept: AmountOrZero = 0


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Nothing else to say. last_seq: the sender's last sequence number, so that a lost last message is missed too."""

    last_seq: AmountOrZero = 0


class Resend(Message, frozen=True, kw_only=True, tag="resend"):
    """Client to venue: send the messages from `first` to `last` again, under their old numbers."""

    first: Amount
    last: Amount


class Notice(Message, frozen=True, kw_only=True, tag="notice"):
    """Venue to client: a message it could not take. ref_seq: that message's number, 0 when it had none."""

    code: Code
    ref_seq: AmountOrZero = 0
    text: Text = ""


# -- order entry, client to venue --------------------------------------------------------------------------------


class NewOrder(Message, frozen=True, kw_only=True, tag="new"):
    """A limit order. client_id: unique per account for ever. post_only: rejected rather than trade at once."""

    client_id: Name
    symbol: Name
    side: Side
    qty: Amount
    price: Amount
    tags: Tags
    tif: Tif = Tif.DAY
    post_only: bool = False


class ChangeOrder(Message, frozen=True, kw_only=True, tag="change"):
    """Another quantity (whole order, filled part included) or price for a working order, which takes the new client_id.

    Less quantity at the same price keeps the place in the queue; anything else loses it.
    """

    client_id: Name
    orig_client_id: Name
    qty: Amount
    price: Amount
    tags: Tags


class CancelOrder(Message, frozen=True, kw_only=True, tag="cancel"):
    """Take back one working order. client_id: of the cancel itself."""

    client_id: Name
    orig_client_id: Name


class CancelAll(Message, frozen=True, kw_only=True, tag="cancel_all"):
    """Take back every working order that each non-empty list names; all lists empty: all of the account.

    account: empty for the session's own; another's only where the venue lets this account oversee it, `*` for all those.
    """

    request_id: Name
    account: NameOrEmpty = ""
    symbols: Names = ()
    strategies: Names = ()
    hosts: Names = ()


class QueryOrder(Message, frozen=True, kw_only=True, tag="query"):
    """What became of an order? Answered by OrderStatus, also when the venue never saw it."""

    request_id: Name
    client_id: Name


# -- order entry, venue to client --------------------------------------------------------------------------------


class ExecutionReport(Message, frozen=True, kw_only=True, tag="report"):
    """Something happened to an order. last_*: of this fill. leaves_qty: still working. trade_id: same on both sides.

    orig_client_id: with changed, the id before. request_id: with cancelled, the cancel's client id or the cancel-all's.
    """

    kind: ExecKind
    client_id: Name
    venue_id: NameOrEmpty
    symbol: Name
    side: Side
    qty: Amount
    price: Amount
    tags: Tags
    exchange_ns: AmountOrZero
    cumulative_qty: AmountOrZero = 0
    leaves_qty: AmountOrZero = 0
    last_qty: AmountOrZero = 0
    last_price: AmountOrZero = 0
    trade_id: NameOrEmpty = ""
    orig_client_id: NameOrEmpty = ""
    request_id: NameOrEmpty = ""
    tif: Tif = Tif.DAY
    code: Code = Code.NONE
    text: Text = ""


class CancelRejected(Message, frozen=True, kw_only=True, tag="cancel_rejected"):
    """A cancel or change was not done; the order stands as it was. code too_late: it is no longer working."""

    client_id: Name
    orig_client_id: Name
    code: Code
    text: Text = ""


class CancelAllDone(Message, frozen=True, kw_only=True, tag="cancel_all_done"):
    """End of a cancel-all. refused: client ids that the venue will not cancel now. Lost ones are in neither number."""

    request_id: Name
    cancelled: AmountOrZero
    refused: Names = ()
    code: Code = Code.NONE
    text: Text = ""


class OrderStatus(Message, frozen=True, kw_only=True, tag="status"):
    """Answer to QueryOrder. state unknown: no such client id ever reached the venue."""

    request_id: Name
    client_id: Name
    state: OrderState
    venue_id: NameOrEmpty = ""
    symbol: NameOrEmpty = ""
    side: Side | None = None
    qty: AmountOrZero = 0
    price: AmountOrZero = 0
    cumulative_qty: AmountOrZero = 0
    leaves_qty: AmountOrZero = 0


# -- drop copy ---------------------------------------------------------------------------------------------------


class DropLogon(Message, frozen=True, kw_only=True, tag="drop_logon"):
    """First message of a drop copy session. accounts: empty for its own alone.

    after_report: also send the reports with a higher number than this that the venue still has; -1: none.
    """

    session: Name
    account: Name
    accounts: Names = ()
    after_report: Annotated[int, Meta(ge=-1, le=AMOUNT_MAX)] = -1
    heartbeat_ms: Annotated[int, Meta(ge=10, le=600_000)] = 1000
    time_ns: AmountOrZero = 0
    proof: NameOrEmpty = ""


class WorkingOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that is working at the venue."""

    venue_id: Name
    client_id: Name
    account: Name
    session: Name
    symbol: Name
    side: Side
    qty: Amount
    price: Amount
    cumulative_qty: AmountOrZero
    leaves_qty: Amount
    tif: Tif
    tags: Tags


class SnapshotRequest(Message, frozen=True, kw_only=True, tag="snapshot_request"):
    """Ask for the working orders as they are when the venue reads this."""

    request_id: Name


class DropSnapshot(Message, frozen=True, kw_only=True, tag="drop_snapshot"):
    """A piece of the working orders; `last` ends it. report: the reports up to this number are in it.

    request_id: of the SnapshotRequest, empty for the one after the logon.
    """

    orders: tuple[WorkingOrder, ...]
    last: bool
    report: AmountOrZero
    request_id: NameOrEmpty = ""


class DropReport(Message, frozen=True, kw_only=True, tag="drop_report"):
    """A copy of an execution report. number: rises by order of events at the venue. old: it is before the snapshot."""

    number: Amount
    account: Name
    session: Name
    report: ExecutionReport
    old: bool = False


OrdersUp: TypeAlias = Logon | Logout | Heartbeat | Resend | NewOrder | ChangeOrder | CancelOrder | CancelAll | QueryOrder
OrdersDown: TypeAlias = (
    LoggedOn | LogonRefused | LoggedOut | Heartbeat | Notice | ExecutionReport | CancelRejected | CancelAllDone | OrderStatus
)
DropUp: TypeAlias = DropLogon | Heartbeat | SnapshotRequest
DropDown: TypeAlias = LoggedOn | LogonRefused | Heartbeat | Notice | DropSnapshot | DropReport


def frame(seq: int, body: bytes) -> bytes:
    """A frame around an encoded message."""
    return b"[%d,%b]" % (seq, body)
