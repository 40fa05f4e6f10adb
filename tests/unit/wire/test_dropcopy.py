"""The drop copy client: a view that is whole or not there, and what became of orders (K08)."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.support.venue import COIN, TAGS, order, place, run, running, until
from tests.unit.wire.test_session import HELLO, Script, peer, says
from tradeops.base.clock import SystemClock
from tradeops.contracts.directive import OrderOutcomes, Scope
from tradeops.wire.cancel import outcomes
from tradeops.wire.dropcopy import DropCopyClient, DropCopyConfig, WorkingView
from tradeops.wire.errors import BadMessage, LogonRejected, SessionLost
from tradeops.wire.link import Timeouts
from tradeops.wire.protocol import Code, DropReport, DropSnapshot, ExecKind, ExecutionReport, Side, Tif, WorkingOrder

SHORT = Timeouts(connect_s=2.0, logon_s=0.3, beat_s=0.05, silence_s=0.3, close_s=0.2)
EMPTY = '[%d,{"t":"drop_snapshot","orders":[],"last":true,"report":%d}]'


def working(number: int, leaves: int = 10) -> WorkingOrder:
    return WorkingOrder(
        venue_id=f"V{number}", client_id=f"c{number}", account="a", session="s", symbol="ABC", side=Side.BUY, qty=10, price=5,
        cumulative_qty=10 - leaves, leaves_qty=leaves, tif=Tif.DAY, tags=TAGS,
    )  # fmt: skip


def told(number: int, kind: ExecKind, order_number: int, leaves: int, **more: bool) -> DropReport:
    report = ExecutionReport(
        kind=kind, client_id=f"c{order_number}", venue_id=f"V{order_number}", symbol="ABC", side=Side.BUY, qty=10, price=5, tags=TAGS,
        exchange_ns=1, cumulative_qty=10 - leaves, leaves_qty=leaves,
    )  # fmt: skip
    return DropReport(number=number, account="a", session="s", report=report, **more)


def snapshot(*orders: WorkingOrder, last: bool = True, report: int = 0) -> DropSnapshot:
    return DropSnapshot(orders=orders, last=last, report=report)


def test_the_view_follows_snapshot_and_reports() -> None:
    """New, partly filled, filled, cancelled; pieces count only when the last is there."""
    view = WorkingView()
    assert not view.snapshot(snapshot(working(1), last=False, report=5)) and view.orders == {}
    assert view.snapshot(snapshot(working(2), report=5)) and set(view.orders) == {"V1", "V2"}
    view.apply(told(6, ExecKind.NEW, 3, 10))
    view.apply(told(7, ExecKind.PARTIAL, 1, 4))
    assert view.orders["V1"].leaves_qty == 4 and set(view.orders) == {"V1", "V2", "V3"}
    view.apply(told(8, ExecKind.FILL, 1, 0))
    view.apply(told(9, ExecKind.CANCELLED, 2, 0))
    view.apply(told(10, ExecKind.REJECTED, 4, 0))
    assert set(view.orders) == {"V3"}


def test_reports_that_a_snapshot_holds_change_nothing() -> None:
    """Old ones, and numbers at or below the snapshot's."""
    view = WorkingView()
    view.snapshot(snapshot(report=7))
    view.apply(told(7, ExecKind.NEW, 1, 10))
    view.apply(told(9, ExecKind.NEW, 2, 10, old=True))
    assert view.orders == {} and view.report == 7


def test_a_fresh_snapshot_replaces_what_reports_had_left() -> None:
    """A hidden fill: the snapshot tells the truth."""
    view = WorkingView()
    view.snapshot(snapshot())
    view.apply(told(1, ExecKind.NEW, 1, 10))
    view.snapshot(snapshot(report=2))
    assert view.orders == {}


# K08
def test_outcomes_follow_the_drop_copy_and_not_the_cancels_answer() -> None:
    """cancelled, filled, rejected, unknown, each where it belongs; no view: what has no end is not known."""
    before = [working(n) for n in range(1, 6)]
    reports = [told(1, ExecKind.CANCELLED, 1, 0), told(2, ExecKind.FILL, 2, 0), told(3, ExecKind.PARTIAL, 3, 4)]
    after = {"V3": working(3), "V4": working(4)}
    result = outcomes(before, after, reports, refused=["c4"])
    assert (result.cancelled, result.filled, result.rejected, result.unknown) == (("V1",), ("V2",), ("V4",), ("V3", "V5"))
    assert result.counts() == OrderOutcomes(1, 1, 1, 2)
    assert outcomes(before, None, reports).counts() == OrderOutcomes(1, 1, 0, 3)
    contradicted = outcomes([working(1)], {"V1": working(1)}, reports)
    assert contradicted.unknown == ("V1",), "said to be cancelled and still shown as working"


