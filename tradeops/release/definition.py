"""service.yml: what a person writes about a service so that its folder can become a release."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tradeops.base.config import DurationS, Strict, load_yaml
from tradeops.base.errors import ConfigError
from tradeops.contracts.flags import meaning_digest
from tradeops.contracts.manifest import VITALS, Flag, Limits, Start
from tradeops.contracts.units import parse_units
from tradeops.release.paths import path_problem

T = TypeVar("T")


def _positive_amount(value: object) -> int:
    """Text only: a bare 0.1 is a float that has lost digits, a bare 100 might be meant in units."""
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is not exact: write it in quotes, as "100" or "0.01"')
    amount = parse_units(value)
    if amount <= 0:
        raise ValueError(f"{value!r}: a limit is above zero")
    return amount


def _tree_path(value: str) -> str:
    if problem := path_problem(value):
        raise ValueError(f"{value!r} {problem}")
    return value


def _identity(value: str) -> str:
    if value != VITALS and not value.startswith("/"):
        raise ValueError(f"{value!r}: write `vitals`, or the path of a URL, as /identity")
    return value


Many = Annotated[tuple[T, ...], Field(strict=False)]
Amount = Annotated[int, BeforeValidator(_positive_amount)]
"""Decimal text above zero, held in 1e-9 units."""
Count = Annotated[int, Field(gt=0)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
FlagId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)]
TreePath = Annotated[str, AfterValidator(_tree_path)]
IdentityPath = Annotated[str, AfterValidator(_identity)]


class LimitsEntry(Strict):
    """Pre-set limits (D12): none may be missing."""

    instruments: Annotated[Many[Word], Field(min_length=1)]
    venues: Annotated[Many[Word], Field(min_length=1)]
    order_quantity_max: Amount
    order_price_max: Amount
    order_value_max: Amount
    order_count_max: Count
    order_rate_per_s_max: Count
    position_max: Amount

    def limits(self) -> Limits:
        """As the manifest holds them."""
        return Limits(
            instruments=self.instruments,
            venues=self.venues,
            order_quantity_max=self.order_quantity_max,
            order_price_max=self.order_price_max,
            order_value_max=self.order_value_max,
            order_count_max=self.order_count_max,
            order_rate_per_s_max=self.order_rate_per_s_max,
            position_max=self.position_max,
        )


class FlagEntry(Strict):
    """A flag the code knows. meaning: what turning it on does, in words that will still be true in years.

    active: this release turns it on (the key is not `on`, which YAML reads as yes).  ends_overlay: the overlay by which
    it was turned off before, and whose word this release ends; a later overlay is not ended.
    """

    id: FlagId
    meaning: Annotated[str, Field(min_length=10)]
    active: bool = False
    ends_overlay: Annotated[int, Field(ge=0)] = 0

    def flag(self) -> Flag:
        """As the manifest holds it."""
        return Flag(self.id, meaning_digest(self.meaning), self.active, self.ends_overlay)


class StartEntry(Strict):
    """How the service runs. {python}: the host's interpreter; {tree}: the release's folder."""

    argv: Annotated[Many[str], Field(min_length=1)]
    environment: dict[str, str] = Field(default_factory=dict)
    stop_timeout: DurationS = 10.0


class JournalEntry(Strict):
    """Versions of the journal's format that the code reads, and the one that it writes."""

    reads: Many[int]
    writes: int

    @model_validator(mode="after")
    def _reads_its_own(self) -> JournalEntry:
        if self.writes not in self.reads:
            raise ValueError(f"it writes version {self.writes}, which it does not read")
        return self


class Definition(Strict):
    """The whole file. kind: `tree` packs the folder as it is; `trader` also brings our own daemon and its libraries."""

    service: Word
    version: Annotated[str, Field(min_length=1, max_length=64)]
    kind: Literal["tree", "trader"] = "tree"
    start: StartEntry | None = None
    identity: IdentityPath = VITALS
    health: IdentityPath = VITALS
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    python: bool = False
    limits: LimitsEntry | None = None
    flags: Many[FlagEntry] = ()
    removed: Many[TreePath] = ()
    journal: JournalEntry | None = None
    contracts: dict[str, int] = Field(default_factory=dict)
    expires_after: DurationS | None = None
    exclude: Many[str] = ()

    @model_validator(mode="after")
    def _whole(self) -> Definition:
        if self.kind == "tree" and self.start is None:
            raise ValueError("start: a service of kind `tree` says how it is started")
        if self.identity == VITALS and self.limits is None:
            raise ValueError("limits: a trading service (identity: vitals) carries its pre-set limits")
        if VITALS not in (self.identity, self.health) and self.port is None:
            raise ValueError("port: where does the service answer for its identity and health?")
        ids = [flag.id for flag in self.flags]
        if len(set(ids)) != len(ids):
            raise ValueError("flags: an id stands twice")
        return self

    def start_of(self, fallback: StartEntry) -> Start:
        """As the manifest holds it; `fallback` where the file leaves it to us (kind `trader`)."""
        entry = self.start or fallback
        return Start(entry.argv, entry.environment, self.identity, self.health, self.port, entry.stop_timeout)


def load_definition(path: Path) -> Definition:
    """Read a service.yml. Raises ConfigError with file:line and key path."""
    if path.is_dir():
        raise ConfigError("is a folder", where=str(path), next=f"name the file, as {path / 'service.yml'}")
    return load_yaml(path, Definition)
