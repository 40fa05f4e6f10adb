"""What has become of a run so far, read from its journal, for whoever takes it up."""

from __future__ import annotations

from dataclasses import dataclass

from tradeops.base.errors import ExitCode
from tradeops.contracts.agent import Facts, RunEntry
from tradeops.deploy.crew import Crew
from tradeops.deploy.ending import Setback
from tradeops.deploy.journal import SETBACK, WARM, Journal
from tradeops.deploy.judging import GATE, VERDICT
from tradeops.deploy.locks import LEASE, LET_GO
from tradeops.deploy.places import here, in_slot, stands_by
from tradeops.deploy.plan import Plan
from tradeops.gates.evidence import Ruling

PASSED, SHADOWED = "passed", "shadowed"


@dataclass(frozen=True)
class Past:
    """passed: how many steps have.  proved: hosts that were seen on the release.  leased: those that may trade only while the run
    is heard of.  setback: why it was going back, if it was, or has to.  rejected: by the word of which gate, "" by none.

    shadowed: the standbys have passed.  warm_ns: since when the slots that were taken over from are kept warm, wall nanoseconds.
    """

    passed: int = 0
    proved: tuple[str, ...] = ()
    leased: frozenset[str] = frozenset()
    setback: Setback | None = None
    rejected: str = ""
    shadowed: bool = False
    warm_ns: int | None = None


def past_of(journal: Journal) -> Past:
    """Every session of the run together. Raises UsageError when the journal is damaged.

    A gate that failed is not looked at again, whether or not anybody lived to turn the run back.
    """
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
            setback = _setback(entry)
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
    failed = _failed(journal)
    back, rejected = setback or failed, failed.reason() if failed else ""
    return Past(passed, tuple(dict.fromkeys(proved)), frozenset(leased), back, rejected, shadowed, warm_ns)


def _failed(journal: Journal) -> Setback | None:
    """The gate that failed since the last one that passed: by its verdict, or by what the run turned back for."""
    failed: Setback | None = None
    judged: list[str] = []
    for entry in journal.entries():
        if entry.phase in (PASSED, SHADOWED):
            failed = None
        elif (entry.phase, entry.outcome) == (GATE, "begun"):
            judged = list(entry.detail["hosts"])
        elif (entry.phase, entry.outcome) == (VERDICT, Ruling.FAIL):
            failed = Setback(GATE, dict.fromkeys(judged, "; ".join(entry.detail["why"])), ExitCode.ROLLED_BACK)
        elif entry.phase == SETBACK and (setback := _setback(entry)).code is ExitCode.ROLLED_BACK:
            failed = setback
    return failed


def _setback(entry: RunEntry) -> Setback:
    return Setback(entry.outcome, dict(entry.detail["causes"]), ExitCode(entry.detail["exit_code"]))


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
