"""A lab's own bridge and a network namespace per host. Names carry the lab's id; addresses come from a private range."""

from __future__ import annotations

import fcntl
import ipaddress
import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tradeops.lab import processes
from tradeops.lab.errors import LabError
from tradeops.lab.state import LabHost, LabState
from tradeops.lab.tools import run

DEFAULT_RANGE = "10.213.0.0/16"
HOSTS_MAX = 200
_FIRST_HOST = 11
_LOCK = Path("/run/tradeops-lab-network.lock")


def bridge_name(lab: str) -> str:
    """At most 15 bytes, as the kernel wants."""
    return f"tol{lab}"


def veth_name(lab: str, index: int) -> str:
    """The bridge's end of host `index`'s cable."""
    return f"tol{lab}-{index}"


def netns_name(lab: str, host: str) -> str:
    """The host's network namespace."""
    return f"tol{lab}-{host}"


def mac(lab: str, index: int) -> str:
    """Locally administered, the same at every boot."""
    return ":".join(["02", lab[0:2], lab[2:4], lab[4:6], f"{index >> 8:02x}", f"{index & 255:02x}"])


def gateway(network: str) -> str:
    """The bridge's own address: what hosts call the operator's machine."""
    return str(ipaddress.ip_network(network)[1])


def host_address(network: str, index: int) -> str:
    """Of host `index`, from 1."""
    return str(ipaddress.ip_network(network)[_FIRST_HOST - 1 + index])


@contextmanager
def choosing() -> Iterator[None]:
    """Held from choosing a network until its bridge stands: two labs never choose the same."""
    with _LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def choose(private_range: str = DEFAULT_RANGE) -> str:
    """The first /24 of the range that overlaps no address or route of this machine. Raises LabError."""
    try:
        whole = ipaddress.ip_network(private_range)
    except ValueError as error:
        raise LabError(f"not a network: {error}", next="write one as 10.213.0.0/16") from None
    if whole.version != 4 or not whole.is_private or whole.prefixlen > 24:
        raise LabError(f"{private_range} is not a private IPv4 range of at least a /24", next=f"write one as {DEFAULT_RANGE}")
    taken = _taken()
    for candidate in whole.subnets(new_prefix=24):
        if not any(candidate.overlaps(other) for other in taken):
            return str(candidate)
    raise LabError(f"no /24 of {private_range} is free on this machine", next="take a lab down, or name another range")


def make_bridge(state: LabState) -> None:
    """Raises LabError."""
    bridge, prefix = state.bridge, ipaddress.ip_network(state.network).prefixlen
    lines = [f"link add {bridge} type bridge", f"addr add {gateway(state.network)}/{prefix} dev {bridge}", f"link set {bridge} up"]
    _batch(lines, state.environment())


def connect(state: LabState) -> None:
    """A namespace, a cable and an address for each host. Raises LabError."""
    hosts, bridge, network = state.hosts, state.bridge, state.network
    environment, prefix = state.environment(), ipaddress.ip_network(network).prefixlen
    lines: list[str] = []
    for host in hosts:
        lines += [
            f"netns add {host.netns}",
            f"link add {host.veth} type veth peer name eth0 address {host.mac} netns {host.netns}",
            f"link set {host.veth} master {bridge} up",
            # a fixed neighbour: a host behind a cut cable is silent, as one behind a router, and not "no route to host"
            f"neigh replace {host.address} lladdr {host.mac} nud permanent dev {bridge}",
        ]
    _batch(lines, environment)
    for host in hosts:
        inside = [
            "link set lo up",
            f"addr add {host.address}/{prefix} dev eth0",
            "link set eth0 up",
            f"route add default via {gateway(network)}",
        ]
        _batch(inside, environment, netns=host.netns)


def cable(host: LabHost, *, up: bool) -> None:
    """Cut or mend the host's cable at the bridge. Raises LabError."""
    run(["ip", "link", "set", host.veth, "up" if up else "down"], where=host.name)


def remove(hosts: Sequence[LabHost], bridge: str) -> None:
    """Take away what is there of it. Raises LabError."""
    for host in hosts:
        if Path("/run/netns", host.netns).exists():
            for pid in run(["ip", "netns", "pids", host.netns]).split():  # proxies of ours
                if proc := processes.find(int(pid)):
                    processes.send(proc, signal.SIGKILL)
            run(["ip", "netns", "del", host.netns])
        _remove_link(host.veth)
    _remove_link(bridge)


def _remove_link(name: str) -> None:
    """A cable goes by itself a moment after its namespace: gone before us is as good."""
    if Path("/sys/class/net", name).exists():
        try:
            run(["ip", "link", "del", name])
        except LabError:
            if Path("/sys/class/net", name).exists():
                raise


def _taken() -> list[ipaddress.IPv4Network]:
    routes = json.loads(run(["ip", "-j", "-4", "route", "show", "table", "all"]) or "[]")
    found = []
    for route in routes:
        destination = route.get("dst", "default")
        if destination != "default":
            found.append(ipaddress.IPv4Network(destination, strict=False))
    return found


def _batch(lines: Sequence[str], environment: Mapping[str, str], netns: str | None = None) -> None:
    run(["ip", *(["-n", netns] if netns else []), "-batch", "-"], text="\n".join(lines) + "\n", environment=environment)
