"""How a run looks when it has ended, and its plan before it begins."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tradeops.base.digest import short
from tradeops.cli.report import NO, YES, Report, Table, age, table

if TYPE_CHECKING:
    from tradeops.cli.progress import RunProgress
    from tradeops.deploy.ending import Ending, HostEnd
    from tradeops.deploy.plan import CutoverPlan, HostPlan, Plan, StepPlan
    from tradeops.safety.overlays import Heard


def ending_report(command: str, ending: Ending, progress: RunProgress) -> Report:
    """What a run came to, and by which steps."""
    rows = [
        (f"{_glyph(end)} {end.host}", end.state, short(end.release) if end.release else None, _trading(end), end.problem)
        for end in ending.hosts
    ]
    causes = [f"{host}: {cause}" for host, cause in ending.causes.items()]
    return Report(
        command,
        f"{ending.title} (run {ending.run}, exit {int(ending.exit_code)})",
        ending.exit_code,
        run=ending.run,
        hosts=tuple(asdict(end) for end in ending.hosts),
        tables=(table(("host", "state", "release", "trading", "problem"), rows),),
        lines=(*progress.verdicts, *causes, f"{ending.bytes_sent:,} bytes sent to {len(ending.hosts)} hosts"),
        next=ending.next,
        data={"causes": ending.causes, "bytes_sent": ending.bytes_sent, "steps": progress.steps},
    )


def _glyph(end: HostEnd) -> str:
    return NO if end.problem else YES if end.release else "·"


def _trading(end: HostEnd) -> str | None:
    return None if end.trading is None else "yes" if end.trading else "no"


def plan_report(plan: Plan, heard: Heard | None = None) -> Report:
    """What a deploy would do. heard: the overlay that it goes by, where hosts alone had it."""
    rows = [(part.wave + 1, part.host, short(part.old) if part.old else "nothing", short(plan.release), _slot(part)) for part in plan.hosts]
    lines = [heard.words()] if heard else []
    lines += _turns(plan.cutover) if plan.cutover else []
    lines += [f"content that is new: {plan.bytes_new:,} bytes per host at most"]
    lines += [f"excluded: {host} is killed, and the run does not end with 0" for host in plan.excluded]
    lines += [f"way back: {back}" for back in plan.back] + [f"{NO} no sure way back: {risk}" for risk in plan.risks]
    lines += [f"change: {change}" for change in plan.changes] + [f"note: {note}" for note in plan.notes] + list(plan.outlook)
    return Report(
        "plan",
        f"{plan.service} {short(plan.release)} (number {plan.number}) to {len(plan.hosts)} hosts of {plan.fleet} in {plan.waves()} waves",
        hosts=tuple({"host": part.host, "wave": part.wave + 1, "old": part.old, "new": plan.release} for part in plan.hosts),
        tables=(table(("wave", "host", "runs now", "will run", "slot"), rows), _steps(plan)),
        lines=(*lines, f"plan: {plan.digest()}"),
        next=" ".join((f"tradeops deploy {short(plan.release)} --plan {plan.digest()}", *_excluding(plan))),
        data={"release": plan.release, "digest": plan.digest(), "plan": _plain(plan)},
    )


def _excluding(plan: Plan) -> list[str]:
    return [f"--exclude {host}" for host in plan.excluded] + (["--reason TEXT"] if plan.excluded else [])


def _slot(part: HostPlan) -> str:
    """Where the release goes; of two slots that take turns, which is idle now."""
    return part.slot if part.slot == part.active else f"{part.slot}, idle beside {part.active}"


def _turns(cutover: CutoverPlan) -> list[str]:
    from tradeops.contracts.directive import ADOPT

    kept = "left at work over an orderly logout, proved known to the slot that takes over, else cancelled"
    become = kept if cutover.orders == ADOPT else "cancelled and proved gone"
    return [
        f"beside the slot that trades for {age(cutover.shadow_s)} and {cutover.decisions:,} decisions, every order withheld; then by wave:",
        f"the slot that trades is stood down, its working orders are {become}, the token goes over",
        f"the old slots stay warm for {age(cutover.warm_s)} after the last step, and the run with them",
    ]


def _bake(step: StepPlan) -> str:
    """Without events no gate counts any: that is said, as time alone proves nothing (D10)."""
    if not step.bake_s:
        return "none"
    return f"{age(step.bake_s)}, {step.events} events" if step.events else f"{age(step.bake_s)}, no gate: time alone"


def _steps(plan: Plan) -> Table:
    rows = [
        (
            step.says,
            ", ".join(str(wave + 1) for wave in step.waves) or "none",
            f"{len(step.reached)} of {len(plan.hosts)}",
            "all of it" if step.cap_ppm is None else f"{step.cap_ppm / 10_000:g} %",
            _bake(step),
        )
        for step in plan.steps
    ]
    return table(("step", "waves", "hosts then on it", "of their own flow", "bake"), rows)


def _plain(plan: Plan) -> Any:
    import msgspec

    return msgspec.to_builtins(plan)


def journal_table(entries: list[dict[str, Any]], now: str) -> Table:
    """A run's journal."""
    rows = [(entry["seq"], entry["phase"], entry["outcome"], ", ".join(map(str, entry["detail"].get("hosts", ())))) for entry in entries]
    return table(("#", "phase", "outcome", "hosts"), rows, title=now)
