"""What each verb makes of a state: a table of refusals, and properties over every order in which things can come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.guardstate import ARMED, FIT, NOW, T0, TWO, after, code, laid, later, order, overlay, permit
from tradeops.base.clock import NS_PER_S
from tradeops.contracts.directive import Scope, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.status import MarkKind
from tradeops.guard import marks
from tradeops.guard.admit import Refusal
from tradeops.guard.marks import SPENT_MAX, Facts, Now, Order
from tradeops.guard.state import Spent, State
from tradeops.guard.verbs import decide

KILLED = after(ARMED, order(Verb.KILL, "k1", issued_ns=T0 - 5))


@pytest.mark.parametrize(
    ("expected", "one", "facts"),
    [
        ("people", permit("p1", "k1", by=("operator-1",)), FIT),
        ("people", permit("p1", "k1", by=("operator-1", "operator-1")), FIT),
        ("no_cause", permit("p1", "k1", args={"cause": None}), FIT),
        ("no_cause", permit("p1", "k1", args={"cause": "  "}), FIT),
        ("kill_not_named", permit("p1"), FIT),
        ("kill_not_named", permit("p1", "k2"), FIT),
        ("signed_before", permit("p1", "k1", issued_ns=T0 - 6), FIT),
        ("signed_before", permit("p1", "k1", issued_ns=T0 - 5), FIT),
        ("reconciliation_break", permit("p1", "k1"), Facts(breaks=("position ABC",))),
        ("not_proved", permit("p1", "k1"), Facts("its vitals are old")),
        ("scope", permit("p1", "k1", scope=Scope(symbols=("ABC",))), FIT),
        ("until", permit("p1", "k1", args={"cause": "x", "until_ns": T0}), FIT),
        ("until", permit("p1", "k1", args={"cause": "x", "until_ns": "soon"}), FIT),
        ("unknown_fields", permit("p1", "k1", args={"cause": "x", "leverage": 2}), FIT),
        ("not_for_runs", permit("p1", "k1", run="run-1"), FIT),
    ],
)
def test_a_permit_is_refused(expected: str, one: Order, facts: Facts) -> None:
    """Each thing a permit needs, taken away alone."""  # K07
    assert code(KILLED, one, facts) == expected


def test_a_permit_that_names_every_kill_arms() -> None:
    """Two people, a cause, the kills it ends, clean books, a proved trader."""  # K07
    state = after(KILLED, permit("p1", "k1"))
    assert marks.trading(state, NOW)
    assert state.permit is not None and state.permit.people == TWO
    assert state.marks == () and state.kills_ended == ("k1",)


def test_a_permit_signed_before_a_later_kill_does_not_end_it() -> None:
    """Even when its writer guessed the id."""  # K07
    early = permit("p1", "k1", "k2", issued_ns=T0 - 4)
    state = after(KILLED, order(Verb.KILL, "k2", issued_ns=T0 - 3))
    assert code(state, early) == "signed_before"


def test_a_kill_dated_into_the_future_does_not_lock_people_out_for_ever() -> None:
    """Its time is no later than when it came."""
    state = after(ARMED, order(Verb.KILL, "k1", issued_ns=T0 + 10**18))
    assert marks.trading(after(state, permit("p1", "k1", issued_ns=T0 + 1)), NOW)


def test_an_ended_kill_is_spent_and_any_other_counts_however_old() -> None:
    """A kill kept for years still stops; one that a permit ended does not come back."""
    state = after(KILLED, permit("p1", "k1", "k0"))
    assert code(state, order(Verb.KILL, "k1")) == "spent"
    assert code(state, order(Verb.KILL, "k0")) == "spent"
    assert not marks.trading(after(state, order(Verb.KILL, "ancient", issued_ns=1, expires_ns=2)), NOW)


def test_a_kill_posted_again_changes_nothing() -> None:
    """A lost answer may be asked for again."""
    again = decide(KILLED, order(Verb.KILL, "k1"), FIT, NOW)
    assert again.already and again.state is KILLED


def test_the_same_id_with_a_wider_scope_widens() -> None:
    """What was a kill of a part may become one of the whole, never the other way round."""
    part = after(ARMED, order(Verb.KILL, "k1", scope=Scope(symbols=("ABC",))))
    assert marks.trading(part, NOW)
    whole = after(part, order(Verb.KILL, "k1"))
    assert not marks.trading(whole, NOW)
    assert decide(whole, order(Verb.KILL, "k1", scope=Scope(symbols=("ABC",))), FIT, NOW).already


def test_a_kill_of_a_part_blocks_that_part_and_needs_a_permit() -> None:
    """The rest trades on under its permit; one person cannot end it."""  # K01
    part = Scope(venues=("sim",), symbols=("ABC",))
    state = after(ARMED, order(Verb.KILL, "k1", scope=part))
    assert marks.trading(state, NOW) and marks.blocked_scopes(state) == (part,)
    assert code(state, order(Verb.RESUME, "r1", ends=("k1",))) == "needs_permit"
    assert marks.blocked_scopes(after(state, permit("p1", "k1", issued_ns=T0))) == ()


def test_one_person_halts_and_one_resumes() -> None:
    """The permit outlives a halt."""
    state = after(ARMED, order(Verb.HALT, "h1"))
    assert not marks.trading(state, NOW) and state.permit is not None
    assert marks.trading(after(state, order(Verb.RESUME, "r1", ends=("h1",))), NOW)


@pytest.mark.parametrize(
    ("expected", "one"),
    [
        ("ends_nothing", order(Verb.RESUME, "r1")),
        ("not_its_own", order(Verb.RESUME, "r1", ends=("h1",), run="run-1")),
        ("signed_before", order(Verb.RESUME, "r1", ends=("h1",), issued_ns=T0 - 10)),
        ("replayed", order(Verb.RESUME, "h1", ends=("h1",))),
        (
            "wrong_run",
            order(Verb.HALT, "h2", run="run-1").__class__(
                replace(order(Verb.HALT, "h2").directive, run="run-2"), Envelope("", ()), (), "run-1"
            ),
        ),
    ],
)
def test_a_resume_is_refused(expected: str, one: Order) -> None:
    """Not by another run, not in advance, not twice."""
    assert code(after(ARMED, order(Verb.HALT, "h1")), one) == expected


def test_a_resume_waits_for_reconciliation() -> None:
    """An open break keeps the halt."""  # R14
    halted = after(ARMED, order(Verb.HALT, "h1"))
    assert code(halted, order(Verb.RESUME, "r1", ends=("h1",)), Facts(breaks=("working orders",))) == "reconciliation_break"


def test_a_resume_of_what_is_not_there_is_no_error() -> None:
    """One directive may name the halts of a whole fleet; a kill, an unarmed mark or a standby is not ended by it."""
    assert decide(ARMED, order(Verb.RESUME, "r1", ends=("elsewhere",)), FIT, NOW).already
    assert code(KILLED, order(Verb.RESUME, "r1", ends=(KILLED.marks[-1].id,))) == "needs_permit"
    standby = after(ARMED, order(Verb.STANDBY, "s1"))
    assert code(standby, order(Verb.RESUME, "r1", ends=("s1",))) == "needs_activation"


def test_a_run_resumes_its_own_halts() -> None:
    """What a run halted it may resume when it has proved its work."""
    state = after(ARMED, order(Verb.HALT, "h1", run="run-1"))
    assert state.marks[0].run == "run-1"
    assert marks.trading(after(state, order(Verb.RESUME, "r1", ends=("h1",), run="run-1")), NOW)


def test_a_halt_posted_again_is_known_and_a_resumed_one_is_spent() -> None:
    """Once only."""
    halted = after(ARMED, order(Verb.HALT, "h1"))
    assert decide(halted, order(Verb.HALT, "h1"), FIT, NOW).already
    assert code(after(halted, order(Verb.RESUME, "r1", ends=("h1",))), order(Verb.HALT, "h1")) == "replayed"


def test_a_hold_is_a_mark_of_its_run() -> None:
    """A run may hold what it has not proved."""
    held = after(ARMED, order(Verb.HOLD, "o1", run="run-1"))
    assert not marks.trading(held, NOW) and held.marks[0].run == "run-1"


def test_an_overlay_blocks_symbols_at_once_and_only_tightens() -> None:
    """Number by number; what loosens over the same release is refused."""  # D06
    first = laid(ARMED, 1, symbols_blocked=["ABC"], flags_off={"f1": 1}, flags_retired=["f0"], limits={"order_value": 5}, flow_cap_ppm=1000)
    assert marks.blocked_scopes(first) == (Scope(symbols=("ABC",)),)
    same = {"symbols_blocked": ["ABC"], "flags_off": {"f1": 1}, "flags_retired": ["f0"], "limits": {"order_value": 5}, "flow_cap_ppm": 1000}
    looser: list[dict[str, Any]] = [
        {"symbols_blocked": []},
        {"flags_off": {}},
        {"flags_retired": []},
        {"limits": {"order_value": 6}},
        {"limits": {}},
        {"flow_cap_ppm": 1001},
    ]
    for loosened in looser:
        assert code(first, order(Verb.OVERLAY, "v2", args=overlay(2, **{**same, **loosened}))) == "loosens"
    assert code(first, order(Verb.OVERLAY, "v1b", args=overlay(1, **same))) == "older"
    assert laid(first, 2, **{**same, "limits": {"order_value": 4}}).overlay_number == 2
    anew = order(Verb.OVERLAY, "v2", args=overlay(2, flags_off={"f1": 1}, flags_retired=["f0"]))
    assert decide(first, anew, Facts(release="sha256:r2"), NOW).state.symbols_blocked == ()


@pytest.mark.parametrize(
    ("expected", "args"),
    [
        ("malformed", {}),
        ("malformed", {"overlay": {"number": "one"}}),
        ("unknown_fields", {"overlay": {**overlay(1)["overlay"], "limits_up": {}}}),
        ("unknown_fields", {**overlay(1), "more": 1}),
        ("unknown_schema", {"overlay": {**overlay(1)["overlay"], "schema": "other"}}),
        ("malformed", {"overlay": {**overlay(1)["overlay"], "flags_off": {"f1": 2}}}),
        ("wrong_fleet", {"overlay": {**overlay(1)["overlay"], "fleet": "other"}}),
    ],
)
def test_an_overlay_is_refused(expected: str, args: dict[str, Any]) -> None:
    """What is not understood could loosen."""
    assert code(ARMED, order(Verb.OVERLAY, "v1", args=args)) == expected


def test_ids_are_kept_until_they_cannot_come_again() -> None:
    """The list is bounded by refusing more, never by forgetting; what stops is taken all the same."""
    full = replace(ARMED, spent=tuple(Spent(f"s{n}", T0 + NS_PER_S) for n in range(SPENT_MAX)))
    assert code(full, order(Verb.RESUME, "r1", ends=("x",))) == "too_many"
    assert not marks.trading(after(full, order(Verb.HALT, "h1")), NOW)
    assert not marks.trading(after(full, order(Verb.KILL, "k1")), NOW)
    much_later = later(2 * 3600)
    assert len(after(full, order(Verb.RESUME, "r1", ends=("x",)), now=much_later).spent) == 1


def test_many_marks_bound_halts_but_no_kill() -> None:
    """A flood of halts ends in a refusal on a host that does not trade anyway."""
    state = ARMED
    for number in range(marks.MARKS_MAX):
        state = after(state, order(Verb.HALT, f"h{number}"))
    assert code(state, order(Verb.HALT, "one-more")) == "too_many"
    assert marks.marked(after(state, order(Verb.KILL, "k1")), MarkKind.KILL, "k1")


def test_a_whole_halt_is_taken_however_many_narrow_ones_stand() -> None:
    """Five hundred narrow marks leave a host that trades: it can be stopped, and after that nothing more is needed."""
    state = ARMED
    for number in range(marks.MARKS_MAX):
        state = after(state, order(Verb.HALT, f"n{number}", scope=Scope(symbols=(f"S{number}",))))
    assert code(state, order(Verb.HALT, "narrow", scope=Scope(symbols=("T",)))) == "too_many"
    whole = after(state, order(Verb.HALT, "whole"))
    assert marks.marked(whole, MarkKind.HALT, "whole")
    assert code(whole, order(Verb.HALT, "again")) == "too_many"


def test_a_permit_may_end_by_time_and_nothing_comes_back_by_time() -> None:
    """A day of fake time arms nothing."""  # K07
    state = after(KILLED, permit("p1", "k1", args={"cause": "one session", "until_ns": T0 + 100 * NS_PER_S}))
    assert marks.trading(marks.pass_time(state, later(99)), later(99))
    ended = marks.pass_time(state, later(100))
    assert not marks.trading(ended, later(100)) and ended.marks[0].kind is MarkKind.UNARMED
    for hours in range(24):
        assert not marks.trading(marks.pass_time(KILLED, later(hours * 3600)), later(hours * 3600))
        assert not marks.trading(marks.pass_time(ended, later(hours * 3600)), later(hours * 3600))


def test_a_trip_names_control_and_value_and_stands_once() -> None:
    """An automatic halt is not set again every tenth of a second; an automatic kill takes the permit."""  # K12
    once = marks.trip(ARMED, MarkKind.HALT, "trader-beat", "4000 ms old", NOW)
    assert marks.trip(once, MarkKind.HALT, "trader-beat", "4100 ms old", later(1)) is once
    assert (once.marks[0].by, once.marks[0].reason) == ("trader-beat", "4000 ms old")
    killed = marks.trip(once, MarkKind.KILL, "out-versus-in", "10000 out, 212 in", NOW)
    assert killed.permit is None and not marks.trading(killed, NOW)


VERBS = st.sampled_from(
    ["kill", "kill-part", "halt", "hold", "standby", "resume", "resume-run", "permit", "permit-one", "activate", "lease", "time", "trip"]
)


def _one_step(step: str, number: int, state: State, now: Now) -> Order | State:
    ends = tuple(mark.id for mark in state.marks)
    fields: dict[str, Any] = {"issued_ns": now.wall_ns, "expires_ns": now.wall_ns + NS_PER_S}
    table: dict[str, Order] = {
        "kill": order(Verb.KILL, f"k{number}", **fields),
        "kill-part": order(Verb.KILL, f"k{number}", scope=Scope(symbols=("ABC",)), **fields),
        "halt": order(Verb.HALT, f"h{number}", run="run-1" if number % 2 else None, **fields),
        "hold": order(Verb.HOLD, f"o{number}", run="run-1", **fields),
        "standby": order(Verb.STANDBY, f"s{number}", **fields),
        "resume": order(
            Verb.RESUME, f"r{number}", ends=tuple(mark.id for mark in state.marks if mark.kind in ("halt", "hold")) or ("x",), **fields
        ),
        "resume-run": order(Verb.RESUME, f"r{number}", ends=ends or ("x",), run="run-1", **fields),
        "permit": permit(f"p{number}", *ends, **fields),
        "permit-one": permit(f"p{number}", *ends, by=("operator-1",), **fields),
        "activate": order(Verb.ACTIVATE, f"a{number}", args={"token": number, "slot": "blue"}, **fields),
        "lease": order(Verb.LEASE, f"l{number}", run="run-1", args={"lease_s": 2, "fence": number}, **fields),
    }
    if step == "time":
        return marks.pass_time(state, now)
    return table[step] if step in table else marks.trip(state, MarkKind.KILL, f"control-{number}", "9 of 3", now)


@settings(max_examples=300, deadline=None)
@given(st.lists(VERBS, max_size=40))
def test_in_whatever_order_things_come(steps: list[str]) -> None:
    """Not trading → trading only by what may do so; a whole kill always stops, and only a permit by two follows it."""  # K05 K06 K07
    state = State()
    for number, step in enumerate(steps, 1):
        now, before = later(number), state
        one = _one_step(step, number, state, now)
        try:
            state = one if isinstance(one, State) else decide(state, one, FIT, now).state
        except Refusal:
            assert state is before
        if step in ("kill", "trip"):
            assert not marks.trading(state, now) and state.permit is None
        if state.permit is not None and before.permit is None:
            assert step == "permit" and not marks.kills(state)
        if marks.trading(state, now) and not marks.trading(before, now):
            assert step in ("permit", "resume", "resume-run", "activate", "lease")
        if step in ("resume", "resume-run", "permit-one", "activate", "lease", "time"):
            assert marks.kills(state) == marks.kills(before)
