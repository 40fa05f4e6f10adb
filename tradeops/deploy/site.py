"""What a run works with: the fleet, the ports, the records, and the person who asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tradeops.base.clock import Clock
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.manifest import Manifest
from tradeops.contracts.policy import Policy
from tradeops.contracts.signature import RunKey, Signer
from tradeops.deploy.approval import Approvals
from tradeops.deploy.exclusion import Exclusions
from tradeops.deploy.quarantine import Quarantine
from tradeops.fleet.host import Host
from tradeops.fleet.ports import Agents, Controls, FanOut, Traffic
from tradeops.gates.arms import Arms
from tradeops.gates.evidence import Trace
from tradeops.gates.sources.choose import source_of
from tradeops.gates.sources.port import Source
from tradeops.gates.spec import GateSpec
from tradeops.safety.kill import Sweeping
from tradeops.safety.overlays import Overlays


class Releases(Protocol):
    """The operator's store of signed releases, verified when it was filled and again on every host."""

    def manifest(self, release: str) -> Manifest:
        """Raises UsageError when there is none."""

    def authors(self, release: str, policy: Policy) -> tuple[str, ...]:
        """Who signed it, by their names in the policy. Raises SignatureInvalid, Refused when nobody who may release did."""

    def announcement(self, release: str) -> bytes:
        """The body of the agent's `missing`."""

    def parcel(self, release: str, missing: Sequence[str]) -> tuple[Iterable[bytes], int]:
        """The body of the agent's `receive` in slices, and its whole size in bytes."""


class Ledger(Protocol):
    """The audit chain: intent before the act, outcome after it. A log that cannot be written stops the run (A03)."""

    def intent(self, verb: str, *, run: str, hosts: Sequence[str], detail: Mapping[str, Any]) -> int:
        """Returns the row's number. Raises TradeopsError when nothing can be written."""

    def outcome(self, intent: int, result: str, *, detail: Mapping[str, Any]) -> None:
        """Close an intent."""

    def head(self) -> tuple[str, int, str]:
        """Chain id, number and hash of the newest row: what witnesses keep (A02)."""


@dataclass(frozen=True)
class Progress:
    """One step on one host, for the screen. state: started, done, failed."""

    run: str
    phase: str
    host: str
    state: str
    detail: str = ""


@dataclass(frozen=True)
class PhaseProgress:
    """A phase on all of its hosts, for the screen. run: "" before there is one.  state: begun, done, failed.

    problems: host -> why, where it failed.
    """

    run: str
    phase: str
    hosts: tuple[str, ...]
    state: str
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GateProgress:
    """What a gate has seen so far, for the screen."""

    run: str
    arms: Arms
    trace: Trace


Told = Progress | PhaseProgress | GateProgress
Tell = Callable[[Told], None]
"""Where a run tells what it does, from any of its threads."""


@dataclass(frozen=True)
class Site:
    """bindings: signed, by host name.  overlays: asked anew, since a person may tighten in the middle of a run.
    roster number, policy: the operator's own.

    traffic: None where no proxy stands before the service.  run_key: makes the key of one session of a run.
    source: of a gate's samples, instead of the one that its playbook names.  hosts, excluded: what a run is for, and what it
    leaves out.  sweep: mass cancel at the venues from here, None: no venue is known here.
    """

    fleet: str
    environment: str
    hosts: tuple[Host, ...]
    agents: Agents
    controls: Controls
    fan_out: FanOut
    clock: Clock
    releases: Releases
    ledger: Ledger
    runs: Path
    quarantine: Quarantine
    approvals: Approvals
    exclusions: Exclusions
    bindings: Mapping[str, Envelope]
    overlays: Overlays
    roster_number: int
    policy: Policy
    person: str
    signer: Signer
    progress: Tell
    new_id: Callable[[], str]
    traffic: Traffic | None = None
    run_key: Callable[[], Signer] = RunKey.generate
    source: Callable[[GateSpec], Source] | None = None
    excluded: tuple[Host, ...] = ()
    sweep: Sweeping | None = None

    @property
    def overlay(self) -> Envelope | None:
        """The newest overlay, as hosts are given it."""
        newest = self.overlays.newest()
        return newest[0] if newest else None

    @property
    def overlay_number(self) -> int:
        """Its number, 0: there is none."""
        newest = self.overlays.newest()
        return newest[1].number if newest else 0

    @property
    def flags_off(self) -> Mapping[str, int]:
        """Flags that are off by it, whatever release came before."""
        newest = self.overlays.newest()
        return newest[1].flags_off if newest else {}

    @property
    def flags_retired(self) -> tuple[str, ...]:
        """Tombstones of the fleet, by it."""
        newest = self.overlays.newest()
        return newest[1].flags_retired if newest else ()

    def source_for(self, gate: GateSpec) -> Source:
        """Where a gate's samples come from: as the playbook says, unless the site has its own."""
        return self.source(gate) if self.source else source_of(gate, self.controls, self.clock)
