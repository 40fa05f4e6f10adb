"""What has become of a run so far, read from its journal, for whoever takes it up."""

from __future__ import annotations

from dataclasses import dataclass

from tradeops.base.errors import ExitCode
from tradeops.contracts.agent import Facts
from tradeops.deploy.crew import Crew
from tradeops.deploy.ending import Setback
from tradeops.deploy.journal import SETBACK, WARM, Journal
from tradeops.deploy.locks import LEASE, LET_GO
from tradeops.deploy.places import here, in_slot, stands_by
from tradeops.deploy.plan import Plan

PASSED, SHADOWED = "passed", "shadowed"


@dataclass(frozen=True)
class Past:
    """passed: how many steps have.  proved: hosts that were seen on the release.  leased: those that may trade only while the run
    is heard of.  setback: why it was going back, if it was.

    shadowed: the standbys have passed.  warm_ns: since when the slots that were taken over from are kept warm, wall nanoseconds.
    """

    passed: int = 0
    proved: tuple[str, ...] = ()
    leased: frozenset[str] = frozenset()
    setback: Setback | None = None
    shadowed: bool = False
    warm_ns: int | None = None


def past_of(journal: Journal) -> Past:
    """Every session of the run together. Raises UsageError when the journal is damaged."""
    passed, proved, leased, setback = 0, [], set(), None
    shadowed, warm_ns = False, None
    proving: list[str] = []
    freeing: list[str] = []
    for entry in journal.entries():
        shadowed = shadowed or entry.phase == SHADOWED
        if (entry.phase, entry.outcome) == (WARM, "begun"):
            warm_ns = warm_ns or entry.wall_ns
        elif entry.phase == PASSED:
            passed = max(passed, int(entry.detail["step"]) + 1)
        elif entry.phase == SETBACK:
            setback = Setback(entry.outcome, dict(entry.detail["causes"]), ExitCode(entry.detail["exit_code"]))
        elif (entry.phase, entry.outcome) == ("prove", "begun"):
            proving = list(entry.detail["hosts"])
        elif (entry.phase, entry.outcome) == ("prove", "done") and setback is None:
            proved += proving
        elif (entry.phase, entry.outcome) == (LEASE, "begun"):
            leased |= {*entry.detail["hosts"]}
        elif (entry.phase, entry.outcome) == (LET_GO, "begun"):
            freeing = list(entry.detail["hosts"])
        elif (entry.phase, entry.outcome) == (LET_GO, "done"):
            leased -= {*freeing}
    return Past(passed, tuple(dict.fromkeys(proved)), frozenset(leased), setback, shadowed, warm_ns)


def note_passed(crew: Crew, step: int) -> None:
    """A step has passed: whoever takes the run up need not bake it again."""
    crew.journal.note(PASSED, crew.plan.steps[step].says, crew.site.clock.wall_ns(), step=step)


def note_shadowed(crew: Crew) -> None:
    """The standbys have passed: whoever takes the run up need not try them again."""
    crew.journal.note(SHADOWED, "passed", crew.site.clock.wall_ns())


def note_setback(crew: Crew, setback: Setback) -> None:
    """The run goes back from here on, whoever carries it out. Raises OSError."""
    crew.journal.note(SETBACK, setback.phase, crew.site.clock.wall_ns(), causes=setback.causes, exit_code=int(setback.code))


def touched(plan: Plan, name: str, facts: Facts) -> bool:
    """Whether a host may be anywhere but plainly running its old release, in the slot that traded."""
    part = plan.part(name)
    if facts.active != part.active or stands_by(facts):
        return True
    running = in_slot(facts, part.active)
    idle = running is None or running.pid is None
    return here(facts) is not None or not idle if part.old is None else here(facts) != part.old or idle
