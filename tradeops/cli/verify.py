"""`verify`: is every host what it should be? The odd host first."""

from __future__ import annotations

from dataclasses import asdict

import typer

from tradeops.base.errors import ExitCode, UsageError
from tradeops.cli.options import Watch, context
from tradeops.cli.report import NO, UNKNOWN, YES, Report, table

WATCH_S = 1.0
_GLYPHS = {"yes": YES, "no": NO, "unknown": UNKNOWN}


def verify(ctx: typer.Context, watch: Watch = False) -> Report:
    """Compare every host with what was asked for and with the others. Exit 0 alike, 10 drift, 6 a host is not known."""
    c = context(ctx)
    if watch and c.options.as_json:
        raise UsageError("--watch never ends and --json is one document", next="leave one of them out")
    try:
        report = _look(ctx)
        while watch:
            c.printer.report(report)
            c.clock.sleep_s(WATCH_S)
            report = _look(ctx)
        return report
    finally:
        c.ssh.close()


def _look(ctx: typer.Context) -> Report:
    from tradeops.checks.finding import open_findings

    c = context(ctx)
    verdict = c.verdict(c.fleet.hosts)
    odd = {name: open_findings(found) for name, found in verdict.findings.items()}
    code, bad = verdict.exit_code(), [name for name, found in odd.items() if found]
    rows = [(f"{_GLYPHS[finding.verdict]} {name}", finding.check, finding.detail) for name in bad for finding in odd[name]]
    rows += [(f"{YES} {name}", "all", f"{len(verdict.findings[name])} checks") for name in odd if name not in bad]
    hosts = tuple(
        {"host": name, "ok": not odd[name], "findings": [asdict(finding) for finding in found]} for name, found in verdict.findings.items()
    )
    title = f"{len(odd) - len(bad)} of {c.fleet.hosts_declared} hosts are what they should be"
    if bad:
        title += f"; odd: {', '.join(bad)}"
    advice = {ExitCode.DRIFT: "`tradeops docs drift`", ExitCode.MIXED: "`tradeops docs mixed-fleet`"}.get(code, "")
    return Report("verify", title, code, hosts=hosts, tables=(table(("host", "check", "measured"), rows),), next=advice)
