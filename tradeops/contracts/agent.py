"""The agent's protocol: one JSON line per request and per answer, over one SSH session per host and run.

Opening: the agent speaks first (`Hello`). A request is {"id", "verb", "run", "fence", "args"[, "bytes"]}; with `bytes` n, n raw
bytes follow the line. An answer is {"id", "ok": true, "result"} or {"id", "ok": false, "error": {"code", "what", "next", "detail"}}.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from tradeops.contracts.identity import Identity
from tradeops.contracts.status import Mark

PROTOCOL = "tradeops-agent/v1"
LINE_BYTES_MAX = 16 << 20


class AgentVerb(StrEnum):
    """What the agent can be asked; results in the structs below.

    facts {} -> Facts
    lock {owner, reason, ttl_s, delegation: envelope, proof: armored signature of the nonce by the run key,
          takeover: bool} -> Lock            (takeover: the same run again, under a higher fence)
    renew {ttl_s} -> Lock;  unlock {} -> {}
    missing {} + bytes (zlib of the release envelope JSON) -> {release, missing: [digest], bytes: total}
    receive {} + bytes (zlib stream of frames: 32-byte sha256, 8-byte big-endian size, content) -> {stored: n}
    assemble {release} -> {release, files: n}
    switch {slot, release: digest|null, binding: envelope, overlay: envelope|null} -> {previous: digest|null}
          (null: the slot is left empty, as before its first release)
    start {slot} -> {pid};   stop {slot, stop_timeout_s} -> Stopped
    prove {slot, release|null, rehash: bool} -> Proof    (rehash: every file is compared with the manifest of the release that
          `current` points to; without it none is looked at)
    latch {directive: envelope, wait_ms: int = 0, stop: bool = false} -> Latched    (needs no lock, raises the fence; a kill of
          the whole host only: one with a scope goes to the guard; stop: then SIGKILL of every process of the service)
    journal {append: entry} -> {} (run and host time are filled in);  journal {read: true} -> {entries: [entry]}
    witness {chain, seq, head} -> {};  witness {read: true} -> {heads: [{chain, seq, head, wall_ns}]}
    prune {keep: n} -> {removed: [digest]}
    roster {roster: envelope} -> {number};  roster {read: true} -> {roster: envelope|null};  policy {policy: envelope} -> {number}
    upgrade {platform: envelope} -> {platform}    (blobs first, as for a release; Purpose.PLATFORM)
    """

    FACTS = "facts"
    LOCK = "lock"
    RENEW = "renew"
    UNLOCK = "unlock"
    MISSING = "missing"
    RECEIVE = "receive"
    ASSEMBLE = "assemble"
    SWITCH = "switch"
    START = "start"
    STOP = "stop"
    PROVE = "prove"
    LATCH = "latch"
    JOURNAL = "journal"
    WITNESS = "witness"
    PRUNE = "prune"
    ROSTER = "roster"
    POLICY = "policy"
    UPGRADE = "upgrade"


NEEDS_LOCK = frozenset(
    {
        AgentVerb.RENEW,
        AgentVerb.UNLOCK,
        AgentVerb.MISSING,
        AgentVerb.RECEIVE,
        AgentVerb.ASSEMBLE,
        AgentVerb.SWITCH,
        AgentVerb.START,
        AgentVerb.STOP,
        AgentVerb.PRUNE,
        AgentVerb.UPGRADE,
    }
)
"""Refused without the lock (`code` "locked" or "fenced"). Journal writes need it too, journal reads do not."""


class Code(StrEnum):
    """Why an agent refused."""

    LOCKED = "locked"
    FENCED = "fenced"
    SIGNATURE = "signature"
    DIGEST = "digest"
    OLDER = "older"
    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    SERVICE = "service"
    INTERNAL = "internal"


class Hello(msgspec.Struct, frozen=True):
    """The agent's first line. nonce: hex, signed by the run key for Purpose.SESSION when it locks."""

    agent: str
    host: str
    fleet: str
    platform: str
    nonce: str
    fence: int


class Lock(msgspec.Struct, frozen=True):
    """Who holds a host: expires on the host's own monotonic clock, `expires_in_s` from now."""

    run: str
    owner: str
    reason: str
    fence: int
    expires_in_s: float


class Running(msgspec.Struct, frozen=True):
    """A slot's process as the service manager and /proc show it. linked: the release that `current` points to."""

    slot: str
    release: str | None
    pid: int | None
    unit_state: str
    linked: str | None = None


class Witness(msgspec.Struct, frozen=True):
    """Head of an audit chain, left with this host (A02)."""

    chain: str
    seq: int
    head: str
    wall_ns: int


class Facts(msgspec.Struct, frozen=True):
    """What preflight needs to know of a host. active, token: of the newest activation that its guard has written down.

    identity: how its service tells what it is, see contracts.host.
    """

    host: str
    fleet: str
    machine_id: str
    platform: str
    python_abi: str
    python_platform: str
    python_version: str
    disk_free_bytes: int
    inodes_free: int
    memory_available_bytes: int
    wall_ns: int
    running: tuple[Running, ...]
    previous: str | None
    releases: tuple[str, ...]
    highest_number: int
    marks: tuple[Mark, ...]
    lock: Lock | None
    fence: int
    roster_number: int
    policy_number: int
    overlay_number: int
    witnesses: tuple[Witness, ...]
    writable: bool
    problems: tuple[str, ...] = ()
    active: str = "blue"
    token: int = 0
    identity: str = "vitals"


class Process(msgspec.Struct, frozen=True):
    """One process as /proc shows it."""

    pid: int
    start_ticks: int
    started_wall_ns: int
    command: tuple[str, ...]
    executable: str
    working_folder: str


class Stopped(msgspec.Struct, frozen=True):
    """stopped only when the unit is inactive and no process of the service is left."""

    stopped: bool
    survivors: tuple[Process, ...]
    unit_state: str


class Latched(msgspec.Struct, frozen=True):
    """What became of a kill that came over SSH.

    latch: the word now.  already: this kill was latched here before.  spent: a permit has ended it, nothing was done.
    blocked: the gate acknowledged the word with an empty send queue, or no process of the service is left; blocked_ms
    from receipt.  stopped: when asked to stop.  problems: what failed beside the word (a full disk, a missing page).
    roster_number: of the roster that the host keeps, 0: none.
    """

    latch: int
    already: bool
    spent: bool = False
    blocked: bool = False
    blocked_ms: float | None = None
    stopped: Stopped | None = None
    problems: tuple[str, ...] = ()
    roster_number: int = 0


class Proof(msgspec.Struct, frozen=True):
    """What really runs, read back from the host.

    linked: the release `current` points to.  process: the unit's main process.  others: any further process of the
    service that is not its descendant.  bad_files: paths whose bytes, mode or kind are not the manifest's, or that are extra.
    present_removed: declared-removed paths that are there (D04).  vitals: what the process says, None when the page is missing or stale.
    """

    slot: str
    linked: str | None
    binding: str | None
    unit_state: str
    process: Process | None
    others: tuple[Process, ...]
    files_checked: int
    bad_files: tuple[str, ...]
    present_removed: tuple[str, ...]
    vitals: Identity | None
    vitals_age_ms: float | None
    wall_ns: int
    problems: tuple[str, ...] = ()


class RunEntry(msgspec.Struct, frozen=True):
    """One line of a run's journal, on the operator's machine and on hosts."""

    run: str
    seq: int
    phase: str
    outcome: str
    wall_ns: int
    detail: dict[str, Any] = {}
