"""Where things lie on a managed host, below one root folder (`/opt/tradeops` unless the fleet says otherwise).

The agent keeps its own copy of these names, since it imports nothing; tests/contract holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_ROOT = Path("/opt/tradeops")
SLOTS = ("blue", "green")


@dataclass(frozen=True)
class HostLayout:
    """Paths of one host. Owners: r = root, g = the guard's user, t = the trader's user."""

    root: Path = DEFAULT_ROOT

    @property
    def platform(self) -> Path:
        """r: link to the platform release in force: `agent/` (stdlib only) and `lib/` (guard and its libraries)."""
        return self.root / "platform" / "current"

    @property
    def agent_launcher(self) -> Path:
        """r: what the forced command runs."""
        return self.root / "bin" / "tradeops-agent"

    @property
    def host_file(self) -> Path:
        """r: contracts.host.HostFile: who this host is."""
        return self.root / "etc" / "host.json"

    @property
    def policy_file(self) -> Path:
        """r: envelope of contracts.policy.Policy."""
        return self.root / "etc" / "policy.json"

    @property
    def roster_file(self) -> Path:
        """r: envelope of contracts.roster.Roster."""
        return self.root / "etc" / "roster.json"

    @property
    def tls(self) -> Path:
        """g: `ca.pem`, `guard.pem`, `guard.key`."""
        return self.root / "etc" / "tls"

    @property
    def agent_state(self) -> Path:
        """r: lock, fence, journals of runs, witnesses."""
        return self.root / "agent"

    @property
    def latched(self) -> Path:
        """r: one file per kill that came over SSH, named by its id: the envelope. The guard reads it."""
        return self.root / "latched"

    @property
    def guard_state(self) -> Path:
        """g: marks, permit, spent ids, policy number seen."""
        return self.root / "guard"

    @property
    def overlay_file(self) -> Path:
        """g writes, t reads: the directive that carries the overlay in force, as the guard took it; missing: none."""
        return self.root / "pages" / "overlay.json"

    @property
    def stop_page(self) -> Path:
        """g writes (the agent its latch word), t maps read-only."""
        return self.root / "pages" / "stop.page"

    def vitals_page(self, slot: str) -> Path:
        """t writes, g and r read: what the process of this slot says of itself."""
        return self.root / "vitals" / f"{slot}.page"

    @property
    def blobs(self) -> Path:
        """r: content-addressed files, `aa/<64 hex>`."""
        return self.root / "blobs"

    @property
    def releases(self) -> Path:
        """r: one folder per release, named by the hex of its digest: `release.json` (envelope) and `tree/`."""
        return self.root / "releases"

    def release(self, digest: str) -> Path:
        """The folder of one release."""
        return self.releases / digest.removeprefix("sha256:")

    def slot(self, name: str) -> Path:
        """r: `current` (link to a release folder), `binding.json`, `overlay.json` (envelopes)."""
        return self.root / "slots" / name

    @property
    def held_file(self) -> Path:
        """r writes, t reads: until when a run holds the host, or held it last, in CLOCK_MONOTONIC nanoseconds; missing: not known."""
        return self.root / "slots" / "held"

    @property
    def data(self) -> Path:
        """t: the trader's journal and working folder; belongs to the host, not to the slot."""
        return self.root / "data"

    @property
    def logs(self) -> Path:
        """One file per daemon where the service manager keeps none."""
        return self.root / "logs"


@dataclass(frozen=True)
class OperatorLayout:
    """Where the operator's machine keeps a fleet's state: `.tradeops/` beside the fleet file, mode 0700."""

    root: Path

    @property
    def policy_file(self) -> Path:
        """Envelope of the policy in force."""
        return self.root / "policy.json"

    @property
    def roster_file(self) -> Path:
        """Envelope of the newest roster."""
        return self.root / "roster.json"

    @property
    def tls(self) -> Path:
        """`ca.pem`, `ca.key`, `client.pem`, `client.key`, and per host `hosts/NAME.pem`, `.key`."""
        return self.root / "tls"

    @property
    def releases(self) -> Path:
        """release.store.Store: manifests by id and blobs by digest."""
        return self.root / "releases"

    @property
    def bindings(self) -> Path:
        """Envelopes of signed bindings, `HOST.json`."""
        return self.root / "bindings"

    @property
    def overlays(self) -> Path:
        """Envelopes of overlays, `NUMBER.json`."""
        return self.root / "overlays"

    @property
    def audit(self) -> Path:
        """The hash chain of records."""
        return self.root / "audit.jsonl"

    @property
    def approvals(self) -> Path:
        """Envelopes of approvals, `ID.json`; `ID.used` once a run has spent them."""
        return self.root / "approvals"

    @property
    def quarantine(self) -> Path:
        """Releases that a gate rejected, `RELEASE.json`."""
        return self.root / "quarantine"

    @property
    def exclusions(self) -> Path:
        """Hosts that runs leave out, `HOST.json`: the signed exclusion and the kill that waits for the host."""
        return self.root / "exclusions"

    @property
    def runs(self) -> Path:
        """A folder per run: `plan.json`, `playbook.json`, `journal.jsonl`, `gate-STEP.json` for each gate (from the
        second session on `gate-STEP-session-N.json`), and all of them drawn in `gates.html`.
        """
        return self.root / "runs"

    @property
    def platforms(self) -> Path:
        """Built platform releases: envelope and tree archive."""
        return self.root / "platforms"

    @property
    def keys(self) -> Path:
        """Person -> path of that person's key file on this machine: paths, never keys."""
        return self.root / "keys.json"
