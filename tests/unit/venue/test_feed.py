"""Generated and replayed prices: seeded, paced by the clock that is handed in, and real orders in real books."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.venue import COIN, order
from tradeops.base.clock import NS_PER_S, VirtualClock
from tradeops.base.errors import UsageError
from tradeops.venue.config import GeneratedFeed, ReplayFeed
from tradeops.venue.engine import Exchange, Print, Symbol
from tradeops.venue.faults import Faults
from tradeops.venue.feed import GENERATED_ROWS_PER_TURN, MOVES_PER_TURN_MAX, Generated, Replay, Top
from tradeops.wire.marketdata import Source
from tradeops.wire.protocol import ExecKind, ExecutionReport, Side

CENT = COIN // 100
NONE: frozenset[str] = frozenset()


def exchange(*names: str) -> Exchange:
    return Exchange([Symbol(name, CENT, COIN // 1000, 100 * COIN) for name in names or ("ABC",)], faults=Faults())


def generated(seed: int = 1, seconds: int = 5, quotes_per_s: int = 20) -> tuple[Exchange, list[Top]]:
    clock, floor = VirtualClock(), exchange("ABC", "XYZ")
    feed = Generated(floor, GeneratedFeed(quotes_per_s=quotes_per_s), seed, clock)
    tops = list(feed.turn(NONE).tops)
    for _ in range(seconds * 10):
        clock.advance_ns(NS_PER_S // 10)
        tops += feed.turn(NONE).tops
    return floor, tops


def test_the_same_seed_gives_the_same_prices_and_another_seed_others() -> None:
    """Seeded per symbol."""
    assert generated(1)[1] == generated(1)[1]
    assert generated(1)[1] != generated(2)[1]


def test_the_rate_is_as_configured_and_quotes_are_never_crossed() -> None:
    """20 a second and symbol for five seconds, one at once; prices on the tick, bid below ask."""
    floor, tops = generated()
    assert len(tops) == 2 * (20 * 5 + 1)
    assert all(0 < top.bid < top.ask and top.bid_qty and top.ask_qty and top.bid % CENT == top.ask % CENT == 0 for top in tops)
    assert len({top.bid for top in tops}) > 5
    assert len(floor.books["ABC"].orders) <= 6, "the makers take back what they replace"


def test_a_high_rate_repeats_the_top_instead_of_moving_more() -> None:
    """Load without cost: moves per turn are bounded, quotes are not."""
    _, tops = generated(seconds=1, quotes_per_s=10_000)
    assert len(tops) == 2 * 10_001
    assert len({(top.symbol, top.bid, top.ask, top.bid_qty, top.ask_qty) for top in tops}) <= 2 * 11 * MOVES_PER_TURN_MAX


def test_a_long_pause_is_not_made_up_for() -> None:
    """A stopped process comes back with a second's worth of quotes, not an hour's."""
    clock, floor = VirtualClock(), exchange()
    feed = Generated(floor, GeneratedFeed(), 1, clock)
    clock.advance_ns(3600 * NS_PER_S)
    assert len(feed.turn(NONE).tops) == 20
    assert feed.turn(NONE).tops == []


def test_a_stall_at_a_high_rate_does_not_end_in_a_burst_that_cuts_members_off() -> None:
    """A turn has a bounded number of rows, over all symbols."""
    clock, floor = VirtualClock(), exchange("ABC", "XYZ")
    feed = Generated(floor, GeneratedFeed(quotes_per_s=1_000_000), 1, clock)
    clock.advance_ns(NS_PER_S)
    assert len(feed.turn(NONE).tops) == GENERATED_ROWS_PER_TURN


def test_members_orders_trade_with_the_makers_and_with_the_takers() -> None:
    """An order across the spread fills at once; one that waits at the best price is met sooner or later."""
    clock, floor = VirtualClock(), exchange()
    feed = Generated(floor, GeneratedFeed(spread_ticks=20, trade_ppm=500_000), 1, clock)
    feed.turn(NONE)
    routed = floor.new("acc-1", "s1", order("c1", Side.BUY, 1, "101.00"), 1)
    assert [one.message.kind for one in routed if isinstance(one.message, ExecutionReport)][-1] in (ExecKind.FILL, ExecKind.PARTIAL)
    floor.new("acc-1", "s1", order("c2", Side.SELL, 1, "100.00"), 2)
    told = []
    for _ in range(300):
        clock.advance_ns(NS_PER_S // 10)
        told += feed.turn(NONE).routed
    assert {one.message.client_id for one in told if isinstance(one.message, ExecutionReport)} <= {"c1", "c2"}
    assert not floor.working


def test_takers_trade_with_the_makers_when_no_member_is_there() -> None:
    """The tape is never empty for long."""
    clock, floor = VirtualClock(), exchange()
    prints: list[Print] = []
    floor.on_print = prints.append
    feed = Generated(floor, GeneratedFeed(trade_ppm=1_000_000), 1, clock)
    feed.turn(NONE)
    assert len(prints) >= 1 and all(one.qty > 0 for one in prints)


def test_halted_symbols_do_not_move() -> None:
    """R19: the makers stay away too."""
    clock, floor = VirtualClock(), exchange("ABC", "XYZ")
    feed = Generated(floor, GeneratedFeed(), 1, clock)
    assert {top.symbol for top in feed.turn(frozenset({"ABC"})).tops} == {"XYZ"}


QUOTE = '{"stream":"abc@bookTicker","data":{"e":"bookTicker","s":"ABC","b":"%s","B":"1.5","a":"%s","A":"2","E":%d}}'
TRADE = '{"stream":"abc@trade","data":{"e":"trade","s":"ABC","p":"100.01","q":"0.5","m":true,"E":%d}}'


def recording(folder: Path, *extra: str) -> Path:
    """Three quotes a second apart and a trade; the exchange's clock is 1.2 s ahead of the recorder's."""
    base_ms = 1_723_161_255_000
    lines = [f"{(base_ms + 1000 * n) * 1_000_000} {QUOTE % (f'100.0{n}', f'100.1{n}', base_ms + 1000 * n + 1200)}" for n in range(3)]
    lines.append(f"{(base_ms + 2500) * 1_000_000} {TRADE % (base_ms + 3700)}")
    path = folder / "recorded.txt"
    path.write_text("\n".join([*lines, *extra]) + "\n")
    return path


def test_a_recording_is_replayed_at_its_own_pace_with_its_clock_offset(tmp_path: Path) -> None:
    """Rebased to now, the exchange's clock stays 1.2 s ahead of ours."""
    clock, floor = VirtualClock(), exchange()
    feed = Replay(floor, ReplayFeed(kind="replay", file=recording(tmp_path)), clock)
    assert (feed.source, feed.paced) == (Source.REPLAY, True)
    now_ns = clock.wall_ns()
    turn = feed.turn(NONE)
    assert turn is not None and [(top.bid, top.exchange_ns - now_ns) for top in turn.tops] == [(100 * COIN, 1_200_000_000)]
    assert floor.books["ABC"].best(Side.SELL) == (100 * COIN + 10 * CENT, 2 * COIN)
    clock.advance_ns(3 * NS_PER_S)
    turn = feed.turn(NONE)
    assert turn is not None and len(turn.tops) == 2 and [(one.price, one.side) for one in turn.trades] == [(100 * COIN + CENT, Side.SELL)]
    assert feed.turn(NONE) is None


