"""State and page in step: what is lost, what comes in between, what the disk refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from tests.support.venue import run
from tradeops.base.clock import NS_PER_S, VirtualClock
from tradeops.contracts.directive import Scope
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.pages import StopPage, Token, pack_latch
from tradeops.contracts.status import Mark, MarkKind
from tradeops.guard import marks
from tradeops.guard.admit import Refusal
from tradeops.guard.marks import Decision
from tradeops.guard.memory import Memory, words_of
from tradeops.guard.state import Permit, State, Store
from tradeops.guard.stop import StopKeeper, Words

PERMIT = Permit("p1", 1, ("operator-1", "risk-1"), "enrolled", Envelope("", ()))


def memory(folder: Path, clock: VirtualClock | None = None) -> Memory:
    """As a guard that starts."""
    made = Memory(Store(folder / "state.json"), StopKeeper(folder / "stop.page"), clock or VirtualClock())
    made.boot()
    return made


def armed(folder: Path) -> Memory:
    """With a permit on the disk and in the page."""

    async def story() -> Memory:
        made = memory(folder)
        keeper = asyncio.create_task(made.keep())
        await made.add(lambda state: Decision(replace(state, permit=PERMIT, marks=())))
        assert await made.durable(5) and made.stop.words.may_send
        keeper.cancel()
        return made

    return run(story())


def again(before: Memory, folder: Path) -> Memory:
    """The guard dies without a word, another starts."""
    before.stop.close()
    return memory(folder)


def test_a_permit_outlives_a_restart_under_a_higher_epoch(tmp_path: Path) -> None:
    """The same meaning, a new epoch."""  # K06
    before = armed(tmp_path)
    after = again(before, tmp_path)
    assert after.stop.words.may_send and after.stop.epoch > before.stop.epoch


def test_a_stop_that_did_not_reach_the_disk_is_seen_in_the_page(tmp_path: Path) -> None:
    """Killed right after the page and before the state: the next guard finds a page that the state does not explain."""  # K06
    before = armed(tmp_path)
    before.reduce(marks.kill(before.state, Mark(MarkKind.KILL, "k1", "operator-1", "x", 1), 1, before.now()))
    after = again(before, tmp_path)
    assert not after.stop.words.may_send and after.state.permit is None
    assert "does not say why" in after.state.marks[-1].reason


def test_a_permit_that_did_not_reach_the_page_is_taken_up(tmp_path: Path) -> None:
    """The state was written first: a guard that starts after that may go on with it."""
    made = memory(tmp_path)
    made.store.save(replace(made.state, permit=PERMIT, marks=(), epoch=made.stop.epoch + 1))
    assert again(made, tmp_path).stop.words.may_send


def test_a_kill_that_comes_while_a_permit_is_being_written_wins(tmp_path: Path) -> None:
    """The permit is judged again after the disk, and refused; what is on the disk in the end is the kill."""  # K07

    async def story() -> None:
        made = memory(tmp_path)
        keeper = asyncio.create_task(made.keep())

        def permit(state: State) -> Decision:
            if marks.kills(state):
                raise Refusal("kill_not_named", "a kill stands")
            return Decision(replace(state, permit=PERMIT, marks=()))

        adding = asyncio.create_task(made.add(permit))
        await asyncio.sleep(0)
        while not made._saving.locked():
            await asyncio.sleep(0)
        made.reduce(marks.kill(made.state, Mark(MarkKind.KILL, "k1", "operator-1", "x", 1), 1, made.now()))
        with pytest.raises(Refusal):
            await adding
        assert await made.durable(5) and not made.stop.words.may_send
        keeper.cancel()
        on_disk = Store(tmp_path / "state.json").load().state
        assert on_disk is not None and on_disk.permit is None and marks.kills(on_disk)

    run(story())


def test_what_cannot_be_written_is_not_permitted_but_stops(tmp_path: Path) -> None:
    """The folder is gone: a permit is refused, a kill is in force and retried until it is durable."""  # A03

    async def story() -> None:
        folder = tmp_path / "guard"
        folder.mkdir()
        made = Memory(Store(folder / "state.json"), StopKeeper(tmp_path / "stop.page"), VirtualClock())
        made.boot()
        folder.rename(tmp_path / "away")
        with pytest.raises(Refusal) as refusal:
            await made.add(lambda state: Decision(replace(state, permit=PERMIT, marks=())))
        assert refusal.value.code == "not_durable" and not made.stop.words.may_send
        made.reduce(marks.kill(made.state, Mark(MarkKind.KILL, "k1", "operator-1", "x", 1), 1, made.now()))
        keeper = asyncio.create_task(made.keep())
        assert not await made.durable(0.05) and "state" in made.problems
        (tmp_path / "away").rename(folder)
        assert await made.durable(5) and "state" not in made.problems
        keeper.cancel()

    run(story())


class _PageSeen(StopKeeper):
    """Counts what it brings to the disk."""

    synced = 0

    def sync(self) -> None:
        """Also count."""
        super().sync()
        self.synced += 1


def test_a_kill_on_a_full_disk_is_durable_in_the_page(tmp_path: Path) -> None:
    """The state cannot be saved; the page is brought to the disk all the same, and the next guard stays stopped by it."""  # K06

    async def story() -> None:
        folder = tmp_path / "guard"
        folder.mkdir()
        made = Memory(Store(folder / "state.json"), page := _PageSeen(tmp_path / "stop.page"), VirtualClock())
        made.boot()
        folder.rename(tmp_path / "away")
        made.reduce(marks.kill(made.state, Mark(MarkKind.KILL, "k1", "operator-1", "x", 1), 1, made.now()))
        keeper = asyncio.create_task(made.keep())
        assert not await made.durable(0.05) and "state" in made.problems and page.synced > 0
        keeper.cancel()

    run(story())


def test_a_damaged_page_at_the_start_ends_the_permit(tmp_path: Path) -> None:
    """Missing, short, altered while the guard was away."""  # K06
    for harm in (Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"\xff" * 4096)):
        (tmp_path / "state.json").unlink(missing_ok=True)
        (tmp_path / "stop.page").unlink(missing_ok=True)
        before = armed(tmp_path)
        before.stop.close()
        harm(tmp_path / "stop.page")
        after = memory(tmp_path)
        assert after.state.permit is None and not after.stop.words.may_send
        assert StopPage(tmp_path / "stop.page", writable=False).read() is not None


def test_a_beat_finds_each_kind_of_damage_and_mends_it(tmp_path: Path) -> None:
    """The agent's word is kept through the mending."""  # K06
    made = armed(tmp_path)
    page = tmp_path / "stop.page"
    with page.open("r+b") as file:
        file.seek(64)
        file.write(pack_latch(3))
    assert made.beat() == "" and made.stop.latch == 3
    page.unlink()
    assert "deleted" in made.beat()
    words = StopPage(page, writable=False).read()
    assert words is not None and words.latch == 3 and not words.may_send
    assert made.state.permit is None and made.beat() == ""


