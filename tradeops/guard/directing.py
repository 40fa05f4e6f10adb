"""From an envelope that somebody posted to a guard's answer: verified, decided, done, and waited for."""

from __future__ import annotations

import asyncio
import logging

from tradeops.base.clock import NS_PER_MS
from tradeops.base.errors import Refused, SignatureInvalid, TradeopsError
from tradeops.base.logs import event
from tradeops.contracts.directive import REPLY_SCHEMA, RISK_REDUCING, Directive, DirectiveReply, OrderOutcomes, Verb
from tradeops.contracts.entitle import Entitlement, entitled
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.guard import admit
from tradeops.guard.admit import Parsed, Refusal
from tradeops.guard.core import Guard
from tradeops.guard.killing import Killing
from tradeops.guard.marks import Decision, Facts, Order
from tradeops.guard.verbs import decide

_LOG = logging.getLogger("guard.directing")
DURABLE_WAIT_S = 1.0
WAIT_MS_MAX = 30_000
_MAY_PASS = frozenset({"not_proved", "not_stood_down", "not_adoptable", "reconciliation_break"})
_AGAIN_S = 0.02


async def direct(guard: Guard, envelope: Envelope, *, certified: bool, received_ns: int, wait_ms: int) -> tuple[int, DirectiveReply]:
    """Take a directive; the status of HTTP and the answer. certified: it came with a client certificate; a kill needs none.

    received_ns: CLOCK_MONOTONIC.  wait_ms: how long to wait for blocked. Never raises Refusal: a no is an answer too.
    """
    directive: Directive | None = None
    try:
        parsed = admit.parse(envelope)
        directive = admit.widen(parsed)
        order = _admit(guard, parsed, directive, envelope, certified=certified)
        return 200, await _obey(guard, order, received_ns, wait_ms)
    except Refusal as refusal:
        event(_LOG, logging.WARNING, "directive refused", id=directive.id if directive else "", code=refusal.code, problem=refusal.what)
        return refusal.status, refused(guard, directive.id if directive else "", refusal)


def refused(guard: Guard, id: str, refusal: Refusal) -> DirectiveReply:
    """The answer that says no, and how things stand all the same."""
    stop = guard.memory.stop
    return DirectiveReply(
        REPLY_SCHEMA,
        id,
        guard.host.host,
        False,
        already=refusal.code in ("spent", "replayed"),
        blocked=stop.stopped_at is not None and guard.blocked(),
        epoch=stop.epoch,
        marks=_marks(guard),
        code=refusal.code,
        error=refusal.what,
        next=refusal.next or "",
        roster_number=guard.site.roster_number,
    )


def _admit(guard: Guard, parsed: Parsed, directive: Directive, envelope: Envelope, *, certified: bool) -> Order:
    """Who speaks, if they may and it is for us and of now. Raises Refusal."""
    kill = directive.verb is Verb.KILL
    if not (kill or certified):
        raise Refusal("certificate", f"{directive.verb} needs a client certificate of this fleet", status=403)
    admit.address(directive, host=guard.host.host, fleet=guard.host.fleet)
    now_ns = guard.clock.wall_ns()
    who = _entitled(guard, directive.verb, envelope, None if kill else now_ns)
    admit.fresh(parsed, now_ns)
    return Order(directive, envelope, who.people, who.run)


def _entitled(guard: Guard, verb: Verb, envelope: Envelope, now_ns: int | None) -> Entitlement:
    policy = guard.site.policy
    if policy is None:
        raise Refusal("no_policy", "this host has no policy to judge signatures by", "stop it over SSH; enrol the host again", status=503)
    try:
        return entitled(policy, verb, envelope, Purpose.DIRECTIVE, now_ns=now_ns, host=guard.host.host)
    except SignatureInvalid as error:
        raise Refusal("signature", error.what, error.next or "", status=403) from None
    except Refused as error:
        raise Refusal("not_entitled", error.what, error.next or "", status=403) from None
    except TradeopsError as error:
        raise Refusal("malformed", str(error), status=400) from None


async def _obey(guard: Guard, order: Order, received_ns: int, wait_ms: int) -> DirectiveReply:
    directive, memory = order.directive, guard.memory
    if directive.verb in RISK_REDUCING:
        decision = decide(memory.state, order, Facts(), memory.now())
        memory.reduce(decision.state)
    else:
        decision = await _add(guard, order, received_ns, wait_ms)
    event(_LOG, logging.WARNING, "directive", id=directive.id, verb=directive.verb.value, by=order.by, already=decision.already)
    problem = _share(guard) if directive.verb is Verb.OVERLAY else ""
    killing = None
    if decision.cancel is not None:
        killing = guard.stop_orders(directive.id, directive.scope, received_ns, force=directive.verb is Verb.KILL)
        if not killing.check_blocked() and wait_ms:
            await killing.wait_blocked(min(wait_ms, WAIT_MS_MAX) / 1000)
        killing.confirm_clear()
    if not await memory.durable(DURABLE_WAIT_S):
        problem = "in force, but not on the disk yet"
    return _accepted(guard, directive.id, decision, killing, problem)


async def _add(guard: Guard, order: Order, received_ns: int, wait_ms: int) -> Decision:
    """What adds risk; a trader or a venue that is not there yet may come within the time that the caller waits anyway."""
    until_ns = received_ns + min(wait_ms, WAIT_MS_MAX) * NS_PER_MS
    while True:
        try:
            return await guard.memory.add(lambda state: decide(state, order, guard.facts(), guard.memory.now()))
        except Refusal as refusal:
            if refusal.code not in _MAY_PASS or guard.clock.monotonic_ns() >= until_ns:
                raise
        await asyncio.sleep(_AGAIN_S)


def _share(guard: Guard) -> str:
    try:
        guard.share_overlay()
    except OSError as error:
        return f"in force here, but it cannot be laid before the trader: {error}"
    return ""


def _accepted(guard: Guard, id: str, decision: Decision, killing: Killing | None, problem: str) -> DirectiveReply:
    stop = guard.memory.stop
    progress = killing.progress if killing else None
    working = guard.working(progress.scope if progress else None)
    return DirectiveReply(
        REPLY_SCHEMA,
        id,
        guard.host.host,
        True,
        decision.already,
        blocked=progress.blocked_ms is not None if progress else stop.stopped_at is not None and guard.blocked(),
        clear=None if working is None else working == 0,
        working=working,
        blocked_ms=progress.blocked_ms if progress else None,
        clear_ms=progress.clear_ms if progress else None,
        epoch=stop.epoch,
        marks=_marks(guard),
        orders=progress.orders() if progress else OrderOutcomes(),
        error=problem,
        roster_number=guard.site.roster_number,
        note=decision.note,
    )


def _marks(guard: Guard) -> tuple[str, ...]:
    return tuple(f"{mark.kind}:{mark.id}" for mark in guard.memory.state.marks)
