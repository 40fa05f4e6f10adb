"""How a release goes out, as data in YAML. Strict: an unknown key is an error with its line."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from tradeops.base.config import DurationS, Key, Strict, load_yaml, parse_yaml
from tradeops.contracts.metrics import PREFIX, Counter
from tradeops.deploy.blackout import Blackout
from tradeops.gates.spec import GateSpec, WaitS

SCHEMA = "tradeops/playbook/v1"
CANARY_FLOW_MAX = Fraction(1, 10)
"""What a canary may take of the fleet's flow (D08)."""


def fraction(share: str) -> Fraction:
    """What `10%`, `0.5%` or `1/3` says."""
    return Fraction(share[:-1]) / 100 if share.endswith("%") else Fraction(share)


def _share(value: str) -> str:
    if not 0 < fraction(value) <= 1:
        raise ValueError(f"{value} is no share: write more than 0% and at most 100%")
    return value


Share = Annotated[str, Field(pattern=r"^(\d{1,3}(\.\d{1,4})?%|1/[1-9]\d{0,3})$"), AfterValidator(_share)]
"""Written `10%`, `0.5%` or `1/3`."""
_REACH = r"^([1-9]\d{0,3}|\d{1,3}(\.\d{1,4})?%|tag:[A-Za-z0-9][A-Za-z0-9._-]*)$"
Reach = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int) and not isinstance(value, bool) else value),
    Field(pattern=_REACH),
    AfterValidator(lambda value: _share(value) if value.endswith("%") else value),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 9999}, {"type": "string", "pattern": _REACH}]}),
]
"""How far a release goes: a number of hosts, a share of them, or those with a tag."""


class Step(Strict):
    """The release runs on `hosts` when the step is done: counted from the first, or those with a tag besides.

    flow: what they may take together of the fleet's flow; left out, all that comes to them.  bake, events: the step has
    passed when both the time and so many real events are over, and its gate, which counts them, says so (D10).
    """

    hosts: Reach
    flow: Share | None = None
    bake: WaitS = 0.0
    events: Annotated[int, Field(ge=0, le=10**12)] = 0


Deadline = Annotated[DurationS, Field(ge=1, le=3600)]
"""A mistyped unit (`30ms`) is found before a host is touched: the way back has the same deadlines, and would fail by them too."""


class Deadlines(Strict):
    """What a run waits for on each host before it calls the step failed."""

    connect: Deadline = 10.0
    verb: Deadline = 30.0
    silence: Deadline = 20.0
    drain: Deadline = 15.0
    stop: Deadline = 15.0
    prove: Deadline = 30.0
    control: Deadline = 5.0


class Preflight(Strict):
    """What a host must have before anything is touched."""

    disk_free_mb: Annotated[int, Field(ge=1)] = 512
    inodes_free: Annotated[int, Field(ge=1)] = 2000
    memory_available_mb: Annotated[int, Field(ge=1)] = 128
    clock_offset: Annotated[DurationS, Field(gt=0, le=3600)] = 2.0


class Inconclusive(Strict):
    """What a gate without a verdict leads to. then: `hold` (the hosts that have not passed take no new risk), `trade-on`
    (they trade on for `trade_on`, after which their guards hold them), or `back`.
    """

    then: Literal["hold", "trade-on", "back"] = "hold"
    trade_on: Annotated[DurationS, Field(gt=0, le=86_400)] = 1800.0


def _shadow_gate() -> GateSpec:
    """What a standby is judged by unless the playbook says otherwise: that it decides as the slot that trades, without errors."""
    per = PREFIX + Counter.DECISIONS_COMPARED
    events = {"decisions_different": Counter.DECISIONS_DIFFERENT, "error_rate": Counter.ERRORS}
    metrics = {name: {"kind": "ratio", "events": PREFIX + counter, "per": per, "limit": "1%"} for name, counter in events.items()}
    return GateSpec.model_validate({"slot": "standby", "exposure": per, "metrics": metrics})


class Shadow(Strict):
    """The release beside the slot that trades, every order of it withheld. bake, decisions: it has passed when the time is over,
    so many decisions of both were held against each other, and its gate says so (D10).
    """

    bake: Annotated[WaitS, Field(gt=0)] = 300.0
    decisions: Annotated[int, Field(ge=1, le=10**12)] = 500
    gate: GateSpec = Field(default_factory=_shadow_gate)


class Cutover(Strict):
    """The release goes into the slot beside the one that trades, and takes over from it. orders: what becomes of those that
    work then.  warm: how long the slot that it took over from stands by afterwards, ready to take over again.
    """

    shadow: Shadow = Field(default_factory=Shadow)
    orders: Literal["cancel", "adopt"] = "cancel"
    warm: Annotated[DurationS, Field(le=86_400)] = 1800.0


