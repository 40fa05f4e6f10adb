"""What a command came to as cases for CI: per host and step, then per host how it ended. Passed is only what says so of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tradeops.cli.report import Report
from tradeops.record.reports import Case, Verdict

_OF_STEP = {"done": Verdict.PASSED, "failed": Verdict.FAILED, "skipped": Verdict.SKIPPED}
_OF_CHECK = {"yes": Verdict.PASSED, "no": Verdict.FAILED}
_LEFT_ALONE = ("not touched", "not in the run's hands", "nothing runs")
"""States that a run leaves hosts in and says nothing of a release by: neither well nor in trouble."""


def cases(report: Report) -> tuple[Case, ...]:
    """A case per host and step and per metric of each gate, one per check of this machine, one per host for how it ended."""
    steps = [
        Case(step["host"], step["phase"], _OF_STEP.get(step["state"], Verdict.UNKNOWN), step["seconds"], step["detail"])
        for step in report.data.get("steps", ())
    ]
    here = [
        Case(check["where"], check["check"], _OF_CHECK.get(check["verdict"], Verdict.UNKNOWN), 0.0, check["detail"], check["fix"])
        for check in report.data.get("checks", ())
        if check["where"] == "here"
    ]
    return (*_numbered(steps), *here, *(_end(host, report) for host in report.hosts))


def _numbered(steps: Iterable[Case]) -> Iterator[Case]:
    """What a host goes through again has a name of its own: `prove`, `prove (2)`."""
    seen: Counter[tuple[str, str]] = Counter()
    for case in steps:
        seen[case.host, case.step] += 1
        count = seen[case.host, case.step]
        yield case if count == 1 else replace(case, step=f"{case.step} ({count})")


def _end(host: Mapping[str, Any], report: Report) -> Case:
    kinds = {"findings": _of_findings, "confirmed": _of_kill, "answered": _of_answer, "state": _of_run}
    judge = next((judge for key, judge in kinds.items() if key in host), _of_entry)
    verdict, words = judge(host, report)
    return Case(str(host.get("host", "?")), "end", verdict, 0.0, words, str(host.get("next") or ""))


def _of_entry(host: Mapping[str, Any], _report: Report) -> tuple[Verdict, str]:
    if host.get("problem") or host.get("ok") is False:
        return Verdict.FAILED, str(host.get("problem") or "not as it should be")
    return (Verdict.PASSED, "") if host.get("ok") else (Verdict.SKIPPED, "nothing is said of how this host is")


def _of_findings(host: Mapping[str, Any], _report: Report) -> tuple[Verdict, str]:
    found = [finding for finding in host["findings"] if finding["verdict"] != "yes"]
    words = "; ".join(f"{finding['check']}: {finding['detail']}" for finding in found)
    if any(finding["verdict"] == "no" for finding in found):
        return Verdict.FAILED, words
    return (Verdict.UNKNOWN, words) if found else (Verdict.PASSED, f"{len(host['findings'])} checks")


def _of_kill(host: Mapping[str, Any], _report: Report) -> tuple[Verdict, str]:
    words = "; ".join(f"{road}: {problem}" for road, problem in host["problems"].items())
    return (Verdict.PASSED, words) if host["confirmed"] else (Verdict.FAILED, f"not confirmed blocked and clear. {words}".strip())


def _of_answer(host: Mapping[str, Any], report: Report) -> tuple[Verdict, str]:
    """A host that was asked how it is."""
    if excluded := report.data.get("excluded", {}).get(host["host"]):
        return Verdict.FAILED, f"excluded {excluded}"
    if not host["answered"]:
        return Verdict.UNKNOWN, f"does not answer: {host['error']}"
    if odd := [*([f"differs: {host['differs']}"] if host.get("differs") else []), *host.get("problems", ())]:
        return Verdict.FAILED, "; ".join(odd)
    if host.get("trading") is False:
        return Verdict.SKIPPED, ", ".join(("does not trade", *(f"{mark['kind']} {mark['id']}" for mark in host["marks"])))
    return Verdict.PASSED, ""


def _of_run(host: Mapping[str, Any], report: Report) -> tuple[Verdict, str]:
    """A host at the end of a run. One for which a gate found no verdict, or that nobody proved, is not known."""
    state, causes = host["state"], report.data["causes"]
    if problem := host["problem"] or (causes.get(host["host"]) if report.exit_code else ""):
        return Verdict.FAILED, f"{state}: {problem}"
    if state.startswith("proved") and host["trading"] is not None:
        return Verdict.PASSED, state
    if state in _LEFT_ALONE:
        return Verdict.SKIPPED, state
    return Verdict.UNKNOWN, f"{state}: {causes.get('gate') or report.title}"
