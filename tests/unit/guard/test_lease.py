"""A run's word on its hosts: how long they trade without it, and on how much of the flow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.guardstate import ARMED, NOW, T0, after, code, laid, later, order, overlay
from tradeops.contracts.directive import Verb
from tradeops.contracts.status import MarkKind
from tradeops.contracts.units import PPM
from tradeops.guard import marks
from tradeops.guard.marks import Now, Order
from tradeops.guard.memory import words_of


def test_a_lapsed_lease_holds_and_a_higher_fence_takes_the_run_up_again() -> None:
    """A run that vanishes leaves its hosts held; nothing but the run under a higher fence, or a person, goes on."""
    leased = after(ARMED, order(Verb.LEASE, "l1", run="run-1", args={"lease_s": 10, "fence": 3}))
    assert marks.trading(marks.pass_time(leased, later(9)), later(9))
    held = marks.pass_time(leased, later(10))
    assert [mark.kind for mark in held.marks] == [MarkKind.HOLD] and held.lease is None
    assert marks.pass_time(held, later(1000)) == held
    assert code(held, order(Verb.LEASE, "l2", run="run-1", args={"lease_s": 10, "fence": 3})) == "held"
    assert code(held, order(Verb.LEASE, "l2", run="run-2", args={"lease_s": 10, "fence": 2})) == "fenced"
    assert code(held, order(Verb.RESUME, "r1", ends=("hold-run-1",), run="run-1")) == "needs_lease"
    assert marks.trading(after(held, order(Verb.LEASE, "l3", run="run-1", args={"lease_s": 10, "fence": 4})), NOW)
    assert marks.trading(after(held, order(Verb.RESUME, "r1", ends=("hold-run-1",))), NOW)


def test_a_reboot_ends_a_lease() -> None:
    """CLOCK_MONOTONIC begins again: the lease counts as lapsed, never as longer."""
    leased = after(ARMED, order(Verb.LEASE, "l1", run="run-1", args={"lease_s": 10, "fence": 3}))
    assert not marks.trading(marks.pass_time(leased, Now(NOW.wall_ns, 5)), NOW)


def test_a_lease_of_no_seconds_lets_the_host_go() -> None:
    """A host that has passed its gate does not depend on the operator's machine."""
    leased = after(ARMED, order(Verb.LEASE, "l1", run="run-1", args={"lease_s": 10, "fence": 3}))
    passed = after(leased, order(Verb.LEASE, "l2", run="run-1", args={"lease_s": 0, "fence": 3}))
    assert marks.trading(marks.pass_time(passed, later(10**6)), later(10**6))


@pytest.mark.parametrize(
    ("expected", "args"),
    [
        ("malformed", {"lease_s": "long", "fence": 1}),
        ("malformed", {"lease_s": -1, "fence": 1}),
        ("malformed", {"lease_s": True, "fence": 1}),
        ("malformed", {"lease_s": 1}),
        ("too_long", {"lease_s": 10**6, "fence": 1}),
        ("unknown_fields", {"lease_s": 1, "fence": 1, "more": 1}),
        ("malformed", {"lease_s": 1, "fence": 1, "flow_cap_ppm": None}),
        ("malformed", {"lease_s": 1, "fence": 1, "flow_cap_ppm": -1}),
        ("malformed", {"lease_s": 1, "fence": 1, "flow_cap_ppm": 0.5}),
        ("malformed", {"lease_s": 1, "fence": 1, "flow_cap_ppm": PPM + 1}),
        ("malformed", {"lease_s": 0, "fence": 1, "flow_cap_ppm": PPM}),
    ],
)
def test_a_lease_is_refused(expected: str, args: dict[str, Any]) -> None:
    """Only a bounded, plain number of seconds, under a fence, and a share of the flow while it lasts."""
    assert code(ARMED, order(Verb.LEASE, "l1", run="run-1", args=args)) == expected


def test_a_lease_names_its_run() -> None:
    """Otherwise nobody could take it up."""
    assert code(ARMED, order(Verb.LEASE, "l1", args={"lease_s": 1, "fence": 1})) == "no_run"


def lease(id: str, *, run: str = "run-1", fence: int = 3, cap_ppm: int | None = None, lease_s: int = 10, age_ns: int = 1) -> Order:
    """A run's word on one host, signed `age_ns` ago."""
    args = {"lease_s": lease_s, "fence": fence} | ({} if cap_ppm is None else {"flow_cap_ppm": cap_ppm})
    return order(Verb.LEASE, id, run=run, args=args, issued_ns=T0 - age_ns)


def test_a_run_caps_the_flow_step_by_step_and_its_end_ends_the_cap() -> None:
    """Each step is a new word on the page; every other mark stands as it stood."""  # D08
    halted = after(ARMED, order(Verb.HALT, "h1"))
    state = after(halted, lease("l1", cap_ppm=10_000))
    assert words_of(state, NOW).narrowing.flow_cap_ppm == 10_000
    for step, cap_ppm in enumerate((10_000, 50_000, 100_000, 500_000, PPM)):
        state = after(state, lease(f"step-{step}", cap_ppm=cap_ppm))
        assert (state.flow_cap_ppm, words_of(state, NOW).may_send, state.marks) == (cap_ppm, False, halted.marks)
    assert after(state, lease("l2")).flow_cap_ppm is None
    assert after(state, lease("l2", lease_s=0)).flow_cap_ppm is None


def test_nobody_but_the_run_in_charge_touches_its_cap() -> None:
    """Another run under its fence, any run under a lower one, and what it said itself before: refused. A newer run takes over."""
    state = after(ARMED, lease("l1", cap_ppm=10_000))
    assert code(state, lease("l2", run="run-2", cap_ppm=PPM)) == "fenced"
    assert code(state, lease("l2", run="run-2", fence=2)) == "fenced"
    assert code(state, lease("l2", fence=2, cap_ppm=PPM)) == "fenced"
    assert code(state, lease("l2", cap_ppm=PPM, age_ns=2)) == "older"
    assert code(after(state, lease("l2", lease_s=0)), lease("l3", run="run-2")) == "fenced"
    assert after(state, lease("l2", run="run-2", fence=4, cap_ppm=20_000, age_ns=2)).flow_cap_ppm == 20_000


def test_a_run_cannot_loosen_the_overlay() -> None:
    """The overlay is kept apart: the trader obeys the tighter of both, and only people sign overlays."""  # D06
    state = after(laid(ARMED, 1, flow_cap_ppm=1000), lease("l1", cap_ppm=PPM))
    assert (state.overlay_number, state.flow_cap_ppm) == (1, PPM)
    looser = order(Verb.OVERLAY, "v2", run="run-1", args=overlay(2, flow_cap_ppm=PPM))
    assert code(state, looser) == "not_for_runs"


def test_the_cap_outlives_a_lapsed_lease() -> None:
    """A person who resumes a canary whose run has vanished gets its share back, not all of the flow."""
    held = marks.pass_time(after(ARMED, lease("l1", cap_ppm=10_000)), later(11))
    resumed = after(held, order(Verb.RESUME, "r1", ends=("hold-run-1",)))
    assert marks.trading(resumed, NOW) and resumed.flow_cap_ppm == 10_000
    assert after(resumed, lease("l2", run="run-2", fence=4, lease_s=0)).flow_cap_ppm is None
