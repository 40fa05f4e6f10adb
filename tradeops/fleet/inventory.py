"""fleet.yml read into what every room uses: hosts with their defaults applied, bindings, deadlines; and choosing among hosts."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tradeops.base.config import Key, load_yaml
from tradeops.base.errors import ConfigError, TradeopsError, UsageError
from tradeops.contracts.binding import Binding
from tradeops.contracts.layout import OperatorLayout
from tradeops.fleet.bindings import bind, binding_findings
from tradeops.fleet.fleetfile import Deadlines, Defaults, FleetFile, HostEntry, JumpEntry, ServiceEntry, TrafficEntry
from tradeops.fleet.haproxy import Haproxy
from tradeops.fleet.host import Host, JumpHost, SshEntry

DEFAULT_USER = "tradeops"
DEFAULT_SSH_PORT = 22
_STATE = ".tradeops"
_DECLARED_HINT = "add or remove the host, or change hosts_declared on purpose"

T = TypeVar("T")


@dataclass(frozen=True)
class Service:
    """What the fleet runs. identity: `vitals` or `url`, see contracts.host.  traffic: None where no proxy stands before it."""

    name: str
    guard_user: str | None = None
    trader_user: str | None = None
    units_named: Mapping[str, str] = field(default_factory=dict)
    guard_unit_named: str | None = None
    identity: str = "vitals"
    traffic: Haproxy | None = None

    def units(self, service_manager: str, slots: Iterable[str]) -> dict[str, str]:
        """slot -> unit (systemd) or program (supervisord)."""
        pattern = "tradeops-{name}@{slot}.service" if service_manager == "systemd" else "{name}-{slot}"
        return {slot: self.units_named.get(slot) or pattern.format(name=self.name, slot=slot) for slot in slots}

    def guard_unit(self, service_manager: str) -> str:
        """The guard's unit or program."""
        return self.guard_unit_named or ("tradeops-guard.service" if service_manager == "systemd" else "guard")


