"""`approve`: another person lets one plan be carried out, once, for a while (D15)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradeops.base.errors import Refused, UsageError
from tradeops.cli.ending import plan_report
from tradeops.cli.options import Reason, context
from tradeops.cli.report import Report, when

if TYPE_CHECKING:
    from tradeops.cli.context import Context

LIFE_S = 24 * 3600.0
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_BYTES_MAX = 16 << 20


def approve(
    ctx: typer.Context,
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="What `plan --json` wrote, as a file; or the digest that it printed.")],
    reason: Reason,
) -> Report:
    """Approve one plan, for a day, to be used once; by somebody other than who built and who deploys.

    A plan's file is shown before it is signed for, and its digest reckoned from what it holds.
    """
    from tradeops.deploy.approval import Approvals

    c = context(ctx)
    if not reason.strip():
        raise UsageError("a reason is needed: it is kept for good", next="add --reason TEXT")
    digest = plan if _DIGEST.fullmatch(plan) else _shown(c, Path(plan))
    with c.audit.pair("approve", detail={"plan": digest, "reason": reason}):
        made = Approvals(c.fleet.state.approvals, c.policy).give(
            digest, c.signer, id=c.new_id(), reason=reason, now_ns=c.clock.wall_ns(), life_s=LIFE_S
        )
    return Report(
        "approve",
        f"{c.person} approves {digest} until {when(made.expires_ns)} UTC",
        next=f"another person: tradeops deploy RELEASE --plan {digest}",
        data={"id": made.id, "plan": digest, "expires_ns": made.expires_ns},
    )


def _shown(c: Context, path: Path) -> str:
    """The digest of the plan in a file, once a person has seen it and, on a terminal, said yes."""
    from tradeops.base.durable import read_bounded
    from tradeops.cli.paths import named
    from tradeops.contracts.codec import decode
    from tradeops.deploy.plan import SCHEMA, Written

    with named("PLAN", path):
        text = read_bounded(path, _BYTES_MAX)
    written = decode(text, Written, source=str(path))
    plan, digest = written.plan, written.plan.digest()
    if (plan.schema, plan.fleet) != (SCHEMA, c.fleet.name):
        raise UsageError(f"a {plan.schema[:64]} of fleet {plan.fleet[:64]!r}, not of {c.fleet.name!r}", where=str(path))
    if not plan.adds_up():
        raise UsageError(
            "its steps and waves do not come to its hosts, each once",
            where=str(path),
            holds="nothing was signed",
            next="have the plan made again: `tradeops plan RELEASE --json`",
        )
    if written.digest not in ("", digest):
        raise Refused(
            f"the file says that its plan is {written.digest}; what it holds is {digest}",
            where=str(path),
            holds="nothing was signed",
            next="have the plan made again: `tradeops plan RELEASE --json`",
        )
    report = plan_report(plan)
    rows = [" | ".join(row) for each in report.tables for row in (each.columns, *each.rows)]
    for line in (report.title, *rows, *report.lines):
        c.printer.line(line)
    if c.printer.interactive and not c.options.yes and c.printer.ask("approve this plan? Type yes: ") != "yes":
        raise Refused("not approved", holds="nothing was signed", next="type yes, or give --yes")
    return digest
