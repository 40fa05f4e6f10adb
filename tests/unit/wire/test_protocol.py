"""Golden bytes of the protocol, written by hand from PROTOCOL.md, and what a decoder refuses."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tradeops.wire.auth import proof, proved
from tradeops.wire.marketdata import FeedUp, QuoteBatch, QuoteRow, Source, Subscribed, SymbolStates, TradeBatch, TradeRow, decode_frame
from tradeops.wire.protocol import (
    CancelAll,
    CancelOrder,
    ChangeOrder,
    DropDown,
    DropUp,
    ExecKind,
    ExecutionReport,
    Logon,
    Logout,
    NewOrder,
    OrdersDown,
    OrdersUp,
    Role,
    Side,
    Tags,
    Tif,
    frame,
)

TAGS = Tags(strategy="quoter", release="sha256:ab", host="host-1", desk="desk-1")
TAGS_JSON = '"tags":{"strategy":"quoter","release":"sha256:ab","host":"host-1","desk":"desk-1"}'
NEW_JSON = '{"t":"new","client_id":"c1","symbol":"ABC","side":"buy","qty":10000000000,"price":100000000000,' + TAGS_JSON + "}"
GOLDEN: list[tuple[msgspec.Struct, str]] = [
    (
        Logon(session="host-1", account="acc-1", cancel_on_disconnect=True, last_seq=0, heartbeat_ms=500, role=Role.CANCEL_ONLY),
        '{"t":"logon","session":"host-1","account":"acc-1","cancel_on_disconnect":true,"role":"cancel_only","last_seq":0,"heartbeat_ms":500}',
    ),
    (
        Logon(session="host-1", account="acc-1", cancel_on_disconnect=True, keep_on_logout=True),
        '{"t":"logon","session":"host-1","account":"acc-1","cancel_on_disconnect":true,"keep_on_logout":true}',
    ),
    (Logout(), '{"t":"logout"}'),
    (NewOrder(client_id="c1", symbol="ABC", side=Side.BUY, qty=10_000_000_000, price=100_000_000_000, tags=TAGS), NEW_JSON),
    (
        NewOrder(client_id="c1", symbol="ABC", side=Side.SELL, qty=1, price=2, tags=TAGS, tif=Tif.GTC, post_only=True),
        '{"t":"new","client_id":"c1","symbol":"ABC","side":"sell","qty":1,"price":2,' + TAGS_JSON + ',"tif":"gtc","post_only":true}',
    ),
    (
        ChangeOrder(client_id="c2", orig_client_id="c1", qty=5, price=6, tags=TAGS),
        '{"t":"change","client_id":"c2","orig_client_id":"c1","qty":5,"price":6,' + TAGS_JSON + "}",
    ),
    (CancelOrder(client_id="x1", orig_client_id="c1"), '{"t":"cancel","client_id":"x1","orig_client_id":"c1"}'),
    (CancelAll(request_id="r1", hosts=("host-1",)), '{"t":"cancel_all","request_id":"r1","hosts":["host-1"]}'),
]


@pytest.mark.parametrize(("message", "text"), GOLDEN)
def test_messages_have_the_bytes_that_are_written_down(message: msgspec.Struct, text: str) -> None:
    """Encoded as by hand, and read back the same."""
    assert msgspec.json.encode(message) == text.encode()
    assert msgspec.json.decode(text, type=OrdersUp) == message
    assert json.loads(frame(7, text.encode())) == [7, json.loads(text)]


def test_a_report_is_read_with_unknown_fields_passed_over() -> None:
    """A newer venue may say more."""
    text = (
        '{"t":"report","kind":"fill","client_id":"c1","venue_id":"V1","symbol":"ABC","side":"buy","qty":10,"price":5,'
        + TAGS_JSON
        + ',"exchange_ns":1700000000000000001,"cumulative_qty":10,"last_qty":10,"last_price":5,"trade_id":"T1","fresh":{"x":[1]}}'
    )
    report = msgspec.json.decode(text, type=OrdersDown)
    assert isinstance(report, ExecutionReport)
    assert (report.kind, report.leaves_qty, report.trade_id, report.tags) == (ExecKind.FILL, 0, "T1", TAGS)


def _without(*path: str) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(NEW_JSON)
    at = message
    for name in path[:-1]:
        at = at[name]
    del at[path[-1]]
    return message


# K09
@pytest.mark.parametrize(
    "bad",
    [
        *(_without("tags", name) for name in ("strategy", "release", "host", "desk")),
        _without("tags"),
        *({**json.loads(NEW_JSON), "qty": qty} for qty in (0, -1, 1.5, "1", 1 << 63, None)),
        *({**json.loads(NEW_JSON), "price": price} for price in (0, -1, 1e30)),
        *({**json.loads(NEW_JSON), "client_id": name} for name in ("", "a b", "ä", "x" * 101, 7)),
        {**json.loads(NEW_JSON), "side": "both"},
        {**json.loads(NEW_JSON), "tif": "for_ever"},
        {**json.loads(NEW_JSON), "t": "newer"},
        {**json.loads(NEW_JSON), "tags": {"strategy": "", "release": "r", "host": "h", "desk": "d"}},
    ],
)
def test_orders_that_are_not_whole_are_refused(bad: dict[str, Any]) -> None:
    """A missing or empty tag, an impossible quantity or price, a name that is none."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps(bad), type=OrdersUp)


