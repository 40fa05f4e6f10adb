"""Answers that are unusual: refusals by every host, kills that could not be kept, envelopes that are none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.sim.world import World, make_host
from tests.support.badssh import silent_port
from tradeops.base.clock import SystemClock, VirtualClock
from tradeops.base.errors import KillIncomplete, MixedFleet, Refused, TradeopsError, UsageError
from tradeops.contracts.agent import Latched
from tradeops.contracts.binding import BINDING_SCHEMA, Binding, Venue
from tradeops.contracts.directive import REPLY_SCHEMA, Directive, DirectiveReply, Scope, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.fleet.outcome import Done
from tradeops.record.audit import Audit
from tradeops.safety.desk import Desk, Taken, order, require_taken
from tradeops.safety.directives import compose, read
from tradeops.safety.kill import Board, HostKill
from tradeops.safety.permit import refusals
from tradeops.safety.venues import Sweep

HOST = make_host("h1")


def board(told: list[HostKill]) -> Board:
    """A kill of one host."""
    return Board([HOST], VirtualClock(), told.append)


def reply(**more: Any) -> DirectiveReply:
    """A guard's answer."""
    return DirectiveReply(**{"schema": REPLY_SCHEMA, "id": "k", "host": "h1", "accepted": True, **more})


def test_a_guard_s_error_is_kept_beside_its_answer() -> None:
    """A confirmed host may still have something to say."""
    told: list[HostKill] = []
    board(told).answer("h1", reply(blocked=True, clear=True, error="not on the disk yet"))
    assert told[0].problems == {"https": "not on the disk yet"}


def test_a_kill_that_could_not_be_kept_is_not_confirmed() -> None:
    """K06: the process is gone, but nothing on the host says so: it would trade again after a reboot."""
    told: list[HostKill] = []
    board(told).latched("h1", Latched(0, False, blocked=True, problems=("the disk is read-only",)))
    assert told[0].blocked_ms is None
    assert set(told[0].problems) == {"ssh", "durable"}


def taken(verb: Verb, problems: Mapping[str, TradeopsError]) -> Taken:
    """A directive that some hosts did not take."""
    directive = Directive("s", "d", verb, "fleet", ("h1", "h2"), "x", 0, 0)
    return Taken(directive, problems, {})


@pytest.mark.parametrize(
    ("verb", "problems", "kind"),
    [
        (Verb.HALT, {"h1": TradeopsError("no answer")}, KillIncomplete),
        (Verb.RESUME, {"h1": Refused("no"), "h2": Refused("no")}, Refused),
        (Verb.RESUME, {"h1": TradeopsError("no answer")}, MixedFleet),
    ],
)
def test_who_did_not_take_it_is_raised_by_name(verb: Verb, problems: Mapping[str, TradeopsError], kind: type[TradeopsError]) -> None:
    """A halt that is not confirmed, a directive nobody took, a fleet that took it in part."""
    with pytest.raises(kind, match="h1"):
        require_taken(taken(verb, problems), 2)


def test_a_permit_without_a_proof_is_not_sent(tmp_path: Path) -> None:
    """K07: D01 comes first."""
    site = World(tmp_path).site()
    permit = compose(Verb.PERMIT, id="p", fleet="sim", hosts=("h1",), reason="x", now_ns=0)
    desk = Desk(site.controls, Audit(tmp_path / "audit.jsonl", clock=VirtualClock(), actor="operator-1"), 1.0)
    with pytest.raises(Refused, match="no proof"):
        order(desk, site.hosts, permit, Envelope.of(b""))


def test_a_guard_that_refuses_is_listed_with_its_words() -> None:
    """What the guard said is what a person reads."""
    found = refusals({"h1": Done(reply(accepted=False, error="replayed", next="write a new one"))}, ["h1"])
    assert (found["h1"].what, found["h1"].next) == ("replayed", "write a new one")


def test_what_is_no_envelope_is_a_usage_error() -> None:
    """A broken file names itself."""
    with pytest.raises(UsageError, match="permit"):
        read(Envelope("&&&", ()), source="permit.json")


def test_a_venue_that_takes_connections_and_says_nothing_is_given_up() -> None:
    """K08: silence is a problem within seconds, not a wait without end."""

    with silent_port() as port:
        venue = Venue("sim", f"ws://127.0.0.1:{port}", "", f"ws://127.0.0.1:{port}", "acc")
        bindings = {"h1": Binding(BINDING_SCHEMA, "f", "lab", "h1", "trader", (venue,), (), {})}
        (swept,) = Sweep(bindings, lambda _: None, "kill", Scope(), SystemClock()).run(["h1"], 0.3)
    assert swept.working is None
    assert "did not tell" in swept.problem