def test_the_view_can_be_narrowed_and_is_none_when_not_whole() -> None:
    """By scope and host tag; before the snapshot and after a loss there is no view, which is not an empty one."""

    async def story() -> None:
        async with running() as venue:
            session, copy = venue.session(), venue.drop_copy()
            await session.connect()
            other = msgspec.structs.replace(TAGS, strategy="other", host="host-2")
            await place(session, order("c1"), order("c2", symbol="XYZ", price="50.00", tags=other))
            assert copy.working_orders() is None
            await copy.connect()
            assert copy.working_orders() is None and not copy.ready
            await copy.receive()
            view = copy.working_orders
            assert len(view() or ()) == 2
            assert [one.client_id for one in (view(Scope(symbols=("XYZ",))) or {}).values()] == ["c2"]
            assert [one.client_id for one in (view(Scope(strategies=("quoter",)), hosts=("host-1",)) or {}).values()] == ["c1"]
            assert view(Scope(venues=("elsewhere",)), venue="sim") == {}
            await venue.control("POST", "/v1/disconnect", {"doors": ["drop_copy"]})
            with pytest.raises(SessionLost):
                await copy.receive()
            assert copy.working_orders() is None
            with pytest.raises(SessionLost):
                await copy.snapshot(timeout_s=1)

    run(story())


def test_what_was_missed_comes_marked_old() -> None:
    """A fill while the drop copy was away is given at the next logon, before the snapshot."""

    async def story() -> None:
        async with running() as venue:
            session, other, copy = venue.session(), venue.session("s2", "acc-2"), venue.drop_copy()
            for one in (session, other):
                await one.connect()
            await copy.connect()
            await copy.receive()
            await place(session, order("c1", qty=5))
            await copy.receive()
            seen = copy.last_report
            await copy.close()
            await place(other, order("c1", Side.SELL, 5))
            await session.receive()
            await copy.connect(after_report=seen)
            fill = await copy.receive()
            assert isinstance(fill, DropReport) and fill.old and (fill.report.kind, fill.report.last_qty) == (ExecKind.FILL, 5 * COIN)
            assert isinstance(await copy.receive(), DropSnapshot) and copy.working_orders() == {}

    run(story())


def client(url: str) -> DropCopyClient:
    return DropCopyClient(DropCopyConfig(url, "d1", "acc-1", timeouts=SHORT), SystemClock())


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (says(), SessionLost),
        (says("nonsense"), BadMessage),
        (says('[0,{"t":"heartbeat"}]'), BadMessage),
        (says('[0,{"t":"logon_refused","code":"not_allowed"}]'), LogonRejected),
    ],
)
def test_a_logon_that_goes_wrong(script: Script, error: type[Exception]) -> None:
    """Silent, nonsense, something else, refused."""

    async def story() -> None:
        async with peer(script) as url:
            with pytest.raises(error):
                await client(url).connect()

    run(story())


@pytest.mark.parametrize(
    "frames",
    [[EMPTY % (2, 0)], [EMPTY % (1, 0), '[0,{"t":"heartbeat","last_seq":4}]'], [EMPTY % (1, 0), EMPTY % (1, 0)], [EMPTY % (1, 0), "x"]],
)
def test_a_hole_in_the_frames_ends_the_view(frames: list[str]) -> None:
    """First frame missing, last frame missing, one twice, nonsense: connect again rather than believe."""

    async def story() -> None:
        async with peer(says(HELLO % (1, 0, 1), *frames)) as url:
            copy = client(url)
            await copy.connect()
            with pytest.raises((SessionLost, BadMessage)):
                while True:
                    await copy.receive()
            assert not copy.ready and copy.working_orders() is None

    run(story())


def test_a_snapshot_that_does_not_come_is_not_known() -> None:
    """The venue is mute: an error within the deadline, not a zero."""

    async def story() -> None:
        async with running() as venue:
            copy = venue.drop_copy()
            await copy.connect()
            await copy.receive()
            await venue.control("POST", "/v1/faults", {"kind": "mute"})
            with pytest.raises(SessionLost, match="no snapshot"):
                await copy.snapshot(timeout_s=0.1)
            asked = asyncio.create_task(copy.snapshot(timeout_s=5))
            await asyncio.sleep(0)
            await copy.close()
            with pytest.raises(SessionLost, match="closed"):
                await asked
            await until(lambda: not venue.venue.floor.drop_copy.watchers)

    run(story())


def test_refusals_keep_their_code() -> None:
    """Accounts that are not overseen."""

    async def story() -> None:
        async with running() as venue:
            with pytest.raises(LogonRejected) as refused:
                await venue.drop_copy(accounts=("acc-2",)).connect()
            assert refused.value.code == Code.NOT_ALLOWED

    run(story())
