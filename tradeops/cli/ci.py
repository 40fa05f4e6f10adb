"""What a CI job gets beside the command's own output: JUnit, annotations, step summary, each where its environment asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tradeops.cli.render import Printer
from tradeops.cli.report import Report

JUNIT, CODE_QUALITY = "TRADEOPS_JUNIT", "TRADEOPS_CODE_QUALITY"
"""Files to write: JUnit XML; GitLab's code quality JSON. GitHub's own variables are honoured as they are."""
_ASKED = (JUNIT, CODE_QUALITY, "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")


def publish(report: Report, environ: Mapping[str, str], printer: Printer) -> None:
    """Write what `environ` asks for. A report that cannot be written is told and changes nothing of how the command ended."""
    if not any(environ.get(name) for name in _ASKED):
        return
    try:
        _publish(report, environ, printer)
    except OSError as error:
        printer.line(f"the report for CI could not be written: {error}")


def _publish(report: Report, environ: Mapping[str, str], printer: Printer) -> None:
    from tradeops.cli.cases import cases
    from tradeops.record import reports

    where = environ.get("TRADEOPS_FLEET", "fleet.yml")
    cause = "\n".join((report.title, *report.lead, *report.lines))
    told = reports.Report(report.command, report.run or "", int(report.exit_code), cases(report), where, cause, report.next)
    if path := environ.get(JUNIT):
        Path(path).write_text(reports.junit(told), encoding="utf-8")
    if path := environ.get(CODE_QUALITY):
        Path(path).write_text(reports.gitlab_code_quality(told), encoding="utf-8")
    if path := environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(reports.step_summary(told))
    if environ.get("GITHUB_ACTIONS") == "true":
        for line in reports.github_annotations(told).splitlines():
            printer.line(line)