def test_market_data_rows_are_arrays() -> None:
    """As PROTOCOL.md writes them."""
    quotes = '[3,{"t":"quotes","sent_ns":9,"rows":[[0,100,5,101,6,8],[1,0,0,0,0,8]]}]'
    assert decode_frame(quotes.encode()) == (3, QuoteBatch(sent_ns=9, rows=[QuoteRow(0, 100, 5, 101, 6, 8), QuoteRow(1, 0, 0, 0, 0, 8)]))
    trades = '[4,{"t":"trades","sent_ns":9,"rows":[[0,100,5,"sell",8]]}]'
    assert decode_frame(trades.encode()) == (4, TradeBatch(sent_ns=9, rows=[TradeRow(0, 100, 5, Side.SELL, 8)]))
    states = '[5,{"t":"states","sent_ns":9,"states":{"1":"halted"}}]'
    assert decode_frame(states.encode()) == (5, SymbolStates(sent_ns=9, states={1: "halted"}))  # type: ignore[dict-item]  # a StrEnum equals its text
    assert json.loads(msgspec.json.encode(Subscribed(venue="sim", source=Source.REPLAY, symbols=("ABC",), venue_ns=1))) == {
        "t": "subscribed", "venue": "sim", "source": "replay", "symbols": ["ABC"], "venue_ns": 1,
    }  # fmt: skip


@pytest.mark.parametrize("kind", [OrdersUp, OrdersDown, DropUp, DropDown, FeedUp])
def test_every_direction_can_be_decoded(kind: Any) -> None:
    """Each union has distinct tags, and a heartbeat is in all of them."""
    assert msgspec.json.decode(b'[0,{"t":"heartbeat"}]', type=tuple[int, kind])[1] == msgspec.json.decode(b'{"t":"heartbeat"}', type=kind)


def test_the_proof_is_a_plain_hmac() -> None:
    """The expected bytes were computed with `openssl dgst -sha256 -hmac`."""
    golden = "66f53245c4a7bbc5f919466c0a81fffec16e7d2f7f77970705ef962a3604b7bd"
    words = {"session": "host-1", "account": "acc-1"}
    assert proof(b"sesame", **words, time_ns=1_700_000_000_000_000_000) == golden
    assert proved(b"sesame", golden, **words, time_ns=1_700_000_000_000_000_000)
    assert not proved(b"sesame", golden, **words, time_ns=1_700_000_000_000_000_001)
    assert not proved(b"other", golden, **words, time_ns=1_700_000_000_000_000_000)
