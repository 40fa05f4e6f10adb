"""A whole simulated fleet behind the operator's ports, and the plan of what goes wrong when."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import msgspec

from tests.sim.binding import make_binding
from tests.sim.host import SimHost
from tests.sim.samples import SPEC, SimSource, exposed
from tradeops.base.clock import VirtualClock
from tradeops.base.digest import digest_bytes
from tradeops.base.errors import HostKeyMismatch, OutcomeUnknown, TradeopsError, Unreachable, UsageError
from tradeops.checks.drift import FleetVerdict
from tradeops.contracts.agent import PROTOCOL, AgentVerb, Hello
from tradeops.contracts.binding import Overlay
from tradeops.contracts.codec import decode
from tradeops.contracts.directive import Directive, DirectiveReply
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.identity import IdentityReport
from tradeops.contracts.manifest import PREDICATE_TYPE, STATEMENT_TYPE, File, Flag, Limits, Manifest, Release, Start, Subject
from tradeops.contracts.policy import VERBS, Person, Policy
from tradeops.contracts.signature import RunKey
from tradeops.contracts.status import Health, Status
from tradeops.deploy.approval import Approvals
from tradeops.deploy.exclusion import Exclusions
from tradeops.deploy.judging import VERDICT
from tradeops.deploy.quarantine import Quarantine
from tradeops.deploy.site import Site, Told
from tradeops.fleet.fanout import SequentialFanOut
from tradeops.fleet.host import Host
from tradeops.fleet.outcome import Done, Failed, Outcome, Unknown, values
from tradeops.fleet.ports import Traffic
from tradeops.gates.spec import GateSpec
from tradeops.record.audit import NotRecorded
from tradeops.safety.overlays import Overlays, Signed

T = TypeVar("T")


def _kept(found: Outcome[Envelope | None]) -> Outcome[Envelope]:
    """A document that a host was asked for."""
    if not isinstance(found, Done):
        return found
    return Failed(TradeopsError("it keeps none")) if found.value is None else Done(found.value, found.elapsed_ms)


FLEET = "sim"
LATENCY_S = 0.01
START = Start(("{python}", "{tree}/run.py"))
CONNECT_FAULTS = {"ssh_refused": "connection refused", "ssh_hang": "no answer in time"}


class SimKey:
    """A run's key as far as simulated hosts look at it, which is not at all; signing for real takes longer than a whole phase."""

    public_line = "ssh-ed25519 AAAA"

    def sign(self, message: bytes, purpose: Purpose) -> str:
        """Something in the place of a signature."""
        return f"signature of {len(message)} bytes for {purpose}"


class OperatorDied(BaseException):
    """SIGKILL of the operator's process, as far as its own code can see it."""


def make_manifest(
    number: int, *, version: str = "", flags: tuple[Flag, ...] = (), limits: bool = True, start: Start = START, journal: int | None = None
) -> Manifest:
    """A release with files of its own and files shared with every other."""
    files = tuple(File(f"lib/{name}.py", 0o644, 10, digest_bytes(name.encode())) for name in ("risk", "gate", f"strategy{number}"))
    preset = Limits(("AAA",), ("sim",), 10**12, 10**12, 10**15, 1000, 100, 10**13) if limits else None
    release = Release("trader", version or str(number), number, files, start, None, preset, flags)
    release = msgspec.structs.replace(release, journal_reads=(journal,) if journal else (), journal_writes=journal)
    return Manifest(type=STATEMENT_TYPE, subject=(Subject("trader", {"sha256": "0"}),), predicate_type=PREDICATE_TYPE, predicate=release)


@dataclass
class SimReleases:
    """The operator's store."""

    manifests: dict[str, Manifest]
    author: str = "builder-1"

    def authors(self, release: str, policy: Policy) -> tuple[str, ...]:
        return (self.author,)

    def manifest(self, release: str) -> Manifest:
        if release not in self.manifests:
            raise UsageError(f"there is no release {release}")
        return self.manifests[release]

    def announcement(self, release: str) -> bytes:
        return release.encode()

    def parcel(self, release: str, missing: Sequence[str]) -> tuple[Iterable[bytes], int]:
        body = "\n".join(missing).encode()
        return [body], len(body)


@dataclass
class SimLedger:
    """Keeps rows in memory; can be full. on_intent: what the world does when a phase begins; on_verdict: when a gate has spoken."""

    on_intent: Callable[[str], None] = lambda _: None
    full: bool = False
    rows: list[tuple[str, str]] = field(default_factory=list)
    on_verdict: Callable[[Sequence[str], Mapping[str, Any]], None] = lambda _hosts, _detail: None

    def intent(self, verb: str, *, run: str, hosts: Sequence[str], detail: Mapping[str, Any]) -> int:
        self._require_room()
        self.rows.append((verb, "intent"))
        if verb == VERDICT:
            self.on_verdict(hosts, detail)
        self.on_intent(verb)
        return len(self.rows)

    def _require_room(self) -> None:
        if self.full:
            raise NotRecorded("the disk is full")

    def outcome(self, intent: int, result: str, *, detail: Mapping[str, Any]) -> None:
        self._require_room()
        self.rows.append((self.rows[intent - 1][0], result))

    def head(self) -> tuple[str, int, str]:
        return ("chain", len(self.rows), "head")