def test_a_page_that_cannot_be_mended_is_a_problem_and_stays_stopped(tmp_path: Path) -> None:
    """Its folder is gone: nothing may trade, and every beat tries again."""
    folder = tmp_path / "pages"
    folder.mkdir()
    made = Memory(Store(tmp_path / "state.json"), StopKeeper(folder / "stop.page"), VirtualClock())
    made.boot()
    (folder / "stop.page").unlink()
    folder.rmdir()
    assert made.beat() and "stop page" in made.problems
    folder.mkdir()
    assert made.beat() and "stop page" not in made.problems
    assert made.beat() == ""


def test_a_state_touched_by_others_ends_the_permit_unless_it_holds_the_same(tmp_path: Path) -> None:
    """A backup that links it, or a copy of the very same bytes, does no harm."""  # K06
    made = armed(tmp_path)
    file = tmp_path / "state.json"
    file.write_bytes(file.read_bytes())
    assert made.beat() == "" and made.state.permit is not None
    other = replace(made.state, permit=replace(PERMIT, id="p2"))
    Store(file).save(other)
    assert "somebody else" in made.beat() and made.state.permit is None


def test_a_permit_ends_by_the_clock(tmp_path: Path) -> None:
    """And the next guard sees the same."""
    clock = VirtualClock()
    made = memory(tmp_path, clock)
    until_ns = clock.wall_ns() + NS_PER_S
    run(made.add(lambda state: Decision(replace(state, permit=replace(PERMIT, until_ns=until_ns), marks=()))))
    clock.advance_ns(2 * NS_PER_S)
    assert not memory(tmp_path, clock).stop.words.may_send


