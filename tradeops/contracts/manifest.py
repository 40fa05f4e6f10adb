"""What a release is: an in-toto statement over every file, with flags, limits, and how to start it."""

from __future__ import annotations

from typing import Any

import msgspec

from tradeops.base.digest import digest_bytes
from tradeops.contracts.codec import encode

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:tradeops:release:v1"
VITALS = "vitals"
"""How our own trader tells what it is."""


class File(msgspec.Struct, frozen=True):
    """One file of the tree: relative POSIX path, mode (permission bits), size in bytes, sha256 digest.

    link: the target when it is a symbolic link inside the tree; size and digest are then those of the target text.
    """

    path: str
    mode: int
    size: int
    digest: str
    link: str | None = None


class Flag(msgspec.Struct, frozen=True):
    """A flag the code knows: id, digest of its written meaning, whether this release turns it on.

    ends: with `on`, the overlays up to this number that turned it off no longer hold; a later one does.
    """

    id: str
    meaning: str
    on: bool = False
    ends: int = 0


class Limits(msgspec.Struct, frozen=True):
    """Pre-set limits (D12); all required. Prices, values, quantities in 1e-9 units."""

    instruments: tuple[str, ...]
    venues: tuple[str, ...]
    order_quantity_max: int
    order_price_max: int
    order_value_max: int
    order_count_max: int
    order_rate_per_s_max: int
    position_max: int


class PythonAbi(msgspec.Struct, frozen=True):
    """What the compiled parts of the tree were built for, as `cp311`, `linux_x86_64`, `3.11`."""

    abi: str
    platform: str
    version: str


class Start(msgspec.Struct, frozen=True):
    """How the service runs: argv (relative to the tree; `{python}` is the host's interpreter), environment, and how
    it tells what it is: `vitals`, or the URL path of its own identity and health.

    `{address}`, `{port}` in argv and environment: where it is to listen. Its identity is a JSON object with `release`, `binding`,
    `slot` (as TRADEOPS_RELEASE, TRADEOPS_BINDING, TRADEOPS_SLOT tell it) and the `pid` of its main process.
    """

    argv: tuple[str, ...]
    environment: dict[str, str] = {}
    identity: str = VITALS
    health: str = VITALS
    port: int | None = None
    stop_timeout_s: float = 10.0

    @property
    def kept(self) -> bool:
        """Whether the service is not ours: it has no gate and writes no vitals, so the platform keeps it (agent/keeper.py)."""
        return self.identity != VITALS


class Release(msgspec.Struct, frozen=True):
    """The predicate. number rises with every release of a service (A07). removed: paths that must be absent (D04)."""

    service: str
    version: str
    number: int
    files: tuple[File, ...]
    start: Start
    python: PythonAbi | None
    limits: Limits | None
    flags: tuple[Flag, ...] = ()
    removed: tuple[str, ...] = ()
    journal_reads: tuple[int, ...] = ()
    journal_writes: int | None = None
    contracts: dict[str, int] = {}
    previous: str | None = None
    expires_wall_ns: int | None = None
    provenance: dict[str, Any] = {}


class Subject(msgspec.Struct, frozen=True):
    """in-toto subject: the service's name and the digest of its file table."""

    name: str
    digest: dict[str, str]


class Manifest(msgspec.Struct, frozen=True, rename={"type": "_type", "predicate_type": "predicateType"}):
    """The payload of Purpose.RELEASE. The release's id is the digest of these bytes."""

    type: str
    subject: tuple[Subject, ...]
    predicate_type: str
    predicate: Release

    def id(self) -> str:
        """The release digest."""
        return digest_bytes(encode(self))
