"""The venue's file: what trades, who may log on, where prices come from. Strict; amounts are decimal text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tradeops.base.config import DurationS, SizeBytes, Strict
from tradeops.base.durable import read_bounded
from tradeops.base.errors import ConfigError, TradeopsError
from tradeops.contracts.units import parse_units
from tradeops.venue.book import SelfTrade
from tradeops.venue.members import Account

_SECRET_BYTES_MAX = 4096


def _amount(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not decimal text: quote it, as '0.01'")
    amount = parse_units(value)
    if amount <= 0:
        raise ValueError(f"{value!r} is not above zero")
    return amount


def _name(value: str) -> str:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"{value!r} is not a name: printable ASCII without spaces")
    return value


DecimalText = Annotated[int, BeforeValidator(_amount)]
"""Written `"0.01"`, held in 1e-9 units, above zero."""
NameText = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_name)]
PathText = Annotated[Path, Field(strict=False)]


class SymbolConfig(Strict):
    """One instrument; price: where generated prices start."""

    symbol: NameText
    tick: DecimalText = 10_000_000
    lot: DecimalText = 1_000_000_000
    price: DecimalText = 100_000_000_000

    @model_validator(mode="after")
    def _on_tick(self) -> SymbolConfig:
        if self.price % self.tick or self.price < 1000 * self.tick:
            raise ValueError("price is to be a multiple of tick, and at least a thousand ticks")
        return self


class AccountConfig(Strict):
    """Who may log on. secret_file: its content, stripped, is the secret; none: no proof is asked for."""

    name: NameText
    secret_file: PathText | None = None
    oversees: tuple[NameText, ...] = Field(default=(), strict=False)

    def account(self) -> Account:
        """With its secret read. Raises ConfigError."""
        if self.secret_file is None:
            return Account(self.name, None, self.oversees)
        try:
            secret = read_bounded(self.secret_file, _SECRET_BYTES_MAX).strip()
        except (OSError, TradeopsError) as error:
            raise ConfigError(f"the secret of account {self.name} cannot be read: {error}", where=str(self.secret_file)) from None
        if not secret:
            raise ConfigError(f"the secret of account {self.name} is empty", where=str(self.secret_file))
        return Account(self.name, secret, self.oversees)


class GeneratedFeed(Strict):
    """A seeded random walk with market makers. trade_ppm: how often per move somebody takes; levels: per side."""

    kind: Literal["generated"] = "generated"
    quotes_per_s: int = Field(default=20, ge=1, le=1_000_000)
    spread_ticks: int = Field(default=2, ge=1, le=10_000)
    levels: int = Field(default=3, ge=1, le=20)
    size_lots: int = Field(default=20, ge=1, le=1_000_000)
    trade_ppm: int = Field(default=100_000, ge=0, le=1_000_000)


class ReplayFeed(Strict):
    """A recorded file; begins with the first subscriber. speed_ppm: 1000000 as recorded, 0 as fast as subscribers read.

    rebase: exchange times are moved so that the recording starts now; the offset between the two recorded clocks stays.
    """

    kind: Literal["replay"]
    file: PathText
    speed_ppm: int = Field(default=1_000_000, ge=0, le=1_000_000_000)
    rebase: bool = True
    messages_max: int = Field(default=0, ge=0)


class PortsConfig(Strict):
    """0: any free one."""

    orders: int = Field(default=0, ge=0, le=65535)
    market_data: int = Field(default=0, ge=0, le=65535)
    drop_copy: int = Field(default=0, ge=0, le=65535)
    control: int = Field(default=0, ge=0, le=65535)


class VenueConfig(Strict):
    """The whole file. control_listen: faults are switched there, so it is loopback unless said otherwise.

    keep_on_logout: whether a session may ask that what works of it outlives its orderly logout.
    """

    name: NameText = "sim"
    listen: str = "127.0.0.1"
    control_listen: str = "127.0.0.1"
    ports: PortsConfig = PortsConfig()
    seed: int = 1
    symbols: tuple[SymbolConfig, ...] = Field(strict=False, min_length=1, max_length=10_000)
    accounts: tuple[AccountConfig, ...] = Field(default=(), strict=False, max_length=10_000)
    feed: Annotated[GeneratedFeed | ReplayFeed, Field(discriminator="kind")] = GeneratedFeed()
    feed_batch: DurationS = 0.05
    self_trade: SelfTrade = Field(default=SelfTrade.CANCEL_INCOMING, strict=False)
    keep_on_logout: bool = True
    logon_timeout: DurationS = 3.0
    member_queue_max: SizeBytes = 8 << 20
    history_max: int = Field(default=200_000, ge=1, le=10_000_000)
    orders_max: int = Field(default=1_000_000, ge=1, le=10_000_000)
    journal_entries_max: int = Field(default=200_000, ge=1, le=10_000_000)
    journal_file: PathText | None = None

    @model_validator(mode="after")
    def _distinct(self) -> VenueConfig:
        for what, names in (("symbol", [s.symbol for s in self.symbols]), ("account", [a.name for a in self.accounts])):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {', '.join(twice)} stands twice")
        return self