@dataclass(frozen=True)
class Fleet:
    """One environment as its file says. bindings: host name -> what differs there (not yet signed)."""

    path: Path
    name: str
    environment: str
    hosts_declared: int
    hosts: tuple[Host, ...]
    jumps: Mapping[str, JumpHost]
    deadlines: Deadlines
    state: OperatorLayout
    service: Service
    bindings: Mapping[str, Binding]
    known_hosts: Path | None

    def host(self, name: str) -> Host:
        """Raises UsageError when there is no such host."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise UsageError(f"no host is named {name!r}", where=str(self.path), next="`tradeops fleet list` prints the names")


def load_fleet(path: Path) -> Fleet:
    """Read and resolve a fleet file. Raises ConfigError with file:line and key path for each thing that is wrong."""
    file = load_yaml(path, FleetFile, check=_findings)
    return _resolved(path, file, _ssh_config(_beside(path.resolve().parent, file.ssh_config)))


def load_for_kill(path: Path) -> tuple[Fleet, tuple[TradeopsError, ...]]:
    """As much of a fleet as can be read, and what is wrong with its files: a kill goes on without what it does not need.

    Where the file names no hosts that can be told apart, those of the newest roster here, unverified: guards judge the kill.
    Raises ConfigError when neither does.
    """
    wrong: list[TradeopsError] = []
    try:
        file = load_yaml(path, FleetFile, check=_findings, tell=wrong.append)
        if len({entry.name for entry in file.hosts}) != len(file.hosts) or not file.hosts:
            raise wrong.pop()
    except ConfigError as error:
        return _from_roster(path, error), (error,)
    try:
        return _resolved(path, file, _ssh_config(_beside(path.resolve().parent, file.ssh_config))), tuple(wrong)
    except ConfigError as error:
        return _resolved(path, file, lambda _address: SshEntry()), (*wrong, error)


def _from_roster(path: Path, error: ConfigError) -> Fleet:
    """The hosts of the newest roster beside the file, with defaults for all else. Raises `error` when there is none."""
    from tradeops.fleet.roster import with_forgotten
    from tradeops.fleet.rosterfile import stored_roster

    state = OperatorLayout(path.resolve().parent / _STATE)
    try:
        found = stored_roster(state.roster_file)
    except (TradeopsError, OSError):
        found = None
    if found is None:
        raise error
    hosts = with_forgotten((), found[1].hosts)
    return Fleet(path, found[1].fleet, "", len(hosts), hosts, {}, Deadlines(), state, Service(""), {}, None)


def _resolved(path: Path, file: FleetFile, asked: Callable[[str], SshEntry]) -> Fleet:
    folder = path.resolve().parent
    jumps = {name: _jump(name, entry, folder) for name, entry in file.jump_hosts.items()}
    hosts = tuple(_host(entry, file.defaults, folder, asked, jumps) for entry in file.hosts)
    _refuse_same_endpoints(hosts, path)
    return Fleet(
        path=path,
        name=file.fleet,
        environment=file.environment,
        hosts_declared=file.hosts_declared,
        hosts=hosts,
        jumps=jumps,
        deadlines=file.deadlines,
        state=OperatorLayout(_beside(folder, file.state) or folder / _STATE),
        service=_service(file.service),
        bindings={entry.name: bind(file, entry.name) for entry in file.hosts},
        known_hosts=_beside(folder, file.known_hosts),
    )


def select(fleet: Fleet, *, hosts: Sequence[str] = (), tags: Sequence[str] = ()) -> tuple[Host, ...]:
    """The hosts named, and those that carry any of the tags; all of them when nothing is asked for.

    Raises UsageError for an unknown name, and for a tag that no host carries: a selection is never empty.
    """
    named = {fleet.host(name).name for name in hosts}
    for tag in tags:
        carriers = {host.name for host in fleet.hosts if tag in host.tags}
        if not carriers:
            raise UsageError(f"no host carries the tag {tag!r}", where=str(fleet.path), next="`tradeops fleet list` prints the tags")
        named |= carriers
    chosen = tuple(host for host in fleet.hosts if host.name in named) if hosts or tags else fleet.hosts
    if not chosen:
        raise UsageError("the selection is empty", where=str(fleet.path))
    return chosen


def _findings(file: FleetFile) -> Iterator[tuple[Key, str]]:
    """What no single value can tell: counts, duplicates, references, sums."""
    if not file.hosts:
        yield ("hosts",), "the fleet has no hosts"
    elif len(file.hosts) != file.hosts_declared:
        yield ("hosts_declared",), f"{file.hosts_declared} hosts are declared and {len(file.hosts)} are listed: {_DECLARED_HINT}"
    yield from _duplicates(file.hosts, "name", lambda entry: entry.name)
    yield from _duplicates(file.hosts, "address", lambda entry: _endpoint(entry, file.defaults))
    yield from _duplicates(file.hosts, "control_port", lambda entry: _control(entry, file.defaults))
    yield from _duplicates(file.hosts, "host_key", lambda entry: entry.host_key)
    yield from _jump_findings(file)
    yield from _traffic_findings(file)
    yield from _venue_findings(file)
    yield from binding_findings(file)


def _duplicates(entries: Sequence[HostEntry], key: str, of: Callable[[HostEntry], str | None]) -> Iterator[tuple[Key, str]]:
    seen: dict[str, str] = {}
    for index, entry in enumerate(entries):
        value = of(entry)
        if value in seen and value is not None:
            yield ("hosts", index, key), f"{value} is already that of {seen[value]}"
        elif value is not None:
            seen[value] = entry.name


def _endpoint(entry: HostEntry, defaults: Defaults) -> str:
    jump = entry.jump or defaults.jump
    return f"{_address_text(entry.address)}:{entry.port or defaults.port or DEFAULT_SSH_PORT}" + (f" through {jump}" if jump else "")


def _control(entry: HostEntry, defaults: Defaults) -> str:
    jump = entry.jump or defaults.jump
    return f"{_address_text(entry.address)}:{entry.control_port or defaults.control_port}" + (f" through {jump}" if jump else "")


def _address_text(address: str) -> str:
    """One text for the many ways to write an address: ::1 and 0:0::1 are the same host."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address.lower().rstrip(".")


def _jump_findings(file: FleetFile) -> Iterator[tuple[Key, str]]:
    uses: list[tuple[Key, str | None]] = [(("defaults", "jump"), file.defaults.jump)]
    uses += [(("hosts", index, "jump"), entry.jump) for index, entry in enumerate(file.hosts)]
    uses += [(("jump_hosts", name, "jump"), entry.jump) for name, entry in file.jump_hosts.items()]
    for key, jump in uses:
        if jump is not None and jump not in file.jump_hosts:
            yield key, f"{jump!r} is not one of jump_hosts"
    for name in file.jump_hosts:
        if name in _hops(name, file.jump_hosts)[1:]:
            yield ("jump_hosts", name, "jump"), "the jump hosts go round in a circle"


def _traffic_findings(file: FleetFile) -> Iterator[tuple[Key, str]]:
    """Every host has a server of its own behind the proxy."""
    named = file.service.traffic.servers if file.service.traffic else {}
    names = [entry.name for entry in file.hosts]
    for host in named:
        if host not in names:
            yield ("service", "traffic", "servers", host), f"{host!r} is not one of the hosts"
    counts = Counter(named.get(name, name) for name in names)
    for host, server in named.items():
        if counts[server] > 1:
            yield ("service", "traffic", "servers", host), f"{server!r} is the server of two hosts"


