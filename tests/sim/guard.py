"""One simulated guard: the real rules of `tradeops.guard` over a state in memory, on the world's clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from tradeops.base.clock import VirtualClock
from tradeops.contracts.directive import NEEDS, RISK_REDUCING, SPEAKS, Directive
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.status import Mark, MarkKind
from tradeops.guard import marks
from tradeops.guard.admit import Refusal
from tradeops.guard.adoption import KEPT_NS_MAX
from tradeops.guard.marks import Facts, Now, Order
from tradeops.guard.state import Permit, State
from tradeops.guard.verbs import decide

PERMIT = Permit("permit-0", 0, ("operator-1", "risk-1"), "simulation", Envelope("", ()))


@dataclass
class SimGuard:
    """What a guard remembers. Time alone takes away: leases lapse when anybody looks."""

    clock: VirtualClock
    ahead_ns: int = 0
    """Of the operator's clock."""
    state: State = field(default_factory=lambda: State(permit=PERMIT))
    speaks: int = SPEAKS
    note: str = ""

    def now(self) -> Now:
        """Both clocks."""
        return Now(self.clock.wall_ns() + self.ahead_ns, self.clock.monotonic_ns())

    def at(self) -> State:
        """The state now."""
        now = self.now()
        self.state = marks.pass_time(self.state, now)
        if any(mark.keeps_orders and now.wall_ns - mark.since_wall_ns > KEPT_NS_MAX for mark in self.state.marks):
            self.give_up("after 5 s no slot was activated")
        return self.state

    def give_up(self, why: str) -> None:
        """What was kept for the next slot is cancelled."""
        self.state = marks.take_back_kept(self.state, why)

    def keeps(self) -> bool:
        """Whether what works is left to the slot that is activated."""
        return marks.keeps_orders(self.at(), self.now())

    def mark(self, mark: Mark) -> None:
        """A mark from elsewhere: a person, a control that tripped."""
        self.state = replace(self.at(), marks=(*self.state.marks, mark))

    def trip(self, control: str, measured: str) -> None:
        """A control halts the host."""
        self.state = marks.trip(self.at(), MarkKind.HALT, control, measured, self.now())

    def clear(self) -> None:
        """As after a permit."""
        self.state = replace(self.at(), marks=())

    def clear_kills(self) -> None:
        """As after a permit and a resume by people: what is no run's own is gone."""
        self.state = replace(self.at(), permit=PERMIT, marks=tuple(mark for mark in self.state.marks if mark.run))

    def trades(self) -> bool:
        """A valid permit and no mark."""
        return marks.trading(self.at(), self.now())

    def direct(self, directive: Directive, envelope: Envelope, facts: Facts) -> Refusal | bool:
        """Take a directive whose signatures were verified; why not, or whether it was taken before."""
        if self.speaks < NEEDS.get(directive.verb, 0) and directive.verb not in RISK_REDUCING and "fence" in directive.args:
            return Refusal("unknown_fields", "args carry what this guard does not know: fence")
        people = ("operator-1", "risk-1")[: len(envelope.signatures)]
        order = Order(directive, envelope, people, directive.run)
        try:
            decision = decide(self.at(), order, facts, self.now())
        except Refusal as refusal:
            return refusal
        self.state, self.note = decision.state, decision.note
        return decision.already
