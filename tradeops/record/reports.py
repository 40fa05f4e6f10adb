"""Reports for CI: JUnit with a case per host and step, annotations for GitHub and GitLab, a step summary."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from xml.etree import ElementTree

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEXT_CHARS_MAX = 8192
_MESSAGE_CHARS_MAX = 6144
"""A cause is cut so that what to do next has room after it."""
_ANNOTATIONS_MAX = 50


class Verdict(StrEnum):
    """What a step on a host came to. Unknown is reported as an error, never as passed."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Case:
    """One step on one host. next: what to do about it, where that is not what the whole command says."""

    host: str
    step: str
    verdict: Verdict
    seconds: float = 0.0
    message: str = ""
    next: str = ""

    @property
    def bad(self) -> bool:
        """Failed, or not known."""
        return self.verdict in (Verdict.FAILED, Verdict.UNKNOWN)


@dataclass(frozen=True)
class Report:
    """One command. where: the file that annotations point to, as the fleet file.  cause: of its ending, the first line in short.
    next: what to do now.
    """

    command: str
    run: str
    exit_code: int
    cases: tuple[Case, ...]
    where: str = "fleet.yml"
    cause: str = ""
    next: str = ""

    def whole(self) -> tuple[Case, ...]:
        """Never empty, and of a command that ended badly the first says so for the fleet, whatever its hosts came to."""
        if self.exit_code != 0:
            return (Case("(fleet)", self.command, Verdict.FAILED, message=f"exit code {self.exit_code}. {self.cause}".strip()), *self.cases)
        return self.cases or (Case("(fleet)", self.command, Verdict.PASSED, message=self.cause),)

    def count(self, verdict: Verdict) -> int:
        """How many cases came to `verdict`."""
        return sum(case.verdict is verdict for case in self.whole())

    def bad(self) -> Sequence[Case]:
        """The cases that failed or are unknown."""
        return [case for case in self.whole() if case.bad]

    def words(self, case: Case) -> str:
        """What was measured or is the cause; of a bad case also what to do next."""
        after = case.next or self.next
        return case.message[:_MESSAGE_CHARS_MAX] + (f"\nnext: {after}" if case.bad and after else "")


def junit(report: Report) -> str:
    """The JUnit XML document."""
    cases = report.whole()
    suites = ElementTree.Element("testsuites")
    for step in dict.fromkeys(case.step for case in cases):
        of_step = [case for case in cases if case.step == step]
        suite = ElementTree.SubElement(suites, "testsuite", _suite_attributes(step, of_step))
        for case in of_step:
            _junit_case(suite, case, report)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _suite_attributes(step: str, cases: Sequence[Case]) -> dict[str, str]:
    counts = {verdict: sum(case.verdict is verdict for case in cases) for verdict in Verdict}
    return {
        "name": _xml_text(step),
        "tests": str(len(cases)),
        "failures": str(counts[Verdict.FAILED]),
        "errors": str(counts[Verdict.UNKNOWN]),
        "skipped": str(counts[Verdict.SKIPPED]),
        "time": f"{sum(case.seconds for case in cases):.3f}",
    }


def _junit_case(suite: ElementTree.Element, case: Case, report: Report) -> None:
    name = f"{report.command}.{case.step}"
    element = ElementTree.SubElement(
        suite, "testcase", {"classname": _xml_text(name), "name": _xml_text(case.host), "time": f"{case.seconds:.3f}"}
    )
    tag = {Verdict.FAILED: "failure", Verdict.UNKNOWN: "error", Verdict.SKIPPED: "skipped"}.get(case.verdict)
    if tag:
        message = _xml_text(report.words(case).strip() or case.verdict)
        ElementTree.SubElement(element, tag, {"message": message.split("\n")[0]}).text = message
    elif case.message:
        ElementTree.SubElement(element, "system-out").text = _xml_text(case.message)


def _xml_text(text: str) -> str:
    return _NOT_XML.sub("�", text[:_TEXT_CHARS_MAX])


def github_annotations(report: Report) -> str:
    """Workflow commands, a line per bad case; print them where the job's output is read."""
    lines = []
    for case in report.bad()[:_ANNOTATIONS_MAX]:
        title = _property(f"{case.host}: {case.step} {case.verdict}")
        lines.append(f"::error file={_property(report.where)},title={title}::{_data(report.words(case))}")
    return "".join(f"{line}\n" for line in lines)


def _data(text: str) -> str:
    return text[:_TEXT_CHARS_MAX].replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def gitlab_code_quality(report: Report) -> str:
    """GitLab's code quality document (`artifacts:reports:codequality`): an entry per bad case."""
    entries = [
        {
            "description": f"{case.host}: {case.step} {case.verdict}. {report.words(case)}",
            "check_name": f"tradeops-{report.command}-{case.step}",
            "fingerprint": sha256("\0".join((report.command, case.host, case.step)).encode(errors="replace")).hexdigest(),
            "severity": "blocker" if case.verdict is Verdict.UNKNOWN else "critical",
            "location": {"path": report.where, "lines": {"begin": 1}},
        }
        for case in report.bad()
    ]
    return json.dumps(entries, indent=2) + "\n"


def step_summary(report: Report) -> str:
    """Markdown for a job's summary page: the outcome, what to do now, then the hosts, bad ones first."""
    lines = [f"## {_cell(report.command)}: exit code {report.exit_code}", ""]
    if report.run:
        lines += [f"Run `{_cell(report.run)}`.", ""]
    counts = ", ".join(f"{report.count(verdict)} {verdict}" for verdict in Verdict if report.count(verdict))
    lines += [f"{len(report.whole())} cases: {counts}.", ""]
    if report.next:
        lines += [f"**Next:** {_cell(report.next)}", ""]
    lines += ["| host | step | verdict | seconds | |", "|---|---|---|---:|---|"]
    for case in sorted(report.whole(), key=lambda case: not case.bad):
        lines.append(f"| {_cell(case.host)} | {_cell(case.step)} | {case.verdict} | {case.seconds:.1f} | {_cell(report.words(case))} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    flat = " ".join(text[:_TEXT_CHARS_MAX].split())
    return re.sub(r"([\\|`<>*_\[\]])", r"\\\1", flat)
