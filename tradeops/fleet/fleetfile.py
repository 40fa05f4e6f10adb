"""What a person writes in fleet.yml: strict models, defaults not yet applied. `example.yml` shows every key."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from tradeops.base.config import DurationS, Strict
from tradeops.base.errors import SignatureInvalid
from tradeops.contracts.layout import DEFAULT_ROOT
from tradeops.contracts.publickey import normalise
from tradeops.contracts.units import UNIT, parse_units

HOSTS_MAX = 10_000
_PORT_MAX = 65_535
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"

T = TypeVar("T")


def _amount(value: object) -> int:
    """Whole numbers and decimal text become 1e-9 units; a float has already lost digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value * UNIT
    if isinstance(value, str):
        return parse_units(value)
    raise ValueError(f'{value!r} is not exact: write it in quotes, as "0.01"')


def _moment(value: object) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise ValueError(f"{value!r} is not a time: write 2026-01-02T09:30:00Z")
    # YAML's own timestamps are UTC when they name no zone.
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _host_key(value: str) -> str:
    try:
        return normalise(value)
    except SignatureInvalid as error:
        raise ValueError(f"{error}; write the type and the base64 text, as `ssh-keyscan HOST` prints them") from None


def _absolute(value: str) -> str:
    if not value.startswith("/") or ".." in value.split("/") or "\0" in value:
        raise ValueError(f"{value!r} is not an absolute path without `..`")
    return value