def test_subsets_that_do_not_fit_the_page_stop_everything(tmp_path: Path) -> None:
    """A page has room for so much; more than that is a stop of the whole."""
    part = [Mark(MarkKind.KILL, f"k{n}", "x", "x", 1, None, Scope(symbols=(f"SYMBOL{n:04d}",))) for n in range(200)]
    state = State(permit=PERMIT, marks=tuple(part))
    made = memory(tmp_path)
    assert words_of(state, made.now()) == Words(token=Token(0, "blue"))
    assert words_of(replace(state, marks=tuple(part[:5])), made.now()).may_send


def test_a_state_is_believed_only_whole(tmp_path: Path) -> None:
    """One byte altered, half a file, another schema, a file of nonsense."""  # K06
    store = Store(tmp_path / "state.json")
    assert "missing" in store.load().problem
    store.save(State(permit=PERMIT))
    good = (tmp_path / "state.json").read_bytes()
    assert store.load().state == State(permit=PERMIT)
    broken = [good[:-10], b"", b"{}", b"[]", good.replace(b'"p1"', b'"p2"'), good[: len(good) // 2]]
    for data in broken:
        (tmp_path / "state.json").write_bytes(data)
        assert store.load().state is None and "damaged" in store.load().problem
    store.save(msgspec.structs.replace(State(), schema="tradeops/guard-state/v0"))
    assert "schema" in store.load().problem


def test_a_token_outlives_a_lost_state(tmp_path: Path) -> None:
    """K06 O09: the state is gone, the page is not: the slot that held the token holds it, unarmed; no number comes twice."""
    before = armed(tmp_path)
    before.reduce(replace(before.state, token=4, active="green"))
    before.store.save(before.state)
    (tmp_path / "state.json").unlink()
    after = again(before, tmp_path)
    assert (after.state.token, after.state.active, after.state.permit) == (4, "green", None)
    assert after.stop.words == Words(token=Token(4, "green"))


def test_an_older_state_under_a_newer_page_is_not_believed(tmp_path: Path) -> None:
    """O09: a state brought back from a backup does not arm the slot that handed over since."""
    before = armed(tmp_path)
    old = (tmp_path / "state.json").read_bytes()
    before.reduce(replace(before.state, token=4, active="green"))
    (tmp_path / "state.json").write_bytes(old)
    after = again(before, tmp_path)
    assert (after.state.token, after.state.active, after.state.permit) == (4, "green", None)
    assert "newer activation" in after.state.marks[-1].reason


def test_a_host_that_stands_by_has_no_writer(tmp_path: Path) -> None:
    """O09: with the mark, the page names no slot; a page that is mended keeps what it named."""
    made = armed(tmp_path)
    made.reduce(replace(made.state, marks=(Mark(MarkKind.STANDBY, "s1", "operator-1", "x", 1),)))
    assert made.stop.words == Words()
    made.reduce(replace(made.state, marks=(), active="green", token=3))
    (tmp_path / "stop.page").write_bytes(b"x" * 4096)
    made.beat()
    assert made.stop.words.token == Token(3, "green") and not made.stop.words.may_send
