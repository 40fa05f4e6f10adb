"""A whole local lab, as `tradeops lab up` makes it: hosts, venue, fleet file, signed documents, enrolment, and its end."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.wait import until
from tradeops.base.clock import SystemClock
from tradeops.base.errors import UsageError
from tradeops.contracts.codec import decode
from tradeops.contracts.entitle import open_policy
from tradeops.contracts.envelope import Envelope
from tradeops.fleet.inventory import load_fleet
from tradeops.fleet.roster import open_roster
from tradeops.lab import fleet_folder, processes
from tradeops.lab.errors import LabError
from tradeops.lab.fleet_folder import MADE, PEOPLE, VENUE_PORTS, account
from tradeops.lab.restart import restart
from tradeops.lab.state import StateFile
from tradeops.lab.up import down, start_venue, up
from tradeops.release.binding import load_bindings, open_binding

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

CLOCK = SystemClock()


def _quiet(_line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two hosts, up; nothing of them is left at the end."""
    folder = tmp_path_factory.mktemp("lab")
    up(folder, "local", 2, CLOCK, _quiet)
    state = StateFile(folder).read()
    owned = [*state.daemons.values(), *(proc for host in state.hosts for proc in (host.init, host.manager) if proc)]
    yield folder
    down(folder, CLOCK, _quiet)
    assert list(folder.iterdir()) == []
    assert not any(processes.alive(proc) for proc in owned)


def _envelope(path: Path) -> Envelope:
    return msgspec.json.decode(path.read_bytes(), type=Envelope)


def test_the_fleet_file_is_one_and_all_is_signed(lab: Path) -> None:
    """It loads, and policy, roster and every host's binding hold under the policy."""
    fleet = load_fleet(lab / "fleet.yml")
    assert [host.name for host in fleet.hosts] == ["h1", "h2"]
    policy = open_policy(_envelope(fleet.state.policy_file), None)
    assert {person.name for person in policy.people} == set(PEOPLE)
    assert len(open_roster(_envelope(fleet.state.roster_file), policy).hosts) == 2
    bindings = {name: open_binding(envelope, policy) for name, envelope in load_bindings(fleet.state.bindings, ["h1", "h2"]).items()}
    assert {name: binding.venues[0].account for name, binding in bindings.items()} == {"h1": account("h1"), "h2": account("h2")}


def test_private_things_are_private(lab: Path) -> None:
    """Keys of people, of hosts, of the CA."""
    fleet = load_fleet(lab / "fleet.yml")
    secret = [lab / "keys" / name for name in PEOPLE] + [fleet.state.tls / "ca.key", lab / "hosts" / "h1" / "ssh" / "host_key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    assert stat.S_IMODE(fleet.state.root.stat().st_mode) == 0o700


def test_guards_and_the_venue_listen_where_the_fleet_file_says(lab: Path) -> None:
    """Every guard through its host's address, every port of the venue on the lab's own."""
    fleet = load_fleet(lab / "fleet.yml")
    places = [(host.address, host.control_port) for host in fleet.hosts]
    places += [(StateFile(lab).read().venue_address, port) for port in VENUE_PORTS.values()]
    for place in places:
        with socket.create_connection(place, timeout=5):
            pass


def test_all_guards_are_restarted(lab: Path) -> None:
    """No trader runs yet, so none is started."""
    assert restart(lab, CLOCK, _quiet) == ("h1:guard", "h2:guard")
    assert restart(lab, CLOCK, _quiet, host="h2") == ("h2:guard",)


def test_a_lab_in_use_is_left_alone(lab: Path) -> None:
    """Nothing of it is touched by a second `up`."""
    before = (lab / "fleet.yml").read_bytes()
    with pytest.raises(UsageError, match="holds"):
        up(lab, "local", 2, CLOCK, _quiet)
    assert (lab / "fleet.yml").read_bytes() == before


def test_a_venue_that_cannot_open_says_so(lab: Path) -> None:
    """Its port is taken, by the one that runs."""
    state = StateFile(lab).read()
    try:
        with pytest.raises(LabError, match="does not open"):
            start_venue(lab, CLOCK, _quiet)
    finally:
        StateFile(lab).update(lambda now: msgspec.structs.replace(now, daemons=state.daemons))


def test_what_cannot_be_brought_up_leaves_nothing(tmp_path: Path) -> None:
    """Wrong driver, wrong count."""
    for driver, hosts in (("vagrant", 2), ("local", 0)):
        with pytest.raises(UsageError):
            up(tmp_path / driver, driver, hosts, CLOCK, _quiet)
        assert list((tmp_path / driver).iterdir()) == []


def test_an_enrolment_that_fails_takes_the_lab_down_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No ssh-keygen: nothing can be signed; hosts, venue and files go again."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="ssh-keygen"):
        up(tmp_path / "lab", "local", 1, CLOCK, _quiet)
    assert list((tmp_path / "lab").iterdir()) == []


def test_made_names_all_that_is_written(lab: Path) -> None:
    """What `down` forgets is what `up` made."""
    assert {path.name for path in lab.iterdir()} - {"hosts", "lab.json", ".lab.lock"} == set(MADE)
    assert fleet_folder.key_file(lab, "risk-1").is_file()
    assert until(lambda: decode((lab / ".tradeops" / "keys.json").read_bytes(), _Paths, source="keys").paths, 5)


class _Paths(msgspec.Struct):
    paths: dict[str, str]
