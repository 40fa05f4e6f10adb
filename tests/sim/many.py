"""One whole run in a random world, told by its seed alone: real deploy code, simulated hosts, and what must be true afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.sim.drive import BLUE_GREEN, ROLLING, assert_truth, try_abort, try_deploy, try_resume
from tests.sim.host import SimHost
from tests.sim.samples import SPEC
from tests.sim.world import OperatorDied, World
from tradeops.base.errors import ExitCode
from tradeops.contracts.status import Mark, MarkKind
from tradeops.deploy.journal import ending_of, list_runs
from tradeops.deploy.playbook import Playbook

_STEPS = [{"hosts": hosts, "flow": flow, "bake": "12s", "events": 50} for hosts, flow in (("1", "10%"), ("100%", None))]
GATED = Playbook.model_validate({"schema": "tradeops/playbook/v1", "name": "gated", "steps": _STEPS, "gate": {**SPEC, "every": "4s"}})
PHASES = ("lock", "stage", "drain", "stop", "switch", "start", "prove", "smoke", "lease", "resume", "gate", "let-go", "finish")
TURNS = ("prove-standby", "smoke-standby", "gate", "cutover", "cutover", "stand-down", "warm", "end-standby")
"""Further ones where two slots take turns."""
LASTING = (
    "ssh_refused",
    "ssh_hang",
    "agent_gone",
    "lying_copy",
    "lying_switch",
    "survivor",
    "hidden_survivor",
    "flipped_byte",
    "removed_present",
    "damaged_target",
    "disk_full",
    "read_only",
    "guard_dead",
    "guard_hang",
    "lying_guard",
    "feed_dead",
    "orders_stuck",
    "does_not_start",
    "trader_hung",
)
DATA = ("no_data", "stale", "went_back", "quiet")
LOST = ("lost_lock", "lost_receive", "lost_assemble", "lost_stop", "lost_switch", "lost_start", "lost_prove", "lost_renew", "lost_unlock")
GOOD = {ExitCode.PROVED, ExitCode.BROUGHT_BACK, ExitCode.ROLLED_BACK}


class Trial:
    """A fleet of three to five hosts on release 1, a plan of what goes wrong, and a deploy of release 2."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.dice = dice = random.Random(seed)
        self.world = World(folder, hosts=dice.randint(3, 5), seed=seed)
        self.world.old = self.world.release(1)
        for host in self.world.truth.values():
            host.runs_already(self.world.old)
        self.world.clock.sleep_s(60)
        self.world.new = self.world.release(2)
        self.world.pids = self.world.pids_now()
        self.book = dice.choices((GATED, BLUE_GREEN, ROLLING), (30, 15, 55))[0]
        phases = (*PHASES, *TURNS) if self.book is BLUE_GREEN else PHASES
        self.blind = self.moved = False
        for _ in range(dice.choice((0, 1, 1, 1, 2, 3))):
            self.world.when(dice.choice(phases), self._misfortune())
        if self.book.gate and dice.random() < 0.25:
            self.blind = True
            self.world.when("gate", partial(self.world.truth["h1"].faults.add, dice.choice(DATA)))
        if dice.random() < 0.1:
            dice.choice((self.world.bad, self.world.apart)).add(self.world.new)

    def _misfortune(self) -> Callable[[], None]:
        host = self.world.truth[self.dice.choice(sorted(self.world.truth))]
        kind = self.dice.choice(("lasting", "lasting", "lost", "die", "die", "reboot", "twin", "kill", "trip", "tampered"))
        if kind == "lasting":
            return partial(host.faults.add, self.dice.choice(LASTING))
        if kind == "lost":
            return partial(host.faults.add, self.dice.choice(LOST))
        if kind == "tampered":
            return partial(host.tampered, self.world.old)
        self.moved |= kind in ("reboot", "twin")
        acts: dict[str, Callable[[], None]] = {
            "die": self.world.die,
            "reboot": partial(_reboot, host),
            "twin": self._twin,
            "kill": self._kill,
            "trip": partial(_trip, host),
        }
        return acts[kind]

    def _twin(self) -> None:
        """Somebody takes the run up while this session stands still."""
        if list_runs(self.world.site().runs):
            try_resume(self.world)

    def _kill(self) -> None:
        for host in self.world.truth.values():
            host.guard.mark(Mark(MarkKind.KILL, "kill-1", "operator-2", "stop", 0))

    def go(self) -> None:
        """Deploy; if the operator dies, somebody takes the run up. Raises AssertionError."""
        world = self.world
        try:
            code, ending = try_deploy(world, world.new, self.book)
        except OperatorDied:
            world.revive()
        else:
            pids = world.pids_now() if self.moved else world.pids  # processes that ended without the run's doing
            assert_truth(world, code, ending, world.old, world.new, pids)
            assert not (self.blind and code == ExitCode.PROVED and world.bad), "a bad release passed without data"
        _one_writer(world)
        self._heal()
        self._end()

    def _heal(self) -> None:
        """Whatever was wrong with hosts is mended by people; what runs and what is marked stays."""
        self.world.hooks.clear()
        self.world.clock.sleep_s(self.book.lease + 1)
        for host in self.world.truth.values():
            host.faults.clear()
            host.survivors.clear()
            host.turn()
            assert host.lock_now() is None, "a lock that does not end"
            assert host.guard.at().lease is None, "a lease that does not end"

    def _end(self) -> None:
        """A run that is open is resumed, or aborted, to a fleet that is whole and not held."""
        world = self.world
        runs = list_runs(world.site().runs)
        end = runs[-1].end() if runs else None
        open_run = bool(runs) and (end is None or end.detail["exit_code"] in (ExitCode.INCONCLUSIVE, ExitCode.MIXED, ExitCode.KILLED))
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
        assert code in GOOD, (code, ending, ending_of(runs[-1]))
        assert len({host.runs() for host in world.truth.values()}) == 1
        for host in world.truth.values():
            own = [mark for mark in host.marks if mark.run]
            assert not own, f"{host.name} is left with {own}"
            assert host.lock_now() is None and host.guard.at().flow_cap_ppm is None
            assert host.beside.process is None, f"{host.name} has something beside what trades"
        _one_writer(world)


def _reboot(host: SimHost) -> None:
    host.reboot()
    host.lock = None


def _trip(host: SimHost) -> None:
    host.guard.mark(Mark(MarkKind.HALT, f"trip-{host.clock.wall_ns()}", "reconciliation", "position ABC: trader 1, drop copy 2", 0))


def _one_writer(world: World) -> None:
    """No host on which two processes could send orders."""
    for host in world.truth.values():
        assert not (host.trading() and len(host.writers()) > 1), f"{host.name} has two writers"
