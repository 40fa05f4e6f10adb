"""One whole run in a random world, told by its seed alone: real deploy code, simulated hosts, and what must be true afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.sim.drive import ADOPTING, BLUE_GREEN, ROLLING, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.host import SimHost
from tests.sim.mishaps import (
    DATA,
    LASTING,
    LOST,
    blind,
    come_back,
    crash,
    cut_off,
    damage,
    halted_by_hand,
    reboot,
    replace_by_image,
    trip,
)
from tests.sim.samples import SIGNALS_PER_S, SPEC
from tests.sim.world import OperatorDied, World
from tradeops.base.clock import NS_PER_S
from tradeops.base.errors import ExitCode
from tradeops.contracts.status import Mark, MarkKind
from tradeops.contracts.units import PPM
from tradeops.deploy.ending import Ending
from tradeops.deploy.journal import came_to, ending_of, list_runs
from tradeops.deploy.leftout import LeaveOut
from tradeops.deploy.playbook import Playbook

EVENTS = 50
_STEPS = [{"hosts": hosts, "flow": flow, "bake": "12s", "events": EVENTS} for hosts, flow in (("1", "10%"), ("100%", None))]
GATED = Playbook.model_validate({"schema": "tradeops/playbook/v1", "name": "gated", "steps": _STEPS, "gate": {**SPEC, "every": "4s"}})
PHASES = ("lock", "stage", "drain", "stop", "switch", "start", "prove", "smoke", "lease", "resume", "gate", "let-go", "finish")
TURNS = ("prove-standby", "smoke-standby", "gate", "cutover", "cutover", "stand-down", "warm", "end-standby")
"""Further ones where two slots take turns."""
KINDS = ("lasting", "lasting", "lasting", "lost", "lost", "die", "die", "die", "reboot", "twin", "second", "abort", "kill", "latch")
HOST_KINDS = ("trip", "tampered", "damage", "cut-off", "image", "crash", "halt")
GOOD = {ExitCode.PROVED, ExitCode.BROUGHT_BACK, ExitCode.ROLLED_BACK}
OPEN = {ExitCode.INCONCLUSIVE, ExitCode.MIXED, ExitCode.KILLED}


class Trial:
    """A fleet of three to five hosts on release 1, a plan of what goes wrong, and a deploy of release 2.

    moved: processes may have ended, or others begun, without this run's doing.  anew: a host knows nothing of any fence, and may
    have to be taken up twice until its own is higher than what its guard has heard from the run.  halted: the release was, on a host
    of it under its gate.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.dice = dice = random.Random(seed)
        self.world = World(folder, hosts=dice.randint(3, 5), seed=seed)
        self.world.old = self.world.release(1, journal=1)
        for host in self.world.truth.values():
            host.runs_already(self.world.old)
            host.guard.ahead_ns = dice.randint(-NS_PER_S, NS_PER_S)
        self.world.clock.sleep_s(60)
        self.one_way = dice.random() < 0.04
        self.world.new = self.world.release(2, journal=2 if self.one_way else 1)
        self.world.pids = self.world.pids_now()
        self.book = dice.choices((GATED, BLUE_GREEN, ADOPTING, ROLLING), (30, 8, 7, 55))[0]
        self.phases = (*PHASES, *TURNS) if self.book.cutover else PHASES
        self.moved = self.anew = self.halted = False
        self.out = self._leave_out() if dice.random() < 0.03 else None
        self.world.ledger.on_verdict = self._judged
        for _ in range(dice.choice((0, 1, 1, 1, 2, 3))):
            self.world.when(dice.choice(self.phases), self._misfortune())
        if self.book.gate and dice.random() < 0.25:
            fault, names = dice.choice(DATA), self.world.truth if dice.random() < 0.3 else ("h1",)
            self.world.when("gate", partial(blind, [self.world.truth[name] for name in names], fault))
        if dice.random() < 0.1:
            dice.choice((self.world.bad, self.world.apart)).add(self.world.new)

    def _leave_out(self) -> LeaveOut:
        """A host that is away, comes back at some time with the old release, and is left out of the run."""
        name = self.dice.choice(sorted(self.world.truth))
        host = self.world.truth[name]
        host.faults.add(self.dice.choice(("ssh_refused", "disk_full")))
        if self.dice.random() < 0.5:
            self.world.when(self.dice.choice(self.phases), partial(come_back, host))
        return LeaveOut((name,), "away")

    def _misfortune(self) -> Callable[[], None]:
        host = self.world.truth[self.dice.choice(sorted(self.world.truth))]
        kind = self.dice.choice((*KINDS, *HOST_KINDS))
        if kind == "lasting":
            return partial(host.faults.add, self.dice.choice(LASTING))
        if kind == "lost":
            return partial(host.faults.add, self.dice.choice(LOST))
        self.anew |= kind == "image"
        self.moved |= kind in ("reboot", "twin", "second", "abort", "cut-off", "image", "crash")
        acts: dict[str, Callable[[], object]] = {
            "die": self.world.die,
            "reboot": partial(reboot, host),
            "twin": partial(self._other, try_resume),
            "abort": partial(self._other, try_abort),
            "second": partial(try_deploy, self.world, self.world.new),
            "kill": partial(self._kill, latched=False),
            "latch": partial(self._kill, latched=True),
            "trip": partial(self._halt, host, trip),
            "crash": partial(self._halt, host, crash),
            "halt": partial(self._halt, host, halted_by_hand),
            "tampered": partial(host.tampered, self.world.old),
            "damage": partial(damage, host),
            "cut-off": partial(cut_off, host),
            "image": partial(replace_by_image, host, self.world.old),
        }
        act = acts[kind]
        return lambda: (act(), None)[1]

    def _halt(self, host: SimHost, act: Callable[[SimHost], None]) -> None:
        self.halted |= self.world.ledger.rows[-1] == ("gate", "intent") and host.runs() == self.world.new
        act(host)

    def _other(self, take_up: Callable[[World], object]) -> None:
        """Somebody takes the run up while this session stands still."""
        if list_runs(self.world.site().runs):
            take_up(self.world)

    def _kill(self, *, latched: bool) -> None:
        for host in self.world.truth.values():
            host.guard.mark(Mark(MarkKind.KILL, "kill-1", "operator-2", "stop", 0))
            host.fence += latched

    def _judged(self, hosts: Sequence[str], detail: Mapping[str, Any]) -> None:
        """Never a pass without data (promise 8): what hosts on the release have really told by now, whatever the gate made of it."""
        if detail["ruling"] != "pass":
            return
        now_ns, told = self.world.clock.wall_ns(), 0.0
        for host in (self.world.truth[name] for name in hosts):
            if (
                host.process
                and host.quiet_since_s is None
                and not host.faults & {*DATA, "guard_dead", "guard_hang", "ssh_refused", "ssh_hang"}
            ):
                cap_ppm = host.guard.at().flow_cap_ppm
                told += SIGNALS_PER_S * (now_ns - host.process.started_ns) / NS_PER_S * (PPM if cap_ppm is None else cap_ppm) / PPM
        assert told >= EVENTS, f"passed on {told:.0f} events"

    def go(self) -> None:
        """Deploy; if the operator dies, somebody takes the run up. Raises AssertionError."""
        world = self.world
        try:
            code, ending = try_deploy(world, world.new, self.book, read=self.one_way, leave_out=self.out)
        except OperatorDied:
            world.revive()
        else:
            self._tells_the_truth(code, ending)
        _one_writer(world)
        self._heal()
        self._end()

    def _tells_the_truth(self, code: ExitCode, ending: Ending | None) -> None:
        """What the ending says is so; a host that was left out is told of, and does not trade once it is heard."""
        world = self.world
        out = self.out.hosts if self.out else ()
        pids = world.pids_now() if self.moved or out else world.pids  # processes that ended without the run's doing
        assert_truth(world, code, ending, world.old, world.new, pids)
        assert not (out and code in GOOD), "a fleet is called proved with a host left out"
        assert not (self.halted and code == ExitCode.PROVED), "a release passed its gate halted"
        if ending and not ending.final:
            return
        for host in (world.truth[name] for name in out):
            assert ending is None or not host.trading() or host.faults, f"{host.name} trades on, left out"

    def _heal(self) -> None:
        """Whatever was wrong with hosts is mended by people; what runs and what is marked stays."""
        self.world.hooks.clear()
        self.world.clock.sleep_s(self.book.lease + 1)
        for host in self.world.truth.values():
            host.faults.clear()
            host.survivors.clear()
            host.damaged = host.quiet_since_s = None
            host.releases.add(self.world.old)
            host.turn()
            assert host.lock_now() is None, "a lock that does not end"
            assert host.guard.at().lease is None, "a lease that does not end"

    def _end(self) -> None:
        """A run that is open is resumed, or aborted, to a fleet that is whole and not held."""
        world = self.world
        runs = list_runs(world.site().runs)
        end = runs[-1].end() if runs else None
        open_run = bool(runs) and (end is None or came_to(end) in OPEN)
        stray = {host.linked for host in world.truth.values()} - {world.old, world.new} or any(
            host.process and host.process.release != host.linked for host in world.truth.values()
        )
        if not open_run or stray:
            return
        for host in world.truth.values():
            host.guard.clear_kills()
        take_up = try_abort if self.dice.random() < 0.4 else try_resume
        code, ending = take_up(world)
        if code == ExitCode.INCONCLUSIVE:
            code, ending = try_resume(world)
        own = _own(code, ending)
        if own == ExitCode.MIXED and self.anew:
            own = _own(*take_up(world))
        if self.one_way and own == ExitCode.MIXED:
            _one_way(world)
            return
        assert own in GOOD, (code, ending, ending_of(runs[-1]))
        left_in = [host for name, host in world.truth.items() if self.out is None or name not in self.out.hosts]
        assert len({host.runs() for host in left_in}) == 1
        for host in left_in:
            own_marks = [mark for mark in host.marks if mark.run]
            assert not own_marks, f"{host.name} is left with {own_marks}"
            assert host.lock_now() is None and host.guard.at().flow_cap_ppm is None
            assert host.beside.process is None, f"{host.name} has something beside what trades"
        _one_writer(world)


def _own(code: ExitCode, ending: Ending | None) -> ExitCode:
    """What a run came to on its own hosts."""
    return ending.own if ending and ending.own is not None else code


def _one_way(world: World) -> None:
    """D13: where the journal forbids the way back, a host stays on the new release, and halted, rather than going there."""
    for host in world.truth.values():
        assert not (host.runs() == world.new and host.trading()), f"{host.name} was left trading"


def _one_writer(world: World) -> None:
    """No host on which two processes could send orders."""
    for host in world.truth.values():
        assert not (host.trading() and len(host.writers()) > 1), f"{host.name} has two writers"