def _proxy_socket(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not value.startswith("/") and not (host and port.isdecimal() and 0 < int(port) <= _PORT_MAX):
        raise ValueError(f"{value!r} is neither the absolute path of a socket nor address:port")
    return value


def _url(value: str) -> str:
    if not re.fullmatch(r"(wss?|https?)://[^\s/]+(/\S*)?", value):
        raise ValueError(f"{value!r} is not a URL: ws, wss, http or https, host and port")
    return value


Many = Annotated[tuple[T, ...], Field(strict=False)]
"""A YAML list, held as a tuple."""
_DECIMAL = {"type": "string", "pattern": r"^-?\d{1,18}(\.\d+)?$"}
Amount = Annotated[int, BeforeValidator(_amount), WithJsonSchema({"anyOf": [{"type": "integer"}, _DECIMAL]})]
"""Written 1000 or "0.01", held in 1e-9 units."""
Moment = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
Name = Annotated[str, Field(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=63)]
"""A DNS name in lower case: it stands in the host's certificate."""
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
Unit = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9:_.@-]*$", max_length=128)]
Address = Annotated[str, Field(pattern=r"^[A-Za-z0-9:][A-Za-z0-9._:%-]*$", max_length=253)]
User = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$", max_length=32)]
Port = Annotated[int, Field(ge=1, le=_PORT_MAX)]
HostKey = Annotated[str, AfterValidator(_host_key)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Url = Annotated[str, AfterValidator(_url)]
ProxySocket = Annotated[str, AfterValidator(_proxy_socket)]
ServiceManager = Literal["systemd", "supervisord"]
Slot = Literal["blue", "green"]


class Deadlines(Strict):
    """How long things may take, in seconds.

    connect: TCP, and the SSH banner and key exchange.  auth: the login.  command: one verb of the agent.
    silence: between two bytes of a stream.  control: one request to a guard.
    """

    connect: Annotated[DurationS, Field(gt=0, le=300)] = 5.0
    auth: Annotated[DurationS, Field(gt=0, le=300)] = 5.0
    command: Annotated[DurationS, Field(gt=0, le=3600)] = 30.0
    silence: Annotated[DurationS, Field(gt=0, le=3600)] = 15.0
    control: Annotated[DurationS, Field(gt=0, le=300)] = 3.0


class TrafficEntry(Strict):
    """What shares the service's traffic out. haproxy: each proxy's stats socket.  servers: host -> its name in the backend, if another."""

    haproxy: Annotated[tuple[ProxySocket, ...], Field(strict=False, min_length=1)]
    backend: Word
    servers: dict[Name, Word] = Field(default_factory=dict)
    timeout: Annotated[DurationS, Field(gt=0, le=60)] = 3.0


class ServiceEntry(Strict):
    """The service the fleet runs. units: slot -> unit or program; left out, they follow from the name.

    identity: `vitals` for our own trader, `url` for any other service (contracts.host.HostFile).
    """

    name: Word = "trader"
    units: dict[Slot, Unit] = Field(default_factory=dict)
    guard_unit: Unit | None = None
    guard_user: User | None = None
    trader_user: User | None = None
    identity: Literal["vitals", "url"] = "vitals"
    traffic: TrafficEntry | None = None


class JumpEntry(Strict):
    """A host to reach others through. jump: the one before it, if any."""

    address: Address
    port: Port = 22
    user: User | None = None
    host_key: HostKey | None = None
    identity_file: str | None = None
    jump: Word | None = None


class Defaults(Strict):
    """What a host that does not say otherwise gets. user, port: ~/.ssh/config is asked before `tradeops` and 22."""

    user: User | None = None
    port: Port | None = None
    admin_user: User = "root"
    identity_file: str | None = None
    jump: Word | None = None
    control_port: Port = 7443
    interpreter: AbsolutePath = "/usr/bin/python3"
    root: AbsolutePath = str(DEFAULT_ROOT)
    service_manager: ServiceManager = "systemd"
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    tags: Many[Word] = ()
    fields: dict[Word, str] = Field(default_factory=dict)


class HostEntry(Strict):
    """One host; what is left out comes from the defaults, tags and fields are added to them."""

    name: Name
    address: Address
    host_key: HostKey | None = None
    user: User | None = None
    port: Port | None = None
    admin_user: User | None = None
    identity_file: str | None = None
    jump: Word | None = None
    control_port: Port | None = None
    interpreter: AbsolutePath | None = None
    root: AbsolutePath | None = None
    service_manager: ServiceManager | None = None
    weight: Annotated[int, Field(ge=1, le=1000)] | None = None
    tags: Many[Word] = ()
    fields: dict[Word, str] = Field(default_factory=dict)


class VenueEntry(Strict):
    """Endpoints and account of one venue; a host may override single values. secret: a name, never the value.

    keep_on_logout: the venue offers that orders outlive the orderly logout of their session.
    """

    order_entry: Url | None = None
    market_data: Url | None = None
    drop_copy: Url | None = None
    account: Word | None = None
    secret: Word | None = None
    keep_on_logout: bool | None = None


class InstrumentEntry(Strict):
    """Reference data of one symbol."""

    tick: Annotated[Amount, Field(gt=0)]
    lot: Annotated[Amount, Field(gt=0)]
    reference_price: Annotated[Amount, Field(gt=0)]
    as_of: Moment


class BindingEntry(Strict):
    """What differs per environment (common) or host. budgets: share of firm limits, in 1e-9 units inside."""

    venues: dict[Word, VenueEntry] = Field(default_factory=dict)
    instruments: dict[Word, InstrumentEntry] = Field(default_factory=dict)
    budgets: dict[Word, Annotated[Amount, Field(ge=0)]] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


class Bindings(Strict):
    """common, then what single hosts override. firm_limits: what the hosts' budgets may sum up to (R04)."""

    common: BindingEntry = BindingEntry()
    hosts: dict[Name, BindingEntry] = Field(default_factory=dict)
    firm_limits: dict[Word, Annotated[Amount, Field(ge=0)]] = Field(default_factory=dict)


class FleetFile(Strict):
    """The whole file."""

    fleet: Name
    environment: Word
    hosts_declared: Annotated[int, Field(ge=1, le=HOSTS_MAX)]
    state: str = ".tradeops"
    ssh_config: str | None = "~/.ssh/config"
    known_hosts: str | None = "~/.ssh/known_hosts"
    service: ServiceEntry = ServiceEntry()
    defaults: Defaults = Defaults()
    deadlines: Deadlines = Deadlines()
    jump_hosts: dict[Word, JumpEntry] = Field(default_factory=dict)
    hosts: Annotated[tuple[HostEntry, ...], Field(strict=False, max_length=HOSTS_MAX)]
    bindings: Bindings = Bindings()
