"""What lies beside a lab's fleet file: keys of its people, the venue's file, policy, roster, bindings, certificates."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import yaml

from tradeops.base.clock import NS_PER_S
from tradeops.base.durable import write_atomic
from tradeops.contracts.policy import Person
from tradeops.contracts.signature import Signer
from tradeops.fleet.inventory import Fleet
from tradeops.fleet.roster import build_roster, sign_roster
from tradeops.fleet.tls import TlsFiles, create_ca, issue_client, issue_guard
from tradeops.lab.keys import make_key
from tradeops.lab.state import LabHost, LabState
from tradeops.release.binding import sign_bindings
from tradeops.release.policy import first_policy, sign_policy
from tradeops.release.sign import signer_for

PEOPLE = {"operator-1": "operator", "operator-2": "operator", "risk-1": "risk", "sentinel": "sentinel"}
"""Name -> role in the lab's policy; a key each."""
OPERATOR = "operator-1"
VENUE = "xsim"
VENUE_PORTS = {"orders": 9001, "market_data": 9002, "drop_copy": 9003, "control": 9004}
SYMBOLS = {"ACME": "101.25", "GLOBEX": "48.10"}
"""Symbol -> price at which the venue starts, and reference price of the bindings."""
SURVEILLANCE = "SURVEILLANCE"
"""Account that oversees those of all hosts."""
_TICK = "0.01"
_BUDGETS = {"gross_notional": 1_000_000, "orders_per_second": 100}
MADE = ("fleet.yml", "venue.yml", "venue.log", "keys", ".tradeops")
"""All that is written into the folder, apart from the hosts."""


def key_file(folder: Path, person: str) -> Path:
    """A person's private key."""
    return folder / "keys" / person


def make_keys(folder: Path) -> dict[str, str]:
    """Person -> public line. Raises OSError."""
    (folder / "keys").mkdir(mode=0o700)
    return {person: make_key(key_file(folder, person)) for person in PEOPLE}


def account(host: str) -> str:
    """The host's account at the venue."""
    return f"LAB-{host.upper()}"


def write_venue(folder: Path, state: LabState) -> Path:
    """venue.yml: a venue on the lab's own address with an account per host. Raises OSError."""
    accounts = [account(host.name) for host in state.hosts]
    config = {
        "name": VENUE,
        "listen": state.venue_address,
        "control_listen": state.venue_address,
        "ports": VENUE_PORTS,
        "symbols": [{"symbol": symbol, "tick": _TICK, "lot": "1", "price": price} for symbol, price in SYMBOLS.items()],
        "accounts": [*({"name": name} for name in accounts), {"name": SURVEILLANCE, "oversees": accounts}],
    }
    path = folder / "venue.yml"
    path.write_text("# The lab's venue.\n" + yaml.safe_dump(config, sort_keys=False))
    return path


def write_fleet(folder: Path, state: LabState, *, now_ns: int) -> Path:
    """fleet.yml. Raises OSError."""
    first = state.hosts[0]
    as_of = datetime.fromtimestamp(now_ns // NS_PER_S, UTC)
    venue = {name: f"ws://{state.venue_address}:{VENUE_PORTS[port]}" for name, port in _ENDPOINTS.items()}
    fleet = {
        "fleet": f"lab-{state.id}",
        "environment": "lab",
        "hosts_declared": len(state.hosts),
        "ssh_config": None,
        "known_hosts": None,
        "defaults": {
            "port": first.port,
            "control_port": first.control_port,
            "admin_user": first.admin_user,
            "identity_file": str(Path("keys", OPERATOR)),
            "interpreter": first.interpreter,
            "service_manager": first.service_manager,
        },
        "hosts": [_host(host, index) for index, host in enumerate(state.hosts)],
        "bindings": {
            "common": {
                "venues": {VENUE: venue | {"keep_on_logout": True}},
                "instruments": {
                    symbol: {"tick": _TICK, "lot": 1, "reference_price": price, "as_of": as_of} for symbol, price in SYMBOLS.items()
                },
                "budgets": _BUDGETS,
            },
            "hosts": {host.name: {"venues": {VENUE: {"account": account(host.name)}}} for host in state.hosts},
            "firm_limits": {name: share * len(state.hosts) for name, share in _BUDGETS.items()},
        },
    }
    path = folder / "fleet.yml"
    path.write_text("# A lab: its hosts live on this machine. `tradeops lab down` removes them, and this file.\n" + _dump(fleet))
    return path


_ENDPOINTS = {"order_entry": "orders", "market_data": "market_data", "drop_copy": "drop_copy"}


def _host(host: LabHost, index: int) -> dict[str, object]:
    entry: dict[str, object] = {"name": host.name, "address": host.address, "host_key": host.host_key, "root": host.root}
    if index == 0:
        entry["tags"] = ["canary"]
    return entry | ({"fields": host.fields} if host.fields else {})


def _dump(data: object) -> str:
    return yaml.safe_dump(data, sort_keys=False, width=140)


def sign_state(fleet: Fleet, folder: Path, *, now_ns: int) -> None:
    """CA and certificates, policy, roster, bindings, and where each person's key lies. Raises TradeopsError, OSError."""
    state = fleet.state
    state.root.mkdir(mode=0o700)
    files = TlsFiles(state.tls)
    create_ca(files, fleet.name, now_ns=now_ns)
    issue_client(files, OPERATOR, now_ns=now_ns)
    for host in fleet.hosts:
        issue_guard(files, host.name, now_ns=now_ns)
    signer = operator(folder)
    people = [Person(name, (signer_for(str(key_file(folder, name))).public_line,), (role,)) for name, role in PEOPLE.items()]
    sign_policy(first_policy(fleet.name, people), [signer], None, state.policy_file)
    roster = sign_roster(build_roster(fleet.name, fleet.hosts, 1), signer)
    write_atomic(state.roster_file, msgspec.json.encode(roster))
    sign_bindings(fleet.bindings.values(), signer, state.bindings)
    paths = {name: str(key_file(folder, name)) for name in PEOPLE}
    write_atomic(state.keys, json.dumps({"paths": paths}).encode())


def operator(folder: Path) -> Signer:
    """Who signs all that a lab begins with."""
    return signer_for(str(key_file(folder, OPERATOR)))
