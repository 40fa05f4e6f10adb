"""Composition: what a command works with, each part made and imported when it is first asked for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from tradeops.base.errors import UsageError
from tradeops.cli.render import Printer

if TYPE_CHECKING:
    from tradeops.base.clock import Clock
    from tradeops.checks.drift import FleetVerdict
    from tradeops.checks.proof import Expected
    from tradeops.contracts.binding import Overlay
    from tradeops.contracts.directive import Scope
    from tradeops.contracts.envelope import Envelope
    from tradeops.contracts.policy import Policy
    from tradeops.contracts.roster import Roster
    from tradeops.contracts.signature import Signer
    from tradeops.deploy.exclusion import Exclusions
    from tradeops.deploy.playbook import Playbook
    from tradeops.deploy.site import Site, Tell
    from tradeops.fleet.agent import SshAgents
    from tradeops.fleet.fanout import ThreadFanOut
    from tradeops.fleet.host import Host
    from tradeops.fleet.inventory import Fleet
    from tradeops.fleet.ports import Controls, Traffic
    from tradeops.fleet.ssh import Ssh
    from tradeops.record.audit import Audit
    from tradeops.record.urgent import Urgent
    from tradeops.release.store import Store
    from tradeops.safety.kill import Sweeping, Swept
    from tradeops.safety.overlays import Overlays

_ENVELOPE_BYTES_MAX = 4 << 20


@dataclass(frozen=True)
class Options:
    """The global options."""

    fleet: Path
    as_json: bool
    yes: bool
    person: str | None
    key: str | None


class Context:
    """Made once per command line, empty until used."""

    def __init__(self, options: Options, printer: Printer) -> None:
        self.options = options
        self.printer = printer
        self.stopping = False
        """Set by the kill: it goes on without what it does not need, and says so."""

    @cached_property
    def clock(self) -> Clock:
        """This machine's clock."""
        from tradeops.base.clock import SystemClock

        return SystemClock()

    @cached_property
    def fleet(self) -> Fleet:
        """The fleet file. Raises ConfigError."""
        from tradeops.fleet.inventory import load_fleet, load_for_kill

        if not self.stopping:
            return load_fleet(self.options.fleet)
        fleet, wrong = load_for_kill(self.options.fleet)
        for error in wrong:
            self.printer.line(f"the kill goes on although {error}")
        return fleet

    def chosen(self, *, all_hosts: bool, hosts: Sequence[str], tags: Sequence[str]) -> tuple[Host, ...]:
        """The hosts a stopping or starting command is meant for; never all of them by leaving something out."""
        from tradeops.fleet.inventory import select

        if all_hosts == bool(hosts or tags):
            raise UsageError("say which hosts: --all, or --host and --tag", next="`tradeops fleet list` prints names and tags")
        return select(self.fleet, hosts=hosts, tags=tags)

    def everywhere(self) -> tuple[tuple[Host, ...], int]:
        """Every host of the fleet file, those that only the newest roster here still knows, and its number: a kill forgets nobody."""
        from tradeops.base.errors import TradeopsError
        from tradeops.fleet.roster import with_forgotten
        from tradeops.fleet.rosterfile import stored_roster

        try:
            found = self.roster if self.policy_here else stored_roster(self.fleet.state.roster_file)
            roster = found[1] if found else None
        except (TradeopsError, OSError) as unreadable:
            self.printer.line(f"the roster cannot be read, so the fleet file alone says who is killed: {unreadable}")
            return self.fleet.hosts, 0
        return (with_forgotten(self.fleet.hosts, roster.hosts), roster.number) if roster else (self.fleet.hosts, 0)

    def new_id(self) -> str:
        """A run's or directive's id: by time, and never twice."""
        from tradeops.cli.report import when

        stamp = "".join(sign for sign in when(self.clock.wall_ns()) if sign.isdecimal())
        return f"{stamp}-{secrets.token_hex(3)}"

    @cached_property
    def policy(self) -> Policy:
        """The policy in force. Raises UsageError when there is none."""
        from tradeops.contracts.entitle import stored_policy

        return stored_policy(self.policy_envelope)

    @cached_property
    def policy_here(self) -> Policy | None:
        """None where it cannot be read: a kill needs none of its own, the hosts judge it by theirs."""
        from tradeops.base.errors import TradeopsError

        try:
            return self.policy
        except (TradeopsError, OSError) as unreadable:
            self.printer.line(f"the kill goes on without this machine's policy: {unreadable}")
            return None

    @cached_property
    def policy_envelope(self) -> Envelope:
        """The policy with its signatures. Raises UsageError when there is none."""
        return self._envelope(self.fleet.state.policy_file, "policy")

    @cached_property
    def _who(self) -> tuple[str, Signer]:
        if self.stopping and self.policy_here is None:
            from tradeops.cli.people import unjudged_signer

            return unjudged_signer(self.fleet.state.keys, person=self.options.person, key=self.options.key)
        return self.signer_of(self.options.person, self.options.key)

    def signer_of(self, person: str | None, key: str | None = None) -> tuple[str, Signer]:
        """A person and a signer with that person's key. Raises UsageError."""
        from tradeops.cli.people import signer_of

        return signer_of(self.policy, self.fleet.state.keys, person=person, key=key)

    @property
    def person(self) -> str:
        """Who acts."""
        return self._who[0]

    @property
    def signer(self) -> Signer:
        """With that person's key."""
        return self._who[1]

    @cached_property
    def ssh(self) -> Ssh:
        """One connection per host for the whole command."""
        from tradeops.fleet.ssh import Ssh

        fleet, ask = self.fleet, self._passphrase if self.printer.interactive else None
        return Ssh(deadlines=fleet.deadlines, jumps=fleet.jumps, known_hosts=fleet.known_hosts, ask_passphrase=ask, clock=self.clock)

    def _passphrase(self, path: str) -> str:
        return self.printer.secret(f"passphrase of {path}: ")

    @cached_property
    def agents(self) -> SshAgents:
        """Agent sessions over SSH."""
        from tradeops.fleet.agent import SshAgents

        return SshAgents(self.ssh, fleet=self.fleet.name)

    @cached_property
    def fan_out(self) -> ThreadFanOut:
        """Many hosts side by side."""
        from tradeops.fleet.fanout import ThreadFanOut

        return ThreadFanOut(self.clock)

    @cached_property
    def controls(self) -> Controls:
        """The guards' control API."""
        from tradeops.fleet.control import HttpControls

        return HttpControls(
            self.fleet.state.tls, self.clock, tunnel=lambda host, port, wait_s: self.ssh.tunnel(host, port, timeout_s=wait_s)
        )

    @cached_property
    def store(self) -> Store:
        """Releases on this machine."""
        from tradeops.release.store import Store

        return Store(self.fleet.state.releases)

    def audit_as(self, actor: str) -> Audit:
        """The audit chain, written as `actor`."""
        from tradeops.record.audit import Audit

        return Audit(self.fleet.state.audit, clock=self.clock, actor=actor)

    @cached_property
    def audit(self) -> Audit:
        """The audit chain, what a kill still owes it brought home first. Raises NotRecorded."""
        from tradeops.record.urgent import redeem

        audit = self.audit_as(self.person)
        redeem(audit, self.spills)
        return audit

    def urgent(self) -> Urgent:
        """The audit chain for what only stops: it never waits for the disk, and `settle` says what is still owed."""
        from tradeops.record.urgent import Urgent

        return Urgent(self.audit_as(self.person), clock=self.clock, actor=self.person, spills=self.spills)

    @property
    def spills(self) -> tuple[Path, ...]:
        """Where a kill leaves its records when the chain cannot be written."""
        return (self.fleet.state.root / "audit.owed.jsonl", Path.home() / f".tradeops-owed-{self.fleet.name}.jsonl")

    @cached_property
    def overlays(self) -> Overlays:
        """The overlays kept here, and what hosts have beyond them."""
        from tradeops.release.overlay import keep_overlay, newest_overlay
        from tradeops.safety.overlays import Overlays

        folder = self.fleet.state.overlays
        return Overlays(partial(newest_overlay, folder, self.policy), partial(keep_overlay, folder), self.controls, self.policy)

    @property
    def overlay(self) -> tuple[Envelope, Overlay] | None:
        """The overlay in force, as far as it is known."""
        return self.overlays.newest()

    def playbook(self, name: str) -> Playbook:
        """By name, from `playbooks/` beside the fleet file or those that come with the tool; or a file. Raises UsageError."""
        from tradeops.base.shipped import shipped
        from tradeops.deploy.playbook import load_playbook

        if name.endswith((".yml", ".yaml")):
            return load_playbook(Path(name))
        for folder in (self.fleet.path.resolve().parent / "playbooks", shipped("playbooks")):
            if (folder / f"{name}.yml").is_file():
                return load_playbook(folder / f"{name}.yml")
        raise UsageError(
            f"there is no playbook {name!r}", where=str(self.fleet.path.parent / "playbooks"), next="`tradeops init` scaffolds them"
        )

    @cached_property
    def bindings(self) -> dict[str, Envelope]:
        """The signed bindings that are there, by host."""
        from tradeops.release.binding import load_bindings

        return load_bindings(self.fleet.state.bindings, [host.name for host in self.fleet.hosts])

    def verdict(self, hosts: Sequence[Host], *, deadline_s: float | None = None) -> FleetVerdict:
        """Every host compared with what the newest good run proved, and with the others. Reads only; needs no key.

        deadline_s: of everything that one host is asked [three answers within the fleet file's deadline for a command].
        """
        from tradeops.deploy.asked import expected_hosts
        from tradeops.deploy.verdict import fleet_verdict, name_excluded

        self.require_roster()
        waits = self.fleet.deadlines

        def expected(reported: Mapping[str, int]) -> Mapping[str, Expected]:
            self.overlays.hear(hosts, reported, deadline_s=waits.control if deadline_s is None else deadline_s)
            number, off = (self.overlay[1].number, self.overlay[1].flags_off) if self.overlay else (0, {})
            return expected_hosts(self.fleet.state.runs, self.store, self.bindings, overlay=number, flags_off=off)

        found = fleet_verdict(
            hosts,
            expected,
            self.agents,
            self.controls,
            self.fan_out,
            timeout_s=waits.command if deadline_s is None else deadline_s,
            control_s=waits.control if deadline_s is None else deadline_s,
            deadline_s=deadline_s,
        )
        return name_excluded(found, self.exclusions.standing(host.name for host in hosts), self.clock.wall_ns())

    @cached_property
    def exclusions(self) -> Exclusions:
        """Hosts that runs leave out."""
        from tradeops.deploy.exclusion import Exclusions

        return Exclusions(self.fleet.state.exclusions, self.fleet.name)

    def sweep(self, session: str, scope: Scope) -> Sweeping:
        """Mass cancel at the venues from here; its libraries are loaded only when a host is not confirmed."""

        def cancel(names: Sequence[str], limit_s: float) -> Sequence[Swept]:
            from tradeops.safety.venues import Sweep, secret_here

            return Sweep(self.fleet.bindings, secret_here, session, scope, self.clock).run(names, limit_s)

        return cancel

    def site(self, progress: Tell) -> Site:
        """What a run works with, telling `progress`. Raises UsageError, Refused when something is missing or not signed."""
        from tradeops.contracts.directive import Scope
        from tradeops.deploy.approval import Approvals
        from tradeops.deploy.quarantine import Quarantine
        from tradeops.deploy.site import Site

        self.require_roster()
        fleet = self.fleet
        return Site(
            fleet=fleet.name,
            environment=fleet.environment,
            hosts=fleet.hosts,
            agents=self.agents,
            controls=self.controls,
            fan_out=self.fan_out,
            clock=self.clock,
            releases=self.store,
            ledger=self.audit,
            runs=fleet.state.runs,
            quarantine=Quarantine(fleet.state.quarantine),
            approvals=Approvals(fleet.state.approvals, self.policy),
            exclusions=self.exclusions,
            bindings=self.bindings,
            overlays=self.overlays,
            roster_number=self.roster[1].number if self.roster else 0,
            policy=self.policy,
            person=self.person,
            signer=self.signer,
            progress=progress,
            new_id=self.new_id,
            traffic=self.traffic,
            sweep=self.sweep(f"kill-{self.new_id()}", Scope()),
        )

    def require_roster(self) -> None:
        """Raises Refused unless the fleet file names exactly the hosts that were signed for."""
        from tradeops.fleet.roster import require_signed

        require_signed(self.roster[1] if self.roster else None, self.fleet.hosts)

    @property
    def traffic(self) -> Traffic | None:
        """The proxies before the service, where the fleet file names any."""
        from tradeops.fleet.haproxy import HaproxyTraffic

        named = self.fleet.service.traffic
        return HaproxyTraffic(named, self.clock) if named else None

    @cached_property
    def roster(self) -> tuple[Envelope, Roster] | None:
        """The newest roster; None before the first. Raises SignatureInvalid, Refused, UsageError."""
        from tradeops.fleet.rosterfile import load_roster

        return load_roster(self.fleet.state.roster_file, self.policy)

    def _envelope(self, path: Path, what: str) -> Envelope:
        from tradeops.base.durable import read_bounded
        from tradeops.contracts.codec import decode
        from tradeops.contracts.envelope import Envelope

        try:
            return decode(read_bounded(path, _ENVELOPE_BYTES_MAX), Envelope, source=str(path))
        except FileNotFoundError:
            raise UsageError(f"this fleet has no {what} here", where=str(path), next="`tradeops init`, or copy the fleet's state") from None
