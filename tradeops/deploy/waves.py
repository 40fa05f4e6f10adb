"""Which hosts a step adds, and which of them are switched together (D08, D09). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tradeops.base.errors import UsageError
from tradeops.contracts.units import PPM
from tradeops.deploy.playbook import Playbook, Step, fraction
from tradeops.fleet.host import Host

CANARY = "canary"
"""Hosts with this tag come first."""


@dataclass(frozen=True)
class Cut:
    """One step. waves: the hosts it adds.  reached: all that run the release when it is done.

    cap_ppm: what each of those may take of its own flow, in parts per million; None: all of it.
    """

    step: Step
    waves: tuple[tuple[Host, ...], ...]
    reached: tuple[Host, ...]
    cap_ppm: int | None


def cut(hosts: Sequence[Host], playbook: Playbook, excluded: Sequence[Host] = ()) -> tuple[Cut, ...]:
    """Every host once, in the order of the steps. Raises UsageError when a step names a tag that no host has, or the first one a tag
    of none but the excluded.
    """
    _refuse_unknown(playbook, (*hosts, *excluded))
    left = sorted(hosts, key=lambda host: CANARY not in host.tags)
    reached: list[Host] = []
    cuts = []
    for step in playbook.steps:
        added = _added(step.hosts, left, len(reached), len(hosts))
        alone = not reached and fraction(playbook.at_once) < 1
        waves = _waves(added, max(1, int(len(hosts) * fraction(playbook.at_once))), alone=alone)
        reached += added
        left = [host for host in left if host not in added]
        cuts.append(Cut(step, waves, tuple(reached), _cap(step, reached, hosts)))
    return tuple(cuts)


def _refuse_unknown(playbook: Playbook, fleet: Sequence[Host]) -> None:
    """A mistyped tag is no step that reaches nobody new: its bake would judge the hosts of the step before."""
    known = {f"tag:{tag}" for host in fleet for tag in host.tags}
    for step in playbook.steps:
        if step.hosts.startswith("tag:") and step.hosts not in known:
            raise _nobody(step.hosts)


def _nobody(reach: str) -> UsageError:
    return UsageError(
        f"no host has the tag {reach.removeprefix('tag:')!r}",
        holds="nothing was touched",
        next="`tradeops fleet list` prints names and tags; mend the playbook",
    )


def _added(reach: str, left: Sequence[Host], reached: int, whole: int) -> list[Host]:
    if reach.startswith("tag:"):
        tagged = [host for host in left if reach.removeprefix("tag:") in host.tags]
        if not tagged and not reached:
            raise _nobody(reach)
        return tagged
    wanted = max(1, int(whole * fraction(reach))) if reach.endswith("%") else int(reach)
    return list(left[: max(0, wanted - reached)])


def _waves(added: Sequence[Host], size: int, *, alone: bool) -> tuple[tuple[Host, ...], ...]:
    first = added[:1] if alone else []
    rest = added[len(first) :]
    waves = [tuple(rest[at : at + size]) for at in range(0, len(rest), size)]
    return (tuple(first), *waves) if first else tuple(waves)


def _cap(step: Step, reached: Sequence[Host], hosts: Sequence[Host]) -> int | None:
    """The fleet's share as a share of what comes to these hosts, by weight, rounded down."""
    if step.flow is None or not reached:
        return None
    cap = int(fraction(step.flow) * PPM * sum(host.weight for host in hosts) / sum(host.weight for host in reached))
    return cap if cap < PPM else None
