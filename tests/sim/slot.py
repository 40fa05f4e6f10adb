"""The two slots of a simulated host: what each is linked to, the process that runs there, if any, and which of them writes."""

from __future__ import annotations

from dataclasses import dataclass

from tests.sim.guard import SimGuard
from tradeops.base.clock import NS_PER_S, VirtualClock
from tradeops.contracts.agent import Process
from tradeops.contracts.directive import Directive, Verb
from tradeops.contracts.manifest import Manifest
from tradeops.contracts.status import OWN_HALT
from tradeops.guard import marks
from tradeops.guard.marks import Facts
from tradeops.trader.vigil import OUTLIVES_NS

ROOT = "/opt/tradeops"


@dataclass
class SimProcess:
    """A running trader. writes: it holds the host's journal and may send.  named_ns: since when the page names its slot."""

    pid: int
    release: str
    binding: str
    overlay: int
    started_ns: int
    writes: bool = False
    named_ns: int | None = None

    def shown(self) -> Process:
        """As /proc shows it."""
        tree = f"{ROOT}/releases/{self.release.removeprefix('sha256:')}/tree"
        command = ("/usr/bin/python3", f"{tree}/run.py")
        return Process(self.pid, self.pid * 10, self.started_ns, command, "/usr/bin/python3.11", tree)


@dataclass
class SimSlot:
    """Blue or green."""

    name: str
    linked: str | None = None
    previous: str | None = None
    binding: str | None = None
    process: SimProcess | None = None


class TwoSlots:
    """Taking turns by the word of the guard. survivors: processes that are in no slot any more.  slow_s: how long a process takes
    to say what it is, and to begin to write.  working: orders at the venue while the host trades.  cleared: at some time there were none.
    """

    clock: VirtualClock
    guard: SimGuard
    slots: dict[str, SimSlot]
    faults: set[str]
    survivors: list[SimProcess]
    slow_s: float
    lock: tuple[str, int, int] | None
    manifests: dict[str, Manifest]
    flags_retired: tuple[str, ...]
    working: int = 3
    cleared: bool = False
    held_ns = 0
    beside_ns: int | None = None

    @property
    def active(self) -> str:
        """The slot that holds the token."""
        return self.guard.state.active

    @property
    def slot(self) -> SimSlot:
        """The same, with what is in it."""
        return self.slots[self.active]

    @property
    def beside(self) -> SimSlot:
        """The other one."""
        return next(slot for slot in self.slots.values() if slot.name != self.active)

    @property
    def process(self) -> SimProcess | None:
        """Of the slot that holds the token."""
        return self.slot.process

    @property
    def linked(self) -> str | None:
        """What that slot leads to."""
        return self.slot.linked

    def writers(self) -> list[SimProcess]:
        """Processes that hold the journal and may send."""
        living = [*(slot.process for slot in self.slots.values()), *self.survivors]
        return [process for process in living if process and process.writes]

    def runs(self) -> str | None:
        """The release of the slot that holds the token; None when nothing runs there, or something that is in no slot."""
        return self.process.release if self.process and not self.survivors else None

    def trading(self) -> bool:
        """Whether orders can leave this host."""
        return self.guard.trades() and any(not self.own_halts(process) for process in self.writers())

    def own_halts(self, process: SimProcess) -> tuple[str, ...]:
        """A daemon that meets the tombstone of a flag that it knows halts itself (D05)."""
        known = {flag.id for flag in self.manifests[process.release].predicate.flags}
        return tuple(f"{OWN_HALT}flags: flag {flag} is a tombstone" for flag in self.flags_retired if flag in known)

    def turn(self) -> None:
        """Every process looks at the page: who is not named stops writing, then who is begins. A frozen one does neither."""
        named = marks.token(self.guard.at()).slot
        living = [slot for slot in self.slots.values() if slot.process] if "trader_hung" not in self.faults else []
        for slot in sorted(living, key=lambda slot: slot.name == named):
            assert slot.process
            alone = all(one in (slot.process, *self.survivors) for one in self.writers())
            slot.process.writes = slot.name == named and alone and self._ready(slot.process)
            slot.process.named_ns = slot.process.named_ns if slot.name == named else None

    def outlive(self) -> None:
        """A standby beside a slot that has the token ends itself when no run has held the host for long, as the trader does."""
        now_ns, process = self.clock.monotonic_ns(), self.beside.process
        self.held_ns = self.lock[2] if self.lock else self.held_ns
        stands_by = process is not None and not process.writes and marks.token(self.guard.at()).slot == self.active
        self.beside_ns = (self.beside_ns or now_ns) if stands_by else None
        if self.beside_ns is not None and now_ns - max(self.beside_ns, self.held_ns) > OUTLIVES_NS:
            self.beside.process = None

    def _ready(self, process: SimProcess) -> bool:
        now_ns = self.clock.monotonic_ns()
        process.named_ns = now_ns if process.named_ns is None else process.named_ns
        return process.writes or now_ns - process.named_ns >= self.slow_s * NS_PER_S

    def speaks(self, process: SimProcess) -> bool:
        """Whether it is up for long enough to say what it is."""
        return self.clock.wall_ns() - process.started_ns >= self.slow_s * NS_PER_S

    def end_all(self) -> None:
        """No process is left in a slot."""
        for slot in self.slots.values():
            slot.process = None

    def at_work(self) -> int:
        """Orders that work at the venue: of whoever writes, or kept for who is to."""
        left = self.working if "orders_stuck" in self.faults or not self.guard.at().marks or self.guard.keeps() else 0
        self.cleared |= not left
        return left

    def judged_by(self, directive: Directive) -> Facts:
        """What a directive is judged by. A guard that is asked for longer than it keeps strange orders has cancelled them by then."""
        if directive.verb is Verb.ACTIVATE and "orders_strange" in self.faults:
            self.guard.give_up("c9 works at sim, and the journal does not hold it open")
        working = self.at_work()
        writing = "a process writes" if self.writers() else ""
        unfit = {slot.name: self._unfit(slot) for slot in self.slots.values()}
        strange = {slot.name: "" if slot.process else "it says nothing" for slot in self.slots.values()}
        return Facts(writing=writing, working=f"{working} orders work" if working else "", unfit=unfit, strange=strange)

    def _unfit(self, slot: SimSlot) -> str:
        if slot.process is None:
            return "it has no process"
        return "" if slot.process.release == slot.linked and not slot.process.writes else "it is no standby of what its slot leads to"
