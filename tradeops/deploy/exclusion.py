"""Hosts that runs leave out: named by a person, with a reason, for a while, on record, and with a kill that waits for each (promise 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tradeops.base.clock import NS_PER_S, utc
from tradeops.base.durable import read_bounded, write_atomic
from tradeops.base.errors import Refused, UsageError
from tradeops.contracts.codec import decode, encode
from tradeops.contracts.entitle import entitled
from tradeops.contracts.envelope import Envelope, Purpose
from tradeops.contracts.policy import Policy
from tradeops.contracts.signature import Signer

SCHEMA = "tradeops/exclusion/v1"
LIFE_S = 24 * 3600.0
_BYTES_MAX = 1 << 20


class Exclusion(msgspec.Struct, frozen=True):
    """The signed payload (Purpose.EXCLUSION). times: wall nanoseconds; from `expires_ns` on no run leaves the hosts out."""

    schema: str
    id: str
    fleet: str
    hosts: tuple[str, ...]
    by: str
    reason: str
    issued_ns: int
    expires_ns: int


class Entry(msgspec.Struct, frozen=True):
    """What is kept for one host. kill: the signed directive that stops it.  lifted_by: who or what ended it, "" while it stands."""

    exclusion: Envelope
    kill: Envelope
    lifted_by: str = ""
    why: str = ""


@dataclass(frozen=True)
class Excluded:
    """A host whose exclusion stands, expired or not: until it is lifted the host is an open finding."""

    host: str
    exclusion: Exclusion
    kill: Envelope

    def expired(self, now_ns: int) -> bool:
        """Whether no run may leave the host out any more."""
        return now_ns >= self.exclusion.expires_ns

    def words(self, now_ns: int) -> str:
        """For a person: by whom, why, until when."""
        until = utc(self.exclusion.expires_ns)
        return f"by {self.exclusion.by} {'which expired' if self.expired(now_ns) else 'until'} {until} UTC: {self.exclusion.reason}"


@dataclass(frozen=True)
class Exclusions:
    """A file per host of `fleet` in `folder`."""

    folder: Path
    fleet: str

    def put(self, exclusion: Exclusion, kill: Envelope, signer: Signer, policy: Policy) -> None:
        """Sign and keep it, for each of its hosts. Raises Refused when the policy does not let this person exclude; OSError."""
        body = encode(exclusion)
        envelope = Envelope.of(body, signer.sign(body, Purpose.EXCLUSION))
        _entitled(envelope, policy)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for host in exclusion.hosts:
            self._write(host, Entry(envelope, kill))

    def find(self, host: str) -> Excluded | None:
        """The exclusion that stands for a host, its signature not asked. Raises UsageError when what is kept is none of it."""
        entry = self._read(host)
        return None if entry is None or entry.lifted_by else self._opened(host, entry)

    def standing(self, hosts: Iterable[str]) -> tuple[Excluded, ...]:
        """All that stand for these hosts. Raises as `find`."""
        return tuple(found for host in hosts if (found := self.find(host)) is not None)

    def require(self, hosts: Iterable[str], policy: Policy, now_ns: int) -> None:
        """Raises Refused unless each of these hosts may be left out now: by an exclusion that stands, signed as the policy says.

        Raises UsageError as `find`.
        """
        for host in hosts:
            entry = self._read(host)
            if entry is None or entry.lifted_by:
                raise Refused("its exclusion was lifted", where=host, holds="nothing was touched", next="deploy to every host again")
            _entitled(entry.exclusion, policy)
            if (found := self._opened(host, entry)).expired(now_ns):
                raise Refused(
                    f"it was excluded {found.words(now_ns)}",
                    where=host,
                    holds="nothing was touched; the host is still an open finding",
                    next="bring it back and deploy to it, or exclude it anew and say why",
                )

    def lift(self, host: str, *, by: str, why: str) -> Excluded:
        """End an exclusion. Raises UsageError when none stands or no reason is given; OSError."""
        entry = self._read(host)
        if entry is None or entry.lifted_by:
            raise UsageError("no exclusion stands for this host", where=host, next="`tradeops verify` names every one that does")
        if not why.strip():
            raise UsageError("a reason is needed: it is kept for good", next="add --reason TEXT")
        self._write(host, msgspec.structs.replace(entry, lifted_by=by, why=why.strip()))
        return self._opened(host, entry)

    def _opened(self, host: str, entry: Entry) -> Excluded:
        path = str(self._path(host))
        exclusion = decode(entry.exclusion.body(), Exclusion, source=path)
        if (exclusion.schema, exclusion.fleet) != (SCHEMA, self.fleet) or host not in exclusion.hosts:
            raise UsageError(
                f"this is no exclusion of {host} in fleet {self.fleet}: it names {', '.join(exclusion.hosts)} in {exclusion.fleet}",
                where=path,
                holds="nobody is left out by it",
                next="move the file away; who is to be left out, `tradeops deploy --exclude` says",
            )
        return Excluded(host, exclusion, entry.kill)

    def _read(self, host: str) -> Entry | None:
        path = self._path(host)
        return decode(read_bounded(path, _BYTES_MAX), Entry, source=str(path)) if path.exists() else None

    def _write(self, host: str, entry: Entry) -> None:
        write_atomic(self._path(host), msgspec.json.encode(entry))

    def _path(self, host: str) -> Path:
        return self.folder / f"{host}.json"


def exclusion_of(hosts: tuple[str, ...], *, id: str, fleet: str, by: str, reason: str, now_ns: int) -> Exclusion:
    """One that stands for LIFE_S. Raises UsageError without a reason."""
    if not reason.strip():
        raise UsageError("a reason is needed: it is kept for good", next="add --reason TEXT")
    return Exclusion(SCHEMA, id, fleet, hosts, by, reason.strip(), now_ns, now_ns + int(LIFE_S * NS_PER_S))


def _entitled(envelope: Envelope, policy: Policy) -> None:
    entitled(policy, "exclude", envelope, Purpose.EXCLUSION, now_ns=None, host=None)
