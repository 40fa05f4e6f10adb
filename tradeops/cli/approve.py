"""`approve`: another person lets one plan be carried out, once, for a while (D15)."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from tradeops.base.errors import UsageError
from tradeops.cli.options import Reason, context
from tradeops.cli.report import Report, when

LIFE_S = 24 * 3600.0
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def approve(
    ctx: typer.Context,
    plan: Annotated[str, typer.Argument(metavar="DIGEST", help="What `tradeops plan` printed, and you have read.")],
    reason: Reason,
) -> Report:
    """Approve one plan by its digest, for a day, to be used once; by somebody other than who deploys."""
    from tradeops.deploy.approval import Approvals

    c = context(ctx)
    if not _DIGEST.fullmatch(plan):
        raise UsageError(f"{plan[:80]!r} is no plan's digest", next="`tradeops plan RELEASE` prints it: sha256: and 64 digits")
    if not reason.strip():
        raise UsageError("a reason is needed: it is kept for good", next="add --reason TEXT")
    with c.audit.pair("approve", detail={"plan": plan, "reason": reason}):
        made = Approvals(c.fleet.state.approvals, c.policy).give(
            plan, c.signer, id=c.new_id(), reason=reason, now_ns=c.clock.wall_ns(), life_s=LIFE_S
        )
    return Report(
        "approve",
        f"{c.person} approves {plan} until {when(made.expires_ns)} UTC",
        next=f"another person: tradeops deploy RELEASE --plan {plan}",
        data={"id": made.id, "plan": plan, "expires_ns": made.expires_ns},
    )
