"""`verify`: is every host what it should be? The odd host first."""

from __future__ import annotations

from dataclasses import asdict

import typer

from tradeops.base.errors import ExitCode
from tradeops.cli.context import Context
from tradeops.cli.excluded import strike
from tradeops.cli.options import Watch, context
from tradeops.cli.report import NO, UNKNOWN, YES, Report, table

_GLYPHS = {"yes": YES, "no": NO, "unknown": UNKNOWN}


def verify(ctx: typer.Context, watch: Watch = False) -> Report:
    """Compare every host with what was asked for and with the others. Exit 0 alike, 10 drift, 6 a host is not known.

    Changes nothing, but that an excluded host which is heard again is killed.
    """
    c = context(ctx)
    try:
        if watch:
            from tradeops.cli.watch import LOOK_S
            from tradeops.cli.watch import watch as keep_watching

            keep_watching(c, lambda: _look(c, LOOK_S), sameness=lambda report: report.tables)
        return _look(c, None)
    finally:
        c.ssh.close()


def _look(c: Context, deadline_s: float | None) -> Report:
    from tradeops.checks.finding import open_findings

    strike(c)
    verdict = c.verdict(c.fleet.hosts, deadline_s=deadline_s)
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
    lines = (heard.words(),) if (heard := c.overlays.heard()) else ()
    return Report("verify", title, code, hosts=hosts, tables=(table(("host", "check", "measured"), rows),), lines=lines, next=advice)
