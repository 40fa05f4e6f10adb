"""What a playbook means for this fleet now: steps, hosts, what replaces what, with a digest that binds it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import msgspec

from tradeops.base.digest import digest_bytes
from tradeops.base.errors import Refused
from tradeops.contracts.agent import Facts
from tradeops.contracts.binding import Binding
from tradeops.contracts.codec import decode, encode
from tradeops.contracts.directive import ADOPT, CANCEL
from tradeops.contracts.flags import active_flags
from tradeops.contracts.layout import SLOTS
from tradeops.contracts.manifest import Limits, Manifest, Release
from tradeops.contracts.units import PPM
from tradeops.deploy.places import here, other_slot, places, refuse_adoption, refuse_turns
from tradeops.deploy.playbook import Cutover, Playbook
from tradeops.deploy.site import Site
from tradeops.deploy.waves import Cut, cut

SCHEMA = "tradeops/plan/v1"
Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Digest = Annotated[str, msgspec.Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]


class HostPlan(msgspec.Struct, frozen=True):
    """One host's part. old: the release that it runs now, None when it runs none.  slot: where the release goes.

    active: the slot that trades now.  idle: the release that the other one is linked to, None: none.  A plan that names no slots
    is of a time when every host had one.
    """

    host: str
    wave: Count
    old: Digest | None
    binding: Digest
    slot: str = SLOTS[0]
    active: str = SLOTS[0]
    idle: Digest | None = None

    @property
    def beside(self) -> str:
        """The slot in which nothing lives any more when the run has come true."""
        return other_slot(self.slot)


class StepPlan(msgspec.Struct, frozen=True):
    """One step. says: as the playbook says it.  waves: numbers of those switched in it.  reached: all hosts on the release
    when it is done.  cap_ppm: parts per million that each of those takes of its own flow; None: all of it.
    """

    says: str
    waves: tuple[int, ...]
    reached: tuple[str, ...]
    cap_ppm: Annotated[int, msgspec.Meta(ge=0, le=PPM)] | None
    bake_s: Seconds
    events: Count


class CutoverPlan(msgspec.Struct, frozen=True):
    """How two slots take turns. orders: what becomes of those that work when they do.  shadow_s, decisions: of the bake beside
    the slot that trades.  warm_s: how long that one stands by afterwards.
    """

    orders: str
    shadow_s: Seconds
    decisions: Count
    warm_s: Seconds


class Plan(msgspec.Struct, frozen=True):
    """The document. book: digest of the whole playbook.  approvals: how many it needs.

    bytes_new: content of the release that the one it replaces does not have.  turns_on: flags that it brings into force.
    excluded: hosts that it leaves out.  back: where its hosts would be taken back to.  risks: what may stand in that way.
    cutover: None where each host's release is replaced in its place.
    outlook: how long gates will take, reckoned when the plan was made; not part of what the digest binds.
    """

    schema: str
    fleet: str
    environment: str
    service: str
    release: Digest
    number: Count
    playbook: str
    book: Digest
    overlay: Count
    steps: tuple[StepPlan, ...]
    hosts: tuple[HostPlan, ...]
    approvals: Count
    turns_on: tuple[str, ...]
    bytes_new: Count
    changes: tuple[str, ...]
    notes: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()
    outlook: tuple[str, ...] = ()
    cutover: CutoverPlan | None = None

    def digest(self) -> str:
        """What `--plan` and approvals name."""
        return digest_bytes(encode(msgspec.structs.replace(self, outlook=())))

    def lasts_s(self) -> float:
        """What the run waits for by its plan: bakes, and the slots that stay warm."""
        turns_s = self.cutover.shadow_s + self.cutover.warm_s if self.cutover else 0.0
        return turns_s + sum(step.bake_s for step in self.steps)

    def orders(self) -> str:
        """What becomes of working orders where two slots take turns."""
        return self.cutover.orders if self.cutover else CANCEL

    def wave(self, number: int) -> tuple[str, ...]:
        """Host names of a wave."""
        return tuple(part.host for part in self.hosts if part.wave == number)

    def waves(self) -> int:
        """How many waves there are."""
        return 1 + max(part.wave for part in self.hosts)

    def adds_up(self) -> bool:
        """Whether every host is switched once, wave by wave, and each step reaches those of its waves and of all before them."""
        at = 0
        for step in self.steps:
            first, at = at, at + len(step.waves)
            if step.waves != tuple(range(first, at)) or step.reached != tuple(part.host for part in self.hosts if part.wave < at):
                return False
        names, waves = {part.host for part in self.hosts}, {part.wave for part in self.hosts}
        return at > 0 and waves == {*range(at)} and len(names) == len(self.hosts)

    def without(self, names: Collection[str]) -> Plan:
        """The same for the hosts that are left when these are put out in the middle of it."""
        steps = [msgspec.structs.replace(step, reached=tuple(name for name in step.reached if name not in names)) for step in self.steps]
        hosts = tuple(part for part in self.hosts if part.host not in names)
        excluded = tuple(dict.fromkeys((*self.excluded, *names)))
        return msgspec.structs.replace(self, steps=tuple(steps), hosts=hosts, excluded=excluded)

    def part(self, host: str) -> HostPlan:
        """One host's part."""
        return next(part for part in self.hosts if part.host == host)


class Written(msgspec.Struct, frozen=True):
    """What `plan --json` writes, as far as an approval looks at it. digest: what it says of itself, which is not believed."""

    plan: Plan
    digest: str = ""


