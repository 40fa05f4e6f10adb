"""The documents of this host, as they lie on the disk now: who it is, policy, roster, what its slots are to run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from tradeops.base.digest import digest_bytes, is_digest
from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import ConfigError, TradeopsError
from tradeops.contracts.binding import Binding, Venue
from tradeops.contracts.codec import decode, parse
from tradeops.contracts.entitle import entitled, signed_bytes, stored_policy
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.host import HostFile
from tradeops.contracts.layout import SLOTS, HostLayout
from tradeops.contracts.policy import Policy
from tradeops.contracts.roster import Roster
from tradeops.guard.watch import Wanted

DOCUMENT_BYTES_MAX: Final = 8 << 20


@dataclass(frozen=True)
class Slot:
    """What a slot is to run. binding None: there is none, or `problem` says why it cannot be used."""

    name: str
    release: str | None
    binding_digest: str | None = None
    binding: Binding | None = None
    problem: str = ""

    def wanted(self) -> Wanted:
        """For the watchdog."""
        missing = f"slot {self.name} holds no binding" if self.binding is None and self.release is not None else ""
        return Wanted(self.release, self.binding_digest, self.problem or missing)


def read_host(layout: HostLayout) -> HostFile:
    """etc/host.json. Raises ConfigError: a guard that does not know who it is guards nothing."""
    try:
        return decode(read_bounded(layout.host_file, DOCUMENT_BYTES_MAX), HostFile, source=str(layout.host_file))
    except (OSError, TradeopsError) as error:
        raise ConfigError(str(error), where=str(layout.host_file), next="enrol the host: `tradeops fleet enroll`") from None


class Site:
    """Reads again what has changed. A policy is never exchanged for an older one; the last good one is kept beside the state."""

    def __init__(self, layout: HostLayout, host: HostFile, *, policy_number: int) -> None:
        self.layout = layout
        self.host = host
        self.policy: Policy | None = None
        self.roster: Envelope | None = None
        self.roster_number = 0
        self.slots: dict[str, Slot] = {}
        self.problems: dict[str, str] = {}
        self._policy_floor = policy_number
        self._seen: dict[Path, object] = {}
        self.refresh()
        if self.policy is None:
            self._read_policy(self._kept_policy)

    @property
    def _kept_policy(self) -> Path:
        return self.layout.guard_state / "policy.json"

    @property
    def platform(self) -> str:
        """The digest of the platform release in force, empty when there is none to be seen."""
        name = _link_name(self.layout.platform)
        return f"sha256:{name}" if name else ""

    def slot(self, name: str) -> Slot:
        """What the slot is to run."""
        return self.slots.get(name, Slot(name, None))

    def venues(self) -> tuple[Venue, ...]:
        """Every venue that a slot of this host may trade at."""
        found = {venue.name: venue for slot in self.slots.values() if slot.binding for venue in slot.binding.venues}
        return tuple(found.values())

    def venues_known(self) -> bool:
        """Whether it is known where this host trades: no slot holds a release without a binding that can be read."""
        return all(slot.release is None or slot.binding is not None for slot in self.slots.values())

    def refresh(self) -> bool:
        """Read what has changed since; True when something had."""
        policy = self._changed(self.layout.policy_file)
        if policy:
            self._read_policy(self.layout.policy_file)
        roster = self._changed(self.layout.roster_file)
        if roster:
            self._read_roster()
        slots = [name for name in SLOTS if self._slot_changed(name) or policy]
        for name in slots:
            self.slots[name] = self._read_slot(name)
        return policy or roster or bool(slots)

    def _slot_changed(self, name: str) -> bool:
        folder = self.layout.slot(name)
        binding = self._changed(folder / "binding.json")
        return self._changed(folder / "current") or binding

    def _changed(self, path: Path) -> bool:
        try:
            stat = path.stat(follow_symlinks=False)
            now: object = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        except OSError:
            now = "missing"
        before, self._seen[path] = self._seen.get(path), now
        return before != now

    def _read_policy(self, path: Path) -> None:
        try:
            data = read_bounded(path, DOCUMENT_BYTES_MAX)
            policy = stored_policy(decode(data, Envelope, source=str(path)))
            if policy.number < self._policy_floor:
                raise ConfigError(f"policy {policy.number}, {self._policy_floor} was seen", where=str(path))
            if policy.fleet != self.host.fleet:
                raise ConfigError(f"the policy is for fleet {policy.fleet!r}, this is {self.host.fleet!r}", where=str(path))
        except (OSError, TradeopsError) as error:
            self.problems["policy"] = f"the policy cannot be used: {error}"
            return
        self.policy, self._policy_floor = policy, policy.number
        if path != self._kept_policy:
            self.problems.pop("policy", None)
            self._keep_policy(data)

    def _keep_policy(self, data: bytes) -> None:
        try:
            write_atomic(self._kept_policy, data)
            self.problems.pop("policy copy", None)
        except OSError as error:
            self.problems["policy copy"] = f"the policy cannot be kept: {error}"

    def _read_roster(self) -> None:
        path = self.layout.roster_file
        try:
            envelope = decode(read_bounded(path, DOCUMENT_BYTES_MAX), Envelope, source=str(path))
            self.roster_number = decode(signed_bytes(envelope), Roster, source=str(path)).number
            self.roster = envelope
            self.problems.pop("roster", None)
        except FileNotFoundError:
            self.roster, self.roster_number = None, 0
        except (OSError, TradeopsError) as error:
            self.problems["roster"] = f"the roster cannot be used: {error}"

    def _read_slot(self, name: str) -> Slot:
        folder = self.layout.slot(name)
        digest = f"sha256:{_link_name(folder / 'current')}"
        release = digest if is_digest(digest) else None
        path = folder / "binding.json"
        try:
            envelope = decode(read_bounded(path, DOCUMENT_BYTES_MAX), Envelope, source=str(path))
            body = signed_bytes(envelope)
            if self.policy is None:
                return Slot(name, release, digest_bytes(body), None, "no policy to verify its binding with")
            entitled(self.policy, "binding", envelope, Purpose.BINDING, now_ns=None, host=self.host.host)
            binding = decode(body, Binding, source=str(path))
        except FileNotFoundError:
            return Slot(name, release)
        except (OSError, TradeopsError) as error:
            return Slot(name, release, None, None, f"the binding of slot {name} cannot be used: {error}")
        if (binding.host, binding.fleet) != (self.host.host, self.host.fleet):
            return Slot(name, release, None, None, f"the binding of slot {name} is for {binding.host} of {binding.fleet}")
        return Slot(name, release, digest_bytes(body), binding)


def _link_name(link: Path) -> str:
    try:
        return link.readlink().name
    except OSError:
        return ""


def read_secret(layout: HostLayout, name: str) -> bytes | None:
    """The value behind a secret's name: `etc/secrets/NAME`, or TRADEOPS_SECRET_NAME of the environment; None: neither."""
    try:
        return read_bounded(layout.root / "etc" / "secrets" / Path(name).name, 64 << 10).strip()
    except (OSError, TradeopsError):
        value = os.environ.get(f"TRADEOPS_SECRET_{name.upper().replace('-', '_')}")
        return value.encode() if value else None


def read_kill(path: Path) -> Envelope:
    """An envelope that the agent left in latched/. Raises OSError, TradeopsError."""
    data = read_bounded(path, DOCUMENT_BYTES_MAX)
    try:
        return parse(data, Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not an envelope: {error}", where=str(path)) from None
