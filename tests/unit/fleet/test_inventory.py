"""fleet.yml: what is understood, and where an error is said to be."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from tests.support.sshd import make_key
from tradeops.base.config import Strict
from tradeops.base.errors import ConfigError, UsageError
from tradeops.contracts.units import UNIT
from tradeops.fleet import fleetfile
from tradeops.fleet.inventory import Fleet, load_fleet, select

EXAMPLE = Path(load_fleet.__code__.co_filename).with_name("example.yml")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINAYrk/5fF4u8iadlw6JKjAEdXmDODkqTSgi/IXxY/8O"
SMALL = f"""\
fleet: small
environment: test
hosts_declared: 2
ssh_config: null
hosts:
  - name: one
    address: 192.0.2.1
    host_key: {KEY}
    tags: [east, canary]
  - name: two
    address: 192.0.2.2
    tags: [west]
"""


@pytest.fixture
def example() -> Fleet:
    return load_fleet(EXAMPLE)


def load(tmp_path: Path, text: str) -> Fleet:
    path = tmp_path / "fleet.yml"
    path.write_text(text)
    return load_fleet(path)


def error_of(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return str(caught.value)


def test_the_example_is_the_documentation_and_parses(example: Fleet) -> None:
    """What `tradeops docs fleet` prints has eight hosts, each with the defaults applied."""
    assert (example.name, example.environment, example.hosts_declared, len(example.hosts)) == ("equities-staging", "staging", 8, 8)
    first, chicago = example.host("nyc-1"), example.host("chi-1")
    assert (first.user, first.port, first.control_port, first.root) == ("tradeops", 22, 7443, PurePosixPath("/opt/tradeops"))
    assert first.tags == {"equities", "canary", "nyc"}
    assert (chicago.user, chicago.port, chicago.jump) == ("deploy", 2222, "bastion")
    assert example.host("chi-4").fields == {"desk": "equities", "rack": "r7"}
    assert example.jumps["bastion"].address == "198.51.100.10"
    assert example.state.root == EXAMPLE.parent / ".tradeops"
    assert (example.deadlines.connect, example.deadlines.control) == (5.0, 3.0)


def test_the_example_shows_every_key() -> None:
    """A key that is not in the documentation is not there."""
    text = EXAMPLE.read_text()
    models = (model for name, model in vars(fleetfile).items() if isinstance(model, type) and issubclass(model, Strict))
    keys = {key for model in models for key in model.model_fields}
    assert {key for key in keys if f"{key}:" not in text} == set()


def test_bindings_are_common_values_under_the_hosts_own(example: Fleet) -> None:
    """A host overrides single values; amounts are exact, in 1e-9 units."""
    own = example.bindings["nyc-3"]
    common = example.bindings["nyc-1"]
    assert (own.venues[0].account, own.venues[0].order_entry) == ("STAGING-3", common.venues[0].order_entry)
    assert own.budgets == {"gross_notional": 2_000_000 * UNIT, "orders_per_second": 100 * UNIT}
    assert common.instruments[0].tick == 10_000_000
    assert common.instruments[0].as_of_wall_ns == 1_767_387_600 * 1_000_000_000
    assert (common.host, common.fleet, common.service) == ("nyc-1", "equities-staging", "trader")


def test_units_follow_from_the_service_and_its_manager(tmp_path: Path) -> None:
    service = load(tmp_path, SMALL).service
    assert service.units("systemd", ["blue"]) == {"blue": "tradeops-trader@blue.service"}
    assert service.units("supervisord", ["blue"]) == {"blue": "trader-blue"}
    assert (service.guard_unit("systemd"), service.guard_unit("supervisord")) == ("tradeops-guard.service", "guard")
    named = load(tmp_path, SMALL + "service: {name: quoter, units: {blue: q@b.service}, guard_unit: g.service}\n").service
    assert named.units("systemd", ["blue", "green"]) == {"blue": "q@b.service", "green": "tradeops-quoter@green.service"}
    assert named.guard_unit("systemd") == "g.service"


def test_a_service_that_is_not_ours_gets_no_venue(tmp_path: Path) -> None:
    """R17: it has no gate that its orders would pass."""
    assert load(tmp_path, SMALL).service.identity == "vitals"
    assert load(tmp_path, SMALL + "service: {identity: url}\n").service.identity == "url"
    venue = "venues: {xsim: {order_entry: ws://192.0.2.9:1/o}}"
    for entry, key in ((f"common: {{{venue}}}", "common"), (f"hosts: {{one: {{{venue}}}}}", "hosts.one")):
        text = SMALL + f"service: {{identity: url}}\nbindings: {{{entry}}}\n"
        assert f"bindings.{key}.venues: `identity: url` is a service without a gate" in error_of(tmp_path, text)


@pytest.mark.parametrize(
    ("old", "new", "where", "what"),
    [
        ("hosts_declared: 2", "hosts_declared: 3", ":3", "hosts_declared: 3 hosts are declared and 2 are listed"),
        ("hosts_declared: 2", "hosts_declared: 1", ":3", "hosts_declared: 1 hosts are declared and 2 are listed"),
        ("hosts_declared: 2\n", "", ":1", "hosts_declared: Field required"),
        ("hosts_declared: 2", "hosts_declared: two", ":3", "hosts_declared: Input should be a valid integer"),
        ("name: two", "name: one", ":10", "hosts.1.name: one is already that of one"),
        ("192.0.2.2", "192.0.2.1", ":11", "hosts.1.address: 192.0.2.1:22 is already that of one"),
        ("address: 192.0.2.2", f"address: 192.0.2.2\n    host_key: {KEY}", ":12", "hosts.1.host_key"),
        ("address: 192.0.2.2", "adress: 192.0.2.2", ":11", "hosts.1.adress: Extra inputs are not permitted"),
        ("address: 192.0.2.2", "address: -oProxyCommand=x", ":11", "hosts.1.address"),
        ("name: two", "name: Two_", ":10", "hosts.1.name"),
        (KEY, "ssh-ed25519 AAAA", ":8", "hosts.0.host_key"),
        (KEY, "ssh-rsa " + KEY.split()[1], ":8", "hosts.0.host_key"),
        ("tags: [west]", "weight: 0", ":12", "hosts.1.weight"),
        ("tags: [west]", "jump: gate", ":12", "hosts.1.jump: 'gate' is not one of jump_hosts"),
        ("tags: [west]", "root: opt/tradeops", ":12", "hosts.1.root"),
        ("tags: [west]", "service_manager: upstart", ":12", "hosts.1.service_manager"),
        ("tags: [west]", "port: '22'", ":12", "hosts.1.port: Input should be a valid integer"),
        ("tags: [west]", "\ttags: [west]", ":12", "YAML"),
        ("environment: test", "deadlines: {connect: 5}", ":2", "deadlines.connect: 5 is not a duration"),
        ("environment: test", "deadlines: {silence: 0s}", ":2", "deadlines.silence"),
        ("environment: test", "environment: test\nenvironment: live", ":3", "stands twice"),
    ],
)
def test_every_error_says_the_line_and_the_key(tmp_path: Path, old: str, new: str, where: str, what: str) -> None:
    """Missing or extra host, duplicates, unknown keys, wrong units, keys that are none."""
    message = error_of(tmp_path, SMALL.replace(old, new))
    assert f"fleet.yml{where}" in message
    assert what in message


def test_an_empty_fleet_is_refused(tmp_path: Path) -> None:
    text = SMALL[: SMALL.index("hosts:\n")] + "hosts: []\n"
    assert "fleet.yml:5: hosts: the fleet has no hosts" in error_of(tmp_path, text)


def test_a_jump_host_may_have_one_of_its_own_but_not_itself(tmp_path: Path) -> None:
    chain = "jump_hosts:\n  a: {address: 192.0.2.8, jump: b}\n  b: {address: 192.0.2.9}\n"
    assert load(tmp_path, SMALL + chain).jumps["a"].jump == "b"
    assert "go round in a circle" in error_of(tmp_path, SMALL + chain.replace("192.0.2.9", "192.0.2.9, jump: a"))


@pytest.mark.parametrize(
    ("bindings", "what"),
    [
        ("hosts: {three: {}}", "bindings.hosts.three: no host is named 'three'"),
        ("common: {venues: {x: {account: A}}}", "order_entry, market_data, drop_copy of x is missing for one"),
        ("common: {budgets: {gross: 6}}\n  firm_limits: {gross: 11}", "budgets sum up to 12, the firm's limit is 11"),
        ("hosts: {one: {budgets: {gross: 6}}}\n  firm_limits: {gross: 11}", "two have no budget of it"),
        ("common: {budgets: {gross: 0.5}}", "is not exact"),
        ("common: {budgets: {gross: true}}", "is not exact"),
        ("common: {instruments: {A: {tick: '0.01', lot: 1, reference_price: 5, as_of: noon}}}", "as_of"),
        ("common: {instruments: {A: {tick: '0', lot: 1, reference_price: 5, as_of: 2026-01-02}}}", "tick"),
        ("common: {venues: {x: {order_entry: 'ftp://x'}}}", "is not a URL"),
    ],
)
def test_bindings_that_do_not_fit(tmp_path: Path, bindings: str, what: str) -> None:
    """R04: the hosts' shares never sum up to more than the firm's limit."""
    assert what in error_of(tmp_path, SMALL + f"bindings:\n  {bindings}\n")


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    """A few lines that stand for billions of values."""
    lines = ["a0: &a0 [1,1,1,1,1,1,1,1,1]"] + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert "more than 200000 values" in error_of(tmp_path, "\n".join(lines))


def test_selection_by_name_and_tag(tmp_path: Path) -> None:
    fleet = load(tmp_path, SMALL)
    assert [host.name for host in select(fleet)] == ["one", "two"]
    assert [host.name for host in select(fleet, hosts=["two"])] == ["two"]
    assert [host.name for host in select(fleet, tags=["canary"])] == ["one"]
    assert [host.name for host in select(fleet, hosts=["two"], tags=["east"])] == ["one", "two"]


def test_a_selection_that_finds_nothing_is_an_error(tmp_path: Path) -> None:
    """D01: never a quiet success over no hosts."""
    fleet = load(tmp_path, SMALL)
    with pytest.raises(UsageError, match="no host is named 'three'"):
        select(fleet, hosts=["three"])
    with pytest.raises(UsageError, match="no host carries the tag 'north'"):
        select(fleet, tags=["north"])


def test_what_the_file_leaves_out_comes_from_ssh_config(tmp_path: Path) -> None:
    """User, Port, HostName, IdentityFile, ProxyJump; what the file says wins."""
    make_key(tmp_path / "id")
    (tmp_path / "config").write_text(
        f"Host 192.0.2.2\n User alice\n Port 2200\n HostName 192.0.2.99\n IdentityFile {tmp_path}/id\n ProxyJump bob@gate:23\n"
        "Host gate\n HostName 192.0.2.50\nHost *\n User carol\n"
    )
    text = SMALL.replace("ssh_config: null", "ssh_config: config").replace("tags: [west]", "tags: [west]\n    port: 2201")
    fleet = load(tmp_path, text)
    two = fleet.host("two")
    assert (two.user, two.port, two.address, two.identity_file, two.jump) == ("alice", 2201, "192.0.2.99", f"{tmp_path}/id", "bob@gate:23")
    gate = fleet.jumps["bob@gate:23"]
    assert (gate.user, gate.address, gate.port) == ("bob", "192.0.2.50", 23)
    assert fleet.host("one").user == "carol"


def test_two_names_for_one_machine_are_found(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host 192.0.2.2\n HostName 192.0.2.1\n")
    assert "one, two all lead to 192.0.2.1:22" in error_of(tmp_path, SMALL.replace("ssh_config: null", "ssh_config: config"))


def test_equal_addresses_are_equal_however_written(tmp_path: Path) -> None:
    text = SMALL.replace("192.0.2.1\n", "'::1'\n").replace("192.0.2.2", "'0:0::1'")
    assert "::1:22 is already that of one" in error_of(tmp_path, text)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_fleet(tmp_path / "fleet.yml")


def test_a_thousand_hosts_are_read(tmp_path: Path) -> None:
    """Each with its own address."""
    hosts = "".join(f"  - {{name: h{n}, address: 10.0.{n // 250}.{n % 250 + 1}}}\n" for n in range(1000))
    text = SMALL[: SMALL.index("hosts:\n")].replace("hosts_declared: 2", "hosts_declared: 1000") + "hosts:\n" + hosts
    assert len(load(tmp_path, text).hosts) == 1000