class SimSession:
    """AgentSession over a SimHost: each request may be refused, lost before, or lost after it was carried out."""

    def __init__(self, host: SimHost, world: World) -> None:
        self.host = host
        self._world = world
        self.hello = Hello(PROTOCOL, host.name, host.fleet, "sha256:" + "0" * 64, "00" * 16, host.fence)
        self.bytes_sent = 0

    def call(self, verb: AgentVerb, *, run: str | None = None, fence: int | None = None, timeout_s: float, **args: Any) -> dict[str, Any]:
        return self._ask(verb, run, fence, args, b"", timeout_s)

    def stream(
        self,
        verb: AgentVerb,
        body: Iterable[bytes],
        total_bytes: int,
        *,
        run: str | None = None,
        fence: int | None = None,
        timeout_s: float,
        **args: Any,
    ) -> dict[str, Any]:
        whole = b"".join(body)
        assert len(whole) == total_bytes
        self.bytes_sent += total_bytes
        return self._ask(verb, run, fence, args, whole, timeout_s)

    def _ask(
        self, verb: AgentVerb, run: str | None, fence: int | None, args: dict[str, Any], body: bytes, timeout_s: float
    ) -> dict[str, Any]:
        host = self.host
        self._world.check_alive(verb)
        host.clock.sleep_s(LATENCY_S)
        host.outlive()
        if "agent_gone" in host.faults:
            raise OutcomeUnknown("the session went silent", where=host.name)
        if host.faults & CONNECT_FAULTS.keys():
            host.clock.sleep_s(timeout_s)
            raise OutcomeUnknown("the session went silent", where=host.name)
        answer = host.handle(verb, run, fence, args, body)
        if f"lost_{verb.value}" in host.faults:
            host.faults.discard(f"lost_{verb.value}")
            raise OutcomeUnknown("the connection closed before the answer", where=host.name)
        return answer

    def close(self) -> None:
        """Nothing to close."""


