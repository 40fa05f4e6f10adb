"""One simulated host: its agent's verbs and its guard, with a truth that tests can ask and faults that make it lie."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from tests.sim.binding import make_binding
from tests.sim.guard import SimGuard
from tests.sim.refusal import refusal
from tests.sim.slot import SimProcess, SimSlot, TwoSlots
from tradeops.base.clock import NS_PER_S, VirtualClock
from tradeops.base.digest import digest_bytes
from tradeops.contracts.agent import NEEDS_LOCK, AgentVerb, Code, Facts, Latched, Lock, Proof, Running, Stopped
from tradeops.contracts.binding import Overlay
from tradeops.contracts.codec import decode
from tradeops.contracts.directive import Directive, DirectiveReply, Verb
from tradeops.contracts.envelope import Envelope
from tradeops.contracts.flags import active_flags
from tradeops.contracts.identity import Identity, IdentityReport
from tradeops.contracts.layout import SLOTS
from tradeops.contracts.manifest import Manifest
from tradeops.contracts.metrics import flag_hits
from tradeops.contracts.status import HALTED, Check, Health, Mark, Status, Vitals
from tradeops.guard.admit import Refusal

UNSIGNED = Envelope("", ())


@dataclass
class SimHost(TwoSlots):
    """faults: names of what is wrong with it now (see tests/sim/faults.py)."""

    name: str
    fleet: str
    clock: VirtualClock
    manifests: dict[str, Manifest]
    faults: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)
    releases: set[str] = field(default_factory=set)
    overlay: int = 0
    flags_off: dict[str, int] = field(default_factory=dict)
    flags_retired: tuple[str, ...] = ()
    overlay_kept: Envelope | None = None
    survivors: list[SimProcess] = field(default_factory=list)
    lock: tuple[str, int, int] | None = None
    fence: int = 0
    journal: list[dict[str, Any]] = field(default_factory=list)
    witnesses: list[dict[str, Any]] = field(default_factory=list)
    announced: str = ""
    pid_next: int = 1000
    roster_number: int = 1
    kind: str = "vitals"
    roster: Envelope | None = None
    damaged: str | None = None
    quiet_since_s: float | None = None
    slow_s: float = 0.0

    def __post_init__(self) -> None:
        self.guard = SimGuard(self.clock)
        self.slots = {name: SimSlot(name) for name in SLOTS}

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Why it does not trade."""
        return self.guard.at().marks

    # ---- agent -----------------------------------------------------------------------------------------------------

    def handle(self, verb: AgentVerb, run: str | None, fence: int | None, args: dict[str, Any], body: bytes) -> dict[str, Any]:
        """One request; raises the errors of fleet.ports.AgentSession."""
        if verb in NEEDS_LOCK:
            self._check_lock(run, fence)
        handler = getattr(self, f"_do_{verb.value}")
        answer: dict[str, Any] = handler(run=run, body=body, **args)
        return answer

    def _check_lock(self, run: str | None, fence: int | None) -> None:
        if fence is None or fence < self.fence:
            raise refusal(Code.FENCED, self.name, f"fence {fence} is older than {self.fence}")
        if self.lock_now() is None or self.lock is None or self.lock[0] != run:
            raise refusal(Code.LOCKED, self.name, "the lease is not held")

    def _do_facts(self, **_: Any) -> dict[str, Any]:
        return plain(
            Facts(
                host=self.name,
                fleet=self.fleet,
                machine_id=digest_bytes(self.name.encode()),
                platform="sha256:" + "0" * 64,
                python_abi="cp311",
                python_platform="linux_x86_64",
                python_version="3.11.2",
                disk_free_bytes=1_000 if "disk_full" in self.faults else 50_000_000_000,
                inodes_free=1_000_000,
                memory_available_bytes=4_000_000_000,
                wall_ns=self.guard.now().wall_ns + (5 * NS_PER_S if "clock_skew" in self.faults else 0),
                running=tuple(self._running(slot) for slot in self.slots.values()),
                previous=next((slot.previous for slot in self.slots.values() if slot.previous), None),
                releases=tuple(sorted(self.releases)),
                highest_number=max((self.manifests[r].predicate.number for r in self.releases), default=0),
                marks=self.marks,
                lock=self.lock_now(),
                fence=self.fence,
                roster_number=self.roster_number,
                policy_number=1,
                overlay_number=self.overlay,
                witnesses=(),
                identity=self.kind,
                active=self.active,
                token=self.guard.state.token,
                writable="read_only" not in self.faults,
            )
        )

    def _running(self, slot: SimSlot) -> Running:
        process = slot.process
        if process is None:
            return Running(slot.name, None, None, "inactive", slot.linked)
        return Running(slot.name, process.release, process.pid, "active", slot.linked)

    def lock_now(self) -> Lock | None:
        """Who holds it, while the lease lasts."""
        now_ns = self.clock.monotonic_ns()
        if self.lock is None or self.lock[2] < now_ns:
            return None
        return Lock(self.lock[0], "operator-1", "deploy", self.lock[1], (self.lock[2] - now_ns) / NS_PER_S)

    def _do_lock(self, *, run: str, ttl_s: float, takeover: bool, **_: Any) -> dict[str, Any]:
        held = self.lock_now()
        if held is not None and not (takeover and held.run == run):
            raise refusal(Code.LOCKED, self.name, f"run {held.run} of {held.owner}")
        self.fence += 1
        self.lock = (run, self.fence, self.clock.monotonic_ns() + int(ttl_s * NS_PER_S))
        return plain(Lock(run, "operator-1", "deploy", self.fence, ttl_s))

    def _do_renew(self, *, run: str, ttl_s: float, **_: Any) -> dict[str, Any]:
        self.lock = (run, self.fence, self.clock.monotonic_ns() + int(ttl_s * NS_PER_S))
        return {}

    def _do_unlock(self, **_: Any) -> dict[str, Any]:
        self.lock = None
        return {}

    def _do_missing(self, *, body: bytes, **_: Any) -> dict[str, Any]:
        self.announced = body.decode()
        wanted = {file.digest for file in self.manifests[self.announced].predicate.files}
        return {"release": self.announced, "missing": sorted(wanted - self.blobs), "bytes": 0}

    def _do_receive(self, *, body: bytes, **_: Any) -> dict[str, Any]:
        self._need_disk()
        if "lying_copy" not in self.faults:
            self.blobs |= set(body.decode().split())
        return {"stored": len(body.decode().split())}

    def _do_assemble(self, *, release: str, **_: Any) -> dict[str, Any]:
        self._need_disk()
        if release == self.damaged != self.announced:
            raise refusal(Code.DIGEST, self.name, "lib/risk.py is not the file that was signed")
        self.damaged = None if release == self.damaged else self.damaged
        lacking = {file.digest for file in self.manifests[release].predicate.files} - self.blobs
        if lacking:
            raise refusal(Code.DIGEST, self.name, f"{len(lacking)} files of the release are not here")
        self.releases.add(release)
        return {"release": release, "files": len(self.manifests[release].predicate.files)}

    def _do_switch(
        self, *, slot: str, release: str | None, binding: dict[str, Any], overlay: dict[str, Any] | None = None, **_: Any
    ) -> dict[str, Any]:
        self._need_disk()
        if overlay is not None:
            envelope = msgspec.convert(overlay, Envelope)
            self._take_overlay(decode(envelope.body(), Directive, source="sim"), envelope)
        if release is not None and release not in self.releases:
            raise refusal(Code.NOT_FOUND, self.name, "no such release here")
        where = self.slots[slot]
        old = where.linked
        if where.process is not None:
            raise refusal(Code.SERVICE, self.name, f"slot {slot} still runs")
        if "lying_switch" not in self.faults:
            where.previous, where.linked = old, release
            where.binding = digest_bytes(msgspec.convert(binding, Envelope).body())
        return {"previous": old}

    def _do_start(self, *, slot: str, **_: Any) -> dict[str, Any]:
        where = self.slots[slot]
        broken = where.linked is None or "does_not_start" in self.faults or (where.linked in self.broken_releases())
        broken |= self.kind == "url" and bool(self.marks)
        if not broken and where.process is None:
            self.pid_next += 1
            where.process = SimProcess(self.pid_next, where.linked or "", where.binding or "", self.overlay, self.clock.wall_ns())
            self.turn()
        return {"pid": where.process.pid if where.process else 0}

    def broken_releases(self) -> set[str]:
        """Releases whose daemon does not come up."""
        return {release for release, manifest in self.manifests.items() if manifest.predicate.version.endswith("broken")}

    def _do_stop(self, *, slot: str, **_: Any) -> dict[str, Any]:
        where = self.slots[slot]
        process, where.process = where.process, None
        if process and "survivor" in self.faults:
            where.process = process
            return plain(Stopped(False, (process.shown(),), "deactivating"))
        if process and "hidden_survivor" in self.faults:
            self.survivors.append(process)
        return plain(Stopped(True, (), "inactive"))

    def _do_prove(self, *, slot: str, **_: Any) -> dict[str, Any]:
        where = self.slots[slot]
        process = where.process
        files = len(self.manifests[where.linked].predicate.files) if where.linked else 0
        return plain(
            Proof(
                slot=slot,
                linked=where.linked,
                binding=where.binding,
                unit_state="active" if process else "inactive",
                process=process.shown() if process else None,
                others=tuple(survivor.shown() for survivor in self.survivors),
                files_checked=files,
                bad_files=("lib/strategy.py",) if "flipped_byte" in self.faults or where.linked in {self.damaged} - {None} else (),
                present_removed=("lib/power_peg.py",) if "removed_present" in self.faults else (),
                vitals=self._identity(where),
                vitals_age_ms=20.0,
                wall_ns=self.clock.wall_ns(),
            )
        )

    def _do_journal(self, *, append: dict[str, Any], **_: Any) -> dict[str, Any]:
        self._need_disk()
        self.journal.append(append)
        return {}

    def _do_witness(self, *, chain: str = "", seq: int = 0, head: str = "", read: bool = False, **_: Any) -> dict[str, Any]:
        if read:
            return {"heads": [{**seen, "wall_ns": 0} for seen in self.witnesses]}
        self.witnesses.append({"chain": chain, "seq": seq, "head": head})
        return {}

    def _do_roster(self, *, read: bool = False, **_: Any) -> dict[str, Any]:
        if read:
            return {"roster": plain(self.roster) if self.roster else None}
        return {"number": self.roster_number}

    def _do_latch(self, *, directive: dict[str, Any], stop: bool, **_: Any) -> dict[str, Any]:
        if "bad_answer" in self.faults:
            return {"latch": "yes"}
        kill = decode(msgspec.convert(directive, Envelope).body(), Directive, source="sim")
        already = any(mark.id == kill.id for mark in self.marks)
        if not already:
            self.fence += 1
            self.direct(kill)
        stopped = Stopped(True, (), "inactive") if stop else None
        if stop:
            self.end_all()
        return plain(Latched(self.fence, already, blocked=self._blocked(), stopped=stopped, roster_number=self.roster_number))

    def _do_prune(self, **_: Any) -> dict[str, Any]:
        return {"removed": []}

    def _need_disk(self) -> None:
        if "disk_full" in self.faults:
            raise refusal(Code.DISK_FULL, self.name, "no space left on the device")
        if "read_only" in self.faults:
            raise refusal(Code.READ_ONLY, self.name, "the file system is read-only")

    def _identity(self, slot: SimSlot) -> Identity | None:
        process = slot.process
        if process is None or not self.speaks(process):
            return None
        number = process.overlay if "trader_deaf" in self.faults else self.overlay
        flags = active_flags(self.manifests[process.release].predicate.flags, {} if "trader_deaf" in self.faults else self.flags_off)
        return Identity(
            "trader", process.release, process.binding, number, slot.name, process.pid, process.pid * 10, process.started_ns, flags
        )

    def _vitals(self, slot: SimSlot) -> Vitals | None:
        identity = self._identity(slot)
        if identity is None or slot.process is None:
            return None
        writes, working = slot.process.writes, self.at_work() if slot.process.writes else 0
        warnings = self.own_halts(slot.process)
        state = "standby" if not writes else HALTED if self.marks or warnings else "ready"
        feeds = {"sim": 60 * NS_PER_S if "feed_dead" in self.faults else 0}
        hits = 0 if "path_unused" in self.faults else 5
        counters = {flag_hits(flag): hits for flag in identity.flags}
        now_ns, limits = self.clock.monotonic_ns(), {"order_count_max": 1000}
        return Vitals(identity, now_ns, state, 1, 0, 0, working, {}, feeds, {}, counters, {}, {}, limits, warnings, writes)

    # ---- guard -----------------------------------------------------------------------------------------------------

    def identity(self) -> IdentityReport:
        """GET /v1/identity."""
        identity, standby = self._identity(self.slot), self._identity(self.beside)
        if identity and "lying_guard" in self.faults:
            identity = msgspec.structs.replace(identity, release="sha256:" + "f" * 64)
        return IdentityReport("tradeops/identity/v1", self.name, self.fleet, "sha256:" + "0" * 64, identity, 20.0, standby=standby)

    def status(self) -> Status:
        """GET /v1/status."""
        return Status(
            schema="tradeops/status/v1",
            host=self.name,
            fleet=self.fleet,
            trading=self.trading(),
            marks=self.marks,
            permit=None,
            vitals=self._vitals(self.slot),
            vitals_age_ms=20.0,
            epoch=1,
            blocked=self._blocked(),
            clear=self.at_work() == 0,
            working=self.at_work(),
            platform="sha256:" + "0" * 64,
            wall_ns=self.clock.wall_ns(),
            policy_number=1,
            roster_number=self.roster_number,
            overlay_number=self.overlay,
            active=self.active,
            token=self.guard.state.token,
            standby=self._vitals(self.beside),
            standby_age_ms=20.0,
            speaks=self.guard.speaks,
        )

    def health(self) -> Health:
        """GET /v1/health."""
        feed = "no" if "feed_dead" in self.faults else "yes"
        itself = "; ".join(self.own_halts(self.process)) if self.process and not self.marks else ""
        checks = (Check("feed", feed, "quotes are fresh"), Check("state", "no" if itself else "yes", itself or "as told"))
        return Health("tradeops/health/v1", self.name, feed == "yes" and not itself, checks)

    def direct(self, directive: Directive, envelope: Envelope = UNSIGNED) -> DirectiveReply:
        """POST /v1/directives, already verified."""
        taken = (
            self._take_overlay(directive, envelope)
            if directive.verb is Verb.OVERLAY
            else self.guard.direct(directive, envelope, self.judged_by(directive))
        )
        self.turn()
        if self.kind == "url" and self.marks:
            self.end_all()
        status = self.status()
        no = taken if isinstance(taken, Refusal) else None
        return DirectiveReply(
            "tradeops/directive-reply/v1",
            directive.id,
            self.name,
            no is None,
            already=taken is True,
            blocked=status.blocked,
            clear=status.clear,
            working=status.working,
            code=no.code if no else "",
            error=no.what if no else "",
            roster_number=self.roster_number,
            note="" if no else self.guard.note,
        )

    def _take_overlay(self, directive: Directive, envelope: Envelope) -> Refusal | bool:
        overlay = msgspec.convert(directive.args["overlay"], Overlay)
        if overlay.number <= self.overlay:
            return Refusal("older", f"overlay {self.overlay} is in force")
        self.overlay, self.flags_off, self.flags_retired = overlay.number, overlay.flags_off, overlay.flags_retired
        self.overlay_kept = envelope
        return False

    def _blocked(self) -> bool:
        return bool(self.marks) and not ("trader_hung" in self.faults and self.process)

    def runs_already(self, release: str) -> None:
        """As after a run that proved `release` here; the binding is every host's own."""
        self.blobs |= {file.digest for file in self.manifests[release].predicate.files}
        self.releases.add(release)
        self.slot.linked, self.slot.binding = release, digest_bytes(make_binding(self.name).body())
        self._do_start(slot=self.active)

    def stands_by_too(self, release: str) -> None:
        """Beside what trades."""
        self.beside.linked, self.beside.binding = release, self.slot.binding
        self._do_start(slot=self.beside.name)

    def reboot(self) -> None:
        """Processes end; what is durable stays."""
        self.end_all()
        self.survivors = []

    def tampered(self, release: str) -> None:
        """Somebody runs another release by hand."""
        self.slot.process = replace(self.slot.process, release=release) if self.slot.process else None


def plain(document: msgspec.Struct) -> dict[str, Any]:
    """A struct as the agent's line holds it."""
    values: dict[str, Any] = msgspec.to_builtins(document)
    return values
