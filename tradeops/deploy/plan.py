"""What a playbook means for this fleet now: steps, hosts, what replaces what, with a digest that binds it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tradeops.base.digest import digest_bytes
from tradeops.base.errors import Refused
from tradeops.contracts.agent import Facts
from tradeops.contracts.codec import encode
from tradeops.contracts.flags import active_flags
from tradeops.contracts.manifest import Limits, Manifest, Release
from tradeops.contracts.status import MarkKind
from tradeops.deploy.playbook import Playbook
from tradeops.deploy.site import Site
from tradeops.deploy.waves import Cut, cut

SCHEMA = "tradeops/plan/v1"


class HostPlan(msgspec.Struct, frozen=True):
    """One host's part. old: the release that it runs now, None when it runs none."""

    host: str
    wave: int
    old: str | None
    binding: str


class StepPlan(msgspec.Struct, frozen=True):
    """One step. says: as the playbook says it.  waves: numbers of those switched in it.  reached: all hosts on the release
    when it is done.  cap_ppm: parts per million that each of those takes of its own flow; None: all of it.
    """

    says: str
    waves: tuple[int, ...]
    reached: tuple[str, ...]
    cap_ppm: int | None
    bake_s: float
    events: int


class Plan(msgspec.Struct, frozen=True):
    """The document. book: digest of the whole playbook.  approvals: how many it needs.

    bytes_new: content of the release that the one it replaces does not have.  turns_on: flags that it brings into force.
    excluded: hosts that it leaves out.
    outlook: how long gates will take, reckoned when the plan was made; not part of what the digest binds.
    """

    schema: str
    fleet: str
    environment: str
    service: str
    release: str
    number: int
    playbook: str
    book: str
    slot: str
    overlay: int
    steps: tuple[StepPlan, ...]
    hosts: tuple[HostPlan, ...]
    approvals: int
    turns_on: tuple[str, ...]
    bytes_new: int
    changes: tuple[str, ...]
    notes: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    outlook: tuple[str, ...] = ()

    def digest(self) -> str:
        """What `--plan` and approvals name."""
        return digest_bytes(encode(msgspec.structs.replace(self, outlook=())))

    def wave(self, number: int) -> tuple[str, ...]:
        """Host names of a wave."""
        return tuple(part.host for part in self.hosts if part.wave == number)

    def waves(self) -> int:
        """How many waves there are."""
        return 1 + max(part.wave for part in self.hosts)

    def part(self, host: str) -> HostPlan:
        """One host's part."""
        return next(part for part in self.hosts if part.host == host)


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
    cuts = cut(site.hosts, playbook)
    parts = tuple(
        HostPlan(host.name, number, olds[host.name], digest_bytes(binding_of(site, host.name)))
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
        slot=slot_of(facts),
        overlay=site.overlay_number,
        steps=_steps(cuts),
        hosts=parts,
        approvals=playbook.approvals,
        turns_on=turns_on,
        bytes_new=_bytes_new(predicate, before),
        changes=tuple(change for old in before for change in _changes(old.predicate, predicate, site.flags_off)),
        notes=(*_notes(facts, olds, release), *collapsed(cuts, len(site.hosts))),
        excluded=tuple(host.name for host in site.excluded),
    )


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


def here(facts: Facts) -> str | None:
    """The release of the slot that a run replaces: what runs there, or what would start where nothing runs."""
    return next((running.release or running.linked for running in facts.running if running.slot == facts.active), None)


def slot_of(facts: Mapping[str, Facts]) -> str:
    """The slot that a run replaces: the one that holds the activation token on every host.

    Raises Refused when hosts differ in it, or one stands by: there nobody writes, and a run would prove nothing.
    """
    standing_by = sorted(name for name, fact in facts.items() if any(mark.kind is MarkKind.STANDBY for mark in fact.marks))
    if standing_by:
        raise Refused("no slot is active", where=", ".join(standing_by), holds="nothing was touched", next="activate a slot there first")
    active = {name: fact.active for name, fact in facts.items()}
    if len(set(active.values())) > 1:
        said = "; ".join(f"{name}: {slot}" for name, slot in sorted(active.items()))
        raise Refused(f"hosts are active on different slots ({said})", holds="nothing was touched", next="bring all to one slot first")
    return next(iter(active.values()))


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