def make_plan(site: Site, release: str, playbook: Playbook, facts: Mapping[str, Facts], turns_on: tuple[str, ...] = ()) -> Plan:
    """The plan for `release` on hosts with `facts`. Raises Refused when the release lacks limits (D12) or bindings."""
    manifest = site.releases.manifest(release)
    predicate = manifest.predicate
    if not predicate.start.kept and predicate.limits is None:
        raise Refused(
            "the release carries no pre-set limits", where=release, holds="nothing was touched", next="add `limits` and build again"
        )
    olds = {name: here(fact) for name, fact in facts.items()}
    before = [site.releases.manifest(old) for old in sorted({old for old in olds.values() if old and old != release})]
    found = places(facts, take_turns=playbook.cutover is not None)
    if playbook.cutover:
        running = {name: site.releases.manifest(old).predicate for name, old in olds.items() if old}
        refuse_turns(predicate, facts, running)
    if playbook.cutover and playbook.cutover.orders == ADOPT:
        refuse_adoption({name: decode(binding_of(site, name), Binding, source=f"binding of {name}") for name in facts})
    cuts = cut(site.hosts, playbook, site.excluded)
    parts = tuple(
        HostPlan(host.name, number, olds[host.name], digest_bytes(binding_of(site, host.name)), **asdict(found[host.name]))
        for number, wave in enumerate(wave for step in cuts for wave in step.waves)
        for host in wave
    )
    return Plan(
        schema=SCHEMA,
        fleet=site.fleet,
        environment=site.environment,
        service=predicate.service,
        release=release,
        number=predicate.number,
        playbook=playbook.name,
        book=digest_bytes(playbook.text().encode()),
        overlay=site.overlay_number,
        steps=_steps(cuts),
        hosts=parts,
        approvals=max(playbook.approvals, site.policy.thresholds.get("approve", 0)),
        turns_on=turns_on,
        bytes_new=_bytes_new(predicate, before),
        changes=tuple(change for old in before for change in _changes(old.predicate, predicate, site.flags_off)),
        notes=(*_notes(facts, olds, release), *collapsed(cuts, len(site.hosts))),
        excluded=tuple(host.name for host in site.excluded),
        cutover=_cutover(playbook.cutover) if playbook.cutover else None,
    )


def _cutover(asked: Cutover) -> CutoverPlan:
    return CutoverPlan(asked.orders, asked.shadow.bake, asked.shadow.decisions, asked.warm)


def _steps(cuts: Sequence[Cut]) -> tuple[StepPlan, ...]:
    steps: list[StepPlan] = []
    number = 0
    for each in cuts:
        waves = tuple(range(number, number + len(each.waves)))
        number += len(waves)
        reached = tuple(host.name for host in each.reached)
        steps.append(StepPlan(each.step.hosts, waves, reached, each.cap_ppm, each.step.bake, each.step.events))
    return tuple(steps)


def collapsed(cuts: Sequence[Cut], whole: int) -> list[str]:
    """Steps that come to the same hosts in a fleet of this size, said aloud."""
    notes, at = [], 0
    while at < len(cuts):
        same = [each for each in cuts[at:] if each.reached == cuts[at].reached]
        if len(same) > 1:
            names = [each.step.hosts for each in same]
            hosts = "one host" if len(cuts[at].reached) == 1 else f"{len(cuts[at].reached)} hosts"
            caps = "their flow caps differ" if len({each.cap_ppm for each in same}) > 1 else "nothing tells them apart but their bakes"
            all_of = "both" if len(same) == 2 else "all"
            notes.append(f"{', '.join(names[:-1])} and {names[-1]} are {all_of} {hosts} of {whole}; {caps}")
        at += len(same)
    return notes


def binding_of(site: Site, host: str) -> bytes:
    """The signed bytes of a host's binding. Raises Refused when there is none."""
    envelope = site.bindings.get(host)
    if envelope is None:
        raise Refused("no signed binding", where=host, holds="nothing was touched", next="run `tradeops fleet sign`")
    return envelope.body()


def _bytes_new(release: Release, before: list[Manifest]) -> int:
    there = {file.digest for manifest in before for file in manifest.predicate.files}
    return sum({file.digest: file.size for file in release.files if file.digest not in there}.values())


def _changes(old: Release, new: Release, off: Mapping[str, int]) -> list[str]:
    was, now = active_flags(old.flags, off).keys(), active_flags(new.flags, off).keys()
    changes = [f"flag {flag} goes on" for flag in sorted(now - was)] + [f"flag {flag} goes off" for flag in sorted(was - now)]
    if old.limits and new.limits:
        changes += [
            f"limit {name}: {getattr(old.limits, name)} becomes {getattr(new.limits, name)}"
            for name in Limits.__struct_fields__
            if getattr(old.limits, name) != getattr(new.limits, name)
        ]
    return changes


def _notes(facts: Mapping[str, Facts], olds: Mapping[str, str | None], release: str) -> tuple[str, ...]:
    notes = []
    if len(set(olds.values())) > 1:
        notes.append("the fleet is mixed now: hosts run different releases")
    halted = sorted(name for name, fact in facts.items() if fact.marks)
    if halted:
        notes.append(f"{len(halted)} hosts may not trade and stay so: {', '.join(halted)}")
    again = sorted(name for name, old in olds.items() if old == release)
    if again:
        notes.append(f"{len(again)} hosts run this release already and are started anew: {', '.join(again)}")
    return tuple(notes)