def _venue_findings(file: FleetFile) -> Iterator[tuple[Key, str]]:
    """No order without passing the gate: a service that has none gets no venue."""
    if file.service.identity == "url":
        entries = {("common",): file.bindings.common} | {("hosts", name): entry for name, entry in file.bindings.hosts.items()}
        for key, entry in entries.items():
            if entry.venues:
                yield (
                    ("bindings", *key, "venues"),
                    "`identity: url` is a service without a gate that its orders would pass: it gets no venue",
                )


def _hops(name: str | None, jumps: Mapping[str, JumpEntry]) -> list[str]:
    hops: list[str] = []
    while name in jumps and name is not None:
        hops.append(name)
        if hops.count(name) > 1:
            break
        name = jumps[name].jump
    return hops


def _host(entry: HostEntry, defaults: Defaults, folder: Path, asked: Callable[[str], SshEntry], jumps: dict[str, JumpHost]) -> Host:
    """The entry over the defaults over ~/.ssh/config. A ProxyJump found there is added to `jumps`."""
    ssh = asked(entry.address)
    identity = entry.identity_file or defaults.identity_file
    return Host(
        name=entry.name,
        address=ssh.host_name or entry.address,
        port=_first(entry.port, defaults.port, ssh.port, DEFAULT_SSH_PORT),
        user=_first(entry.user, defaults.user, ssh.user, DEFAULT_USER),
        host_key=entry.host_key or "",
        control_port=_first(entry.control_port, defaults.control_port),
        interpreter=_first(entry.interpreter, defaults.interpreter),
        root=PurePosixPath(_first(entry.root, defaults.root)),
        service_manager=_first(entry.service_manager, defaults.service_manager),
        tags=frozenset(defaults.tags + entry.tags),
        weight=_first(entry.weight, defaults.weight),
        jump=entry.jump or defaults.jump or _proxy_jump(ssh.proxy_jump, asked, jumps),
        admin_user=_first(entry.admin_user, defaults.admin_user),
        identity_file=str(_beside(folder, identity)) if identity else ssh.identity_file,
        fields={**defaults.fields, **entry.fields},
    )


def _first(*values: T | None) -> T:
    return next(value for value in values if value is not None)


def _proxy_jump(hops: tuple[str, ...], asked: Callable[[str], SshEntry], jumps: dict[str, JumpHost]) -> str | None:
    """The name of the last hop, each `user@address:port` hop being there under its own text."""
    before: str | None = None
    for hop in hops:
        user, _, rest = hop.rpartition("@")
        address, _, port = rest.partition(":") if rest.count(":") == 1 else (rest, "", "")
        ssh = asked(address)
        jumps[hop] = JumpHost(
            name=hop,
            address=ssh.host_name or address,
            port=int(port) if port.isdecimal() else ssh.port or DEFAULT_SSH_PORT,
            user=user or ssh.user,
            host_key="",
            identity_file=ssh.identity_file,
            jump=before,
        )
        before = hop
    return before


def _jump(name: str, entry: JumpEntry, folder: Path) -> JumpHost:
    identity = str(_beside(folder, entry.identity_file)) if entry.identity_file else None
    return JumpHost(
        name=name,
        address=entry.address,
        port=entry.port,
        user=entry.user,
        host_key=entry.host_key or "",
        identity_file=identity,
        jump=entry.jump,
    )


def _ssh_config(path: Path | None) -> Callable[[str], SshEntry]:
    """How to ask the person's own SSH configuration; asks nothing, and imports nothing, where there is none."""
    if path is None or not path.exists():
        return lambda _address: SshEntry()
    from tradeops.fleet.ssh import read_ssh_config

    return read_ssh_config(path)


def _service(entry: ServiceEntry) -> Service:
    return Service(
        name=entry.name,
        guard_user=entry.guard_user,
        trader_user=entry.trader_user,
        units_named=dict(entry.units.items()),
        guard_unit_named=entry.guard_unit,
        identity=entry.identity,
        traffic=_traffic(entry.traffic),
    )


def _traffic(entry: TrafficEntry | None) -> Haproxy | None:
    return Haproxy(entry.haproxy, entry.backend, dict(entry.servers.items()), entry.timeout) if entry else None


def _beside(folder: Path, text: str | None) -> Path | None:
    """A path written in the fleet file: `~` is the person's home, what is relative lies beside the file."""
    return folder / Path(text).expanduser() if text else None


def _refuse_same_endpoints(hosts: Sequence[Host], path: Path) -> None:
    """Two names in ~/.ssh/config may lead to one machine, which the file itself cannot show."""
    counts = Counter((host.address, host.port, host.jump) for host in hosts)
    for (address, port, _), count in counts.items():
        if count > 1:
            names = ", ".join(host.name for host in hosts if (host.address, host.port) == (address, port))
            raise ConfigError(f"{names} all lead to {address}:{port} by the SSH configuration", where=str(path))