class World:
    """hosts: the truth.  hooks: (phase name, action), each done once when a phase of that name begins."""

    def __init__(self, folder: Path, *, hosts: int = 8, seed: int = 0) -> None:
        self.clock = VirtualClock()
        self.random = random.Random(seed)
        self.manifests: dict[str, Manifest] = {}
        self.truth = {f"h{n}": SimHost(f"h{n}", FLEET, self.clock, self.manifests) for n in range(1, hosts + 1)}
        self.ledger = SimLedger(on_intent=self._phase_begins)
        self.hooks: list[tuple[str, Callable[[], None]]] = []
        self.seen: list[Told] = []
        self.overlay: Signed | None = None
        self._ids = 0
        self.old = self.new = ""
        self.pids: dict[str, int] = {}
        self.verdict = FleetVerdict({})
        self._folder = folder
        self._dead = False
        self.dies_at: AgentVerb | None = None
        self.bad: set[str] = set()
        self.apart: set[str] = set()
        self.replies_lost: set[str] = set()
        self.key = RunKey.generate()
        people = (Person("operator-1", (self.key.public_line,), ("operator",)),)
        self.policy = Policy("tradeops/policy/v1", FLEET, 1, people, {"operator": VERBS})
        self.traffic: Traffic | None = None

    def check_alive(self, verb: AgentVerb | None = None) -> None:
        """A dead operator asks nothing of anybody."""
        if self._dead or (verb is not None and verb == self.dies_at):
            raise OperatorDied

    def die(self) -> None:
        """SIGKILL of the operator: from now on nothing that its code tries reaches a host."""
        self._dead = True
        raise OperatorDied

    def revive(self) -> None:
        """A person starts the next command."""
        self._dead, self.dies_at = False, None

    def _phase_begins(self, phase: str) -> None:
        for host in self.truth.values():
            assert not (len(host.writers()) > 1 and host.trading()), f"{host.name} has two writers"
        due = [hook for hook in self.hooks if hook[0] == phase]
        for hook in due:
            if hook in self.hooks:  # what the one before it did may have begun phases of its own
                self.hooks.remove(hook)
                hook[1]()

    def when(self, phase: str, act: Callable[[], None]) -> None:
        """Do `act` once, when the next phase of this name begins."""
        self.hooks.append((phase, act))

    def pids_now(self) -> dict[str, int]:
        """Host name -> pid of its trader."""
        return {name: host.process.pid for name, host in self.truth.items() if host.process}

    def release(self, number: int, **kind: Any) -> str:
        """Build one into the operator's store; returns its id."""
        manifest = make_manifest(number, **kind)
        self.manifests[manifest.id()] = manifest
        return manifest.id()

    def new_id(self) -> str:
        """Ids in order."""
        self._ids += 1
        return f"id{self._ids:04}"

    def site(self) -> Site:
        """The operator's view of this world."""
        runs = self._folder / "runs"
        runs.mkdir(parents=True, exist_ok=True)
        return Site(
            fleet=FLEET,
            environment="lab",
            hosts=tuple(make_host(name) for name in self.truth),
            agents=self,
            controls=self,
            fan_out=SequentialFanOut(self.clock),
            clock=self.clock,
            releases=SimReleases(self.manifests),
            ledger=self.ledger,
            runs=runs,
            quarantine=Quarantine(self._folder / "quarantine"),
            approvals=Approvals(self._folder / "approvals", self.policy),
            exclusions=Exclusions(self._folder / "exclusions", FLEET),
            source=self.source_of,
            run_key=SimKey,
            bindings={name: make_binding(name) for name in self.truth},
            overlays=Overlays(lambda: self.overlay, self._keep_overlay, self, self.policy),
            roster_number=1,
            policy=self.policy,
            person="operator-1",
            signer=self.key,
            progress=self.seen.append,
            new_id=self.new_id,
            traffic=self.traffic,
        )

    def _keep_overlay(self, overlay: Overlay, envelope: Envelope) -> None:
        self.overlay = (envelope, overlay)

    def source_of(self, gate: GateSpec) -> SimSource:
        """Where a gate reads."""
        return SimSource(self.truth, gate, frozenset(self.bad), frozenset(self.apart))

    # ---- fleet.ports.Agents ----

    def open(self, host: Host, *, timeout_s: float) -> SimSession:
        sim = self.truth[host.name]
        self.clock.sleep_s(LATENCY_S)
        if "host_key" in sim.faults:
            raise HostKeyMismatch("showed another key", where=host.name)
        for fault in sorted(sim.faults & CONNECT_FAULTS.keys()):
            self.clock.sleep_s(timeout_s if fault == "ssh_hang" else 0)
            raise Unreachable(CONNECT_FAULTS[fault], where=host.name)
        return SimSession(sim, self)

    # ---- fleet.ports.Controls ----

    def _guards(self, hosts: Sequence[Host], ask: Callable[[SimHost], T], deadline_s: float) -> dict[str, Outcome[T]]:
        self.check_alive()
        answers: dict[str, Outcome[T]] = {}
        slow = False
        for host in hosts:
            sim = self.truth[host.name]
            sim.outlive()
            if sim.slow_s:
                sim.turn()
            if "guard_dead" in sim.faults or "ssh_refused" in sim.faults:
                answers[host.name] = Failed(Unreachable("connection refused", where=host.name))
            elif "guard_hang" in sim.faults or "ssh_hang" in sim.faults:
                slow = True
                answers[host.name] = Unknown(OutcomeUnknown("no answer in time", where=host.name))
            else:
                answers[host.name] = Done(ask(sim))
        self.clock.sleep_s(deadline_s if slow else LATENCY_S)
        return answers

    def identities(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[IdentityReport]]:
        return self._guards(hosts, SimHost.identity, deadline_s)

    def statuses(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Status]]:
        return self._guards(hosts, SimHost.status, deadline_s)

    def healths(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Health]]:
        return self._guards(hosts, SimHost.health, deadline_s)

    def rosters(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Envelope]]:
        return self._documents(hosts, lambda sim: sim.roster, deadline_s)

    def overlays(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[Envelope]]:
        return self._documents(hosts, lambda sim: sim.overlay_kept, deadline_s)

    def _documents(
        self, hosts: Sequence[Host], kept: Callable[[SimHost], Envelope | None], deadline_s: float
    ) -> dict[str, Outcome[Envelope]]:
        return {name: _kept(each) for name, each in self._guards(hosts, kept, deadline_s).items()}

    def metrics(self, hosts: Sequence[Host], *, deadline_s: float) -> dict[str, Outcome[str]]:
        samples = values(self.source_of(GateSpec.model_validate(SPEC)).read(hosts, deadline_s=deadline_s))
        return self._guards(hosts, lambda host: exposed(samples[host.name]) if host.name in samples else "", deadline_s)

    def direct(
        self,
        hosts: Sequence[Host],
        envelope: Envelope,
        *,
        deadline_s: float,
        wait_ms: int = 0,
        answered: Callable[[str, Outcome[DirectiveReply]], None] | None = None,
    ) -> dict[str, Outcome[DirectiveReply]]:
        directive = decode(envelope.body(), Directive, source="sim")
        replies = self._guards(hosts, lambda sim: sim.direct(directive, envelope), deadline_s)
        if directive.verb in self.replies_lost:
            self.replies_lost.remove(directive.verb)
            replies = {host.name: Unknown(OutcomeUnknown("the connection closed before the answer", where=host.name)) for host in hosts}
        for name, outcome in replies.items():
            if answered:
                answered(name, outcome)
        return replies


def make_host(name: str) -> Host:
    """A host that the simulation knows."""
    return Host(
        name, f"{name}.invalid", 22, "tradeops", "ssh-ed25519 AAAA", 8443, "/usr/bin/python3", PurePosixPath("/opt/tradeops"), "systemd"
    )
