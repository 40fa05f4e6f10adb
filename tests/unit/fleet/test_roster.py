"""Rosters: signed, numbered; a newer one on a host stops a deploy and widens a kill."""

from __future__ import annotations

import pytest

from tests.support.sshd import host
from tradeops.base.errors import ConfigError, Refused, SignatureInvalid
from tradeops.contracts.policy import SCHEMA as POLICY_SCHEMA
from tradeops.contracts.policy import Person, Policy
from tradeops.contracts.signature import RunKey
from tradeops.fleet.roster import build_roster, differences, open_roster, require_signed, sign_roster, with_forgotten

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINAYrk/5fF4u8iadlw6JKjAEdXmDODkqTSgi/IXxY/8O"
HOSTS = [host(f"host-{number}", port=number, host_key=KEY) for number in (1, 2, 3)]
SIGNER = RunKey.generate()


def policy(fleet: str = "test-fleet") -> Policy:
    return Policy(POLICY_SCHEMA, fleet, 1, (Person("operator-1", (SIGNER.public_line,), ("boss",)),), {"boss": ("roster",)})


def test_a_signed_roster_is_read_back() -> None:
    roster = build_roster("test-fleet", HOSTS, 4)
    assert open_roster(sign_roster(roster, SIGNER), policy()) == roster


def test_somebody_elses_signature_is_refused() -> None:
    with pytest.raises(SignatureInvalid):
        open_roster(sign_roster(build_roster("test-fleet", HOSTS, 4), RunKey.generate()), policy())


def test_another_fleets_roster_is_refused() -> None:
    with pytest.raises(Refused, match="not of 'test-fleet'"):
        open_roster(sign_roster(build_roster("other", HOSTS, 4), SIGNER), policy())


def test_a_host_without_a_pinned_key_is_not_signed() -> None:
    with pytest.raises(ConfigError, match="host-9 pin no host_key"):
        build_roster("test-fleet", [*HOSTS, host("host-9", port=9)], 4)


def test_what_differs_from_the_fleet_file_is_told() -> None:
    """D01: a host that was quietly dropped from the file, one that was added, one at another address."""
    roster = build_roster("test-fleet", HOSTS, 4)
    moved = host("host-2", port=2, host_key=KEY, address="127.0.0.9")
    assert differences(roster, HOSTS) == ()
    assert differences(roster, [HOSTS[0], moved, host("host-4", port=4, host_key=KEY)]) == (
        "host-2 is reached in another way than the roster says",
        "host-3 is in the roster and not in the fleet file",
        "host-4 is in the fleet file and not in the roster",
    )


def test_a_fleet_file_that_is_not_the_roster_is_refused() -> None:
    """D01: nothing is planned, proved or permitted for a fleet that lost a host on the way."""
    roster = build_roster("test-fleet", HOSTS, 4)
    require_signed(roster, HOSTS)
    with pytest.raises(Refused, match="host-3 is in the roster and not in the fleet file") as caught:
        require_signed(roster, HOSTS[:2])
    assert caught.value.holds == "nothing was touched"
    with pytest.raises(Refused, match="no signed roster"):
        require_signed(None, HOSTS)


def test_a_kill_reaches_every_host_of_any_roster() -> None:
    """K04: the hosts of the fleet file, then those that it has forgotten, with what it takes to stop them."""
    newer = build_roster("test-fleet", [host("host-3", port=33, host_key=KEY), host("host-5", port=5, host_key=KEY, jump="gate")], 5)
    reached = with_forgotten(HOSTS[:2], newer.hosts)
    assert [one.name for one in reached] == ["host-1", "host-2", "host-3", "host-5"]
    assert (reached[2].port, reached[3].host_key, reached[3].jump) == (33, KEY, "gate")
