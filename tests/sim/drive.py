"""Run the real deploy code against a world, as the command line does, and hold its ending against the truth."""

from __future__ import annotations

from collections.abc import Callable

from tests.sim.samples import SHADOW, SPEC
from tests.sim.world import World
from tradeops.base.errors import ExitCode, TradeopsError
from tradeops.contracts.status import MarkKind
from tradeops.deploy.deploy import deploy, plan
from tradeops.deploy.ending import Ending
from tradeops.deploy.journal import Journal, list_runs
from tradeops.deploy.leftout import LeaveOut
from tradeops.deploy.plan import make_plan
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.preflight import open_all, survey
from tradeops.deploy.run import carry_out
from tradeops.deploy.site import Site
from tradeops.deploy.takeup import abort, resume

ROLLING = Playbook.model_validate({"schema": "tradeops/playbook/v1", "name": "rolling"})
STEPS = [{"hosts": hosts, "flow": flow, "bake": "10s"} for hosts, flow in (("1", "10%"), ("100%", None))]
SLOW = Playbook.model_validate({"schema": "tradeops/playbook/v1", "name": "slow", "steps": STEPS})
GATED = [
    {"hosts": hosts, "flow": flow, "bake": "20s", "events": 100}
    for hosts, flow in (("1", "5%"), ("1", "10%"), ("50%", None), ("100%", None))
]
CANARY = Playbook.model_validate({"schema": "tradeops/playbook/v1", "name": "canary", "steps": GATED, "gate": SPEC})
ACTIVATE = Playbook.model_validate({"schema": "tradeops/playbook/v1", "name": "activate-flag", "steps": STEPS})
TURNS = [{"hosts": hosts, "flow": flow, "bake": "12s", "events": 50} for hosts, flow in (("1", "10%"), ("100%", None))]
BLUE_GREEN = Playbook.model_validate(
    {
        "schema": "tradeops/playbook/v1",
        "name": "blue-green",
        "steps": TURNS,
        "gate": {**SPEC, "every": "4s"},
        "cutover": {"shadow": {"bake": "10s", "decisions": 100, "gate": SHADOW}, "warm": "60s"},
    }
)
ADOPTING = BLUE_GREEN.model_copy(update={"cutover": BLUE_GREEN.cutover and BLUE_GREEN.cutover.model_copy(update={"orders": "adopt"})})


def try_deploy(
    world: World, release: str, playbook: Playbook = ROLLING, *, read: bool = False, leave_out: LeaveOut | None = None
) -> tuple[ExitCode, Ending | None]:
    """The exit code that a person would see, and the ending where a run began. read: the plan was, and is named by its digest."""
    try:
        digest = plan(world.site(), release, playbook, exclude=leave_out.hosts if leave_out else ()).digest() if read else None
        ending = deploy(world.site(), release, playbook, plan_digest=digest, leave_out=leave_out)
    except TradeopsError as error:
        return error.exit_code, None
    return ending.exit_code, ending


def force_deploy(world: World, release: str, playbook: Playbook = ROLLING) -> Ending:
    """By hand, past the doors at which plan and deploy refuse: what the run itself then still sees to."""
    site = world.site()
    sessions = open_all(site, playbook)
    facts = survey(site, sessions, playbook).facts
    return carry_out(site, make_plan(site, release, playbook, facts), playbook, sessions, facts)


def try_abort(world: World) -> tuple[ExitCode, Ending | None]:
    """Abort the newest run."""
    return _take_up(world, abort)


def try_resume(world: World) -> tuple[ExitCode, Ending | None]:
    """Carry the newest run on."""
    return _take_up(world, resume)


def _take_up(world: World, how: Callable[[Site, Journal], Ending]) -> tuple[ExitCode, Ending | None]:
    site = world.site()
    try:
        ending = how(site, list_runs(site.runs)[-1])
    except TradeopsError as error:
        return error.exit_code, None
    return ending.exit_code, ending


def assert_truth(world: World, code: ExitCode, ending: Ending | None, old: str, new: str, pids: dict[str, int]) -> None:
    """What every ending promises about the fleet (design: promises 1, 2, 5)."""
    truth = world.truth
    runs = {name: host.runs() for name, host in truth.items()}
    if code == ExitCode.PROVED:
        assert set(runs.values()) == {new}, runs
        assert all(host.linked == new for host in truth.values())
        assert all(not host.survivors for host in truth.values())
    if code in (ExitCode.PREFLIGHT, ExitCode.LOCKED, ExitCode.REFUSED):
        assert {name: host.process.pid for name, host in truth.items() if host.process} == pids, "something was touched"
    if code in (ExitCode.PROVED, ExitCode.BROUGHT_BACK, ExitCode.ROLLED_BACK):
        assert not any(host.beside.process for host in truth.values()), "something is left beside what trades"
    if code in (ExitCode.BROUGHT_BACK, ExitCode.ROLLED_BACK):
        assert set(runs.values()) == {old}, runs
        assert all(host.linked == old for host in truth.values())
    if ending is None:
        return
    told = {end.host: end for end in ending.hosts}
    assert set(told) == set(truth), "a host is not accounted for"
    for name, end in told.items():
        assert end.trading in (None, truth[name].trading()), (name, end)
        assert end.release in (None, truth[name].runs()), (name, end)
    if code == ExitCode.MIXED:
        assert any(end.problem for end in told.values())
    if code in (ExitCode.BROUGHT_BACK, ExitCode.ROLLED_BACK):
        for name, end in told.items():
            halts = truth[name].marks and all(mark.kind is MarkKind.HALT and not mark.run for mark in truth[name].marks)
            assert not halts or f"`tradeops resume --host {name} " in end.state, (name, end)
