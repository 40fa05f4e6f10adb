"""Somebody tightens in the middle of a run, from another machine: what hosts hold is taken over when it can be believed, on record."""

from __future__ import annotations

from collections.abc import Mapping

from tradeops.base.digest import digest_bytes
from tradeops.contracts.status import Status
from tradeops.deploy.crew import Crew

OVERLAY = "overlay"


def hear(crew: Crew, reported: Mapping[str, int]) -> None:
    """Take over the overlay of hosts that report a higher number than is known here [number by host], if it can be believed.

    Raises NotRecorded, OSError.
    """
    crew.site.overlays.hear(crew.hosts(crew.plan_hosts()), reported, deadline_s=crew.playbook.deadlines.control)
    take_over(crew)


def hear_guards(crew: Crew, seen: Mapping[str, Status]) -> None:
    """The same by what guards say of themselves."""
    hear(crew, {name: status.overlay_number for name, status in seen.items()})


def take_over(crew: Crew) -> None:
    """What was heard is the newest one on this machine too, which is on record first (A01). Raises NotRecorded, OSError."""
    heard = crew.site.overlays.heard()
    if heard is None:
        return
    detail = {"number": heard.overlay.number, "digest": digest_bytes(heard.envelope.body()), "signed_by": list(heard.people)}
    intent = crew.site.ledger.intent(OVERLAY, run=crew.run, hosts=heard.hosts, detail=detail)
    crew.site.overlays.keep(heard)
    crew.journal.note(OVERLAY, "taken over", crew.site.clock.wall_ns(), hosts=list(heard.hosts), **detail)
    crew.site.ledger.outcome(intent, "taken over", detail={})
    for name in heard.hosts:
        crew.tell(OVERLAY, name, "done", heard.words())