def test_a_replay_can_run_unpaced_cut_short_and_not_rebased(tmp_path: Path) -> None:
    """Speed 0 gives all at once, with the recorded times; only as many messages as asked for."""
    feed = Replay(
        exchange(), ReplayFeed(kind="replay", file=recording(tmp_path), speed_ppm=0, rebase=False, messages_max=2), VirtualClock()
    )
    turn = feed.turn(NONE)
    assert turn is not None and [top.exchange_ns for top in turn.tops] == [1_723_161_256_200_000_000, 1_723_161_257_200_000_000]
    assert feed.turn(NONE) is None and not feed.paced


def test_members_trade_against_the_recorded_prices(tmp_path: Path) -> None:
    """The recorded best bid is a real order in the book."""
    floor = exchange()
    Replay(floor, ReplayFeed(kind="replay", file=recording(tmp_path)), VirtualClock()).turn(NONE)
    routed = floor.new("acc-1", "s1", order("c1", Side.SELL, 1, "100.00"), 1)
    assert [one.message.kind for one in routed if isinstance(one.message, ExecutionReport)] == [ExecKind.NEW, ExecKind.FILL]


def test_a_damaged_recording_says_which_line(tmp_path: Path) -> None:
    """The good lines come; then the error names file and line."""
    path = recording(tmp_path, "no time at all")
    feed = Replay(exchange(), ReplayFeed(kind="replay", file=path, speed_ppm=0), VirtualClock())
    with pytest.raises(UsageError, match=r"recorded.txt:5"):
        feed.turn(NONE)