class Playbook(Strict):
    """The whole document. at_once: hosts replaced together at most (D09), the first of all alone unless that is 100%.

    gate: judges every step that bakes; without one nothing is counted, and a bake is time under the smoke checks alone.  on_fail:
    of a gate: `back` to what ran before, or `halt`, left to a person.  approvals: by people other than who deploys.  keep: releases
    kept on each host besides the running and the previous one.  cutover: by two slots that take turns; left out, in place.
    """

    schema_: Annotated[Literal["tradeops/playbook/v1"], Field(alias="schema")]
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    steps: Annotated[tuple[Step, ...], Field(strict=False, min_length=1, max_length=100)] = (Step(hosts="1"), Step(hosts="100%"))
    at_once: Share = "1/3"
    gate: GateSpec | None = None
    cutover: Cutover | None = None
    on_fail: Literal["back", "halt"] = "back"
    on_inconclusive: Inconclusive = Inconclusive()
    approvals: Annotated[int, Field(ge=0, le=10)] = 0
    blackout: Annotated[tuple[Blackout, ...], Field(strict=False, max_length=100)] = ()
    deadlines: Deadlines = Deadlines()
    preflight: Preflight = Preflight()
    lease: Annotated[DurationS, Field(ge=3, le=3600)] = 120.0
    keep: Annotated[int, Field(ge=1, le=100)] = 3

    def text(self) -> str:
        """The whole of it as JSON, which is YAML too: what a run keeps and a plan's digest binds."""
        return self.model_dump_json(by_alias=True)


def load_playbook(path: Path) -> Playbook:
    """Raises ConfigError."""
    return load_yaml(path, Playbook, check=_problems)


def read_playbook(text: str, *, source: str) -> Playbook:
    """What `Playbook.text` wrote. Raises ConfigError."""
    return parse_yaml(text, Playbook, source=source, check=_problems)


def _problems(book: Playbook) -> Iterator[tuple[Key, str]]:
    """What no single field can tell."""
    last = len(book.steps) - 1
    if book.steps[last].hosts != "100%":
        yield ("steps", last, "hosts"), "the last step must reach 100% of the hosts"
    if fraction(book.steps[last].flow or "100%") < 1:
        yield ("steps", last, "flow"), "the last step must not cap the flow: the release would never be whole"
    reached: dict[bool, Fraction] = {}  # by whether it is a share: how those compare with a count is for the fleet to tell
    for number, step in enumerate(book.steps):
        if not step.hosts.startswith("tag:"):
            share = step.hosts.endswith("%")
            if fraction(step.hosts) < reached.get(share, 0):
                yield ("steps", number, "hosts"), "a step cannot reach fewer hosts than the one before it"
            reached[share] = fraction(step.hosts)
        if problem := _uncounted(step, gated=book.gate is not None):
            yield ("steps", number, "events"), problem
    if book.gate and not any(step.bake for step in book.steps):
        yield ("gate",), "it judges steps that bake, and none does: give a step `bake` and `events`, or every release passes unseen (D10)"
    if book.gate and book.gate.slot != "active":
        yield ("gate", "slot"), "what trades is judged here; a standby is judged under `cutover`"
    if book.cutover and book.cutover.shadow.gate.slot != "standby":
        yield ("cutover", "shadow", "gate", "slot"), "write `slot: standby`: the slot in force is not what is tried here"
    # While a guard waits for proof that a host is clear nobody renews; a third of the lease may be gone by then.
    if book.cutover and book.lease * 2 / 3 <= book.deadlines.drain + book.deadlines.control:
        yield ("lease",), "too short for a cutover: two thirds of it must outlast `drain` and `control`, or hosts are held in mid-cutover"
    first = book.steps[0]
    if first.bake and (first.flow is None or fraction(first.flow) > CANARY_FLOW_MAX):
        yield ("steps", 0, "flow"), "a canary takes at most 10% of the fleet's flow (D08)"


def _uncounted(step: Step, *, gated: bool) -> str:
    """Why what is asked of the step's bake would not be held to; empty when it is."""
    if step.events and not gated:
        return "without a `gate` nobody counts events: add one (`gate: {}`), or leave them out, and the bake is time alone (D10)"
    if step.events and not step.bake:
        return "events are counted in a bake, and this step has none: write `bake` too (D10)"
    if gated and step.bake and not step.events:
        return "a bake needs a number of real events too: time alone proves nothing (D10)"
    return ""
