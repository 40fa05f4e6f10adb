"""Playbooks are data: strict where people write, and what they mean for a fleet is plain to see."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tradeops.base.errors import ConfigError, UsageError
from tradeops.deploy.plan import collapsed
from tradeops.deploy.playbook import Playbook, load_playbook, read_playbook
from tradeops.deploy.waves import cut
from tradeops.fleet.host import Host

PLAYBOOKS = Path(__file__).parents[3] / "playbooks"


def hosts(count: int, *, tags: dict[int, str] | None = None, weight: int = 1) -> list[Host]:
    """h1 .. hN. tags: host number -> its tag."""
    root = PurePosixPath("/opt/tradeops")
    return [
        Host(f"h{n}", "x", 22, "u", "", 1, "/p", root, "systemd", frozenset({tags[n]} if tags and n in tags else ()), weight)
        for n in range(1, count + 1)
    ]


def book(*steps: dict[str, Any], **keys: Any) -> Playbook:
    """A playbook of these steps."""
    return Playbook.model_validate({"schema": "tradeops/playbook/v1", "name": "x", "steps": list(steps), **keys})


def write(folder: Path, text: str) -> Path:
    """A playbook file with the schema and the name before `text`."""
    path = folder / "x.yml"
    path.write_text(f"schema: tradeops/playbook/v1\nname: x\n{text}")
    return path


@pytest.mark.parametrize("path", sorted(PLAYBOOKS.glob("*.yml")), ids=lambda path: str(path.stem))
def test_a_run_keeps_its_playbook_whole(path: Path) -> None:
    """What a run writes down is read back the same, so that it is resumed as it began."""
    loaded = load_playbook(path)
    assert loaded.name == path.stem
    assert read_playbook(loaded.text(), source="kept") == loaded


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("steps:\n  - {hosts: 1}\n", "x.yml:4", "100%"),
        ("steps:\n  - {hosts: 100%, flow: 50%}\n", "x.yml:4", "never be whole"),
        ("steps:\n  - {hosts: 50%}\n  - {hosts: 10%}\n  - {hosts: 100%}\n", "x.yml:5", "fewer"),
        ("gate: {}\nsteps:\n  - {hosts: 1, flow: 5%, bake: 5m}\n  - {hosts: 100%}\n", "x.yml:5", "D10"),
        ("steps:\n  - {hosts: 1, flow: 5%, bake: 5m, events: 9}\n  - {hosts: 100%}\n", "x.yml:4", "nobody counts"),
        (
            "gate: {}\nsteps:\n  - {hosts: 1, flow: 5%, bake: 5m, events: 9}\n  - {hosts: 100%, events: 9}\n",
            "x.yml:6",
            "this step has none",
        ),
        ("gate: {}\nsteps:\n  - {hosts: 1}\n  - {hosts: 100%}\n", "x.yml:3", "none does"),
        ("gate: {min_exposure: 300}\n", "x.yml:3", "min_exposure"),
        ("steps:\n  - {hosts: 1, flow: 11%, bake: 5m}\n  - {hosts: 100%}\n", "x.yml:4", "D08"),
        ("steps:\n  - {hosts: 1, bake: 5m}\n  - {hosts: 100%}\n", "x.yml:4", "D08"),
        ("steps:\n  - {hosts: 0%}\n  - {hosts: 100%}\n", "x.yml:4", "no share"),
        ("steps:\n  - {hosts: true}\n", "x.yml:4", "hosts"),
        ("gate: {slot: standby}\nsteps:\n  - {hosts: 1, flow: 5%, bake: 5m, events: 9}\n  - {hosts: 100%}\n", "x.yml:3", "judged under"),
        ("cutover:\n  shadow:\n    gate: {}\n", "x.yml:5", "slot: standby"),
        ("lease: 30s\ncutover: {}\n", "x.yml:3", "too short for a cutover"),
        ("stepz: []\n", "x.yml:3", "stepz"),
        ('blackout:\n  - {since: "09:00", until: "10:00", zone: Mars/Olympus}\n', "x.yml:4", "time zone"),
        ("lease: 5\n", "x.yml:3", "duration"),
        ("steps:\n  - {hosts: 5}\n  - {hosts: tag:x}\n  - {hosts: 2}\n  - {hosts: 100%}\n", "x.yml:6", "fewer"),
        ("deadlines:\n  prove: 30ms\n", "x.yml:4", "deadlines.prove"),
        ("deadlines:\n  verb: 99999999999d\n", "x.yml:4", "deadlines.verb"),
        ("steps:\n  - {hosts: 1, flow: 5%, bake: 99999999999d, events: 9}\n  - {hosts: 100%}\n", "x.yml:4", "bake"),
        (f"steps:\n  - {{hosts: 1, flow: 5%, bake: {'9' * 400}s, events: 9}}\n  - {{hosts: 100%}}\n", "x.yml:4", "bake"),
        ("cutover:\n  shadow:\n    bake: 99999999999d\n", "x.yml:5", "bake"),
        ("preflight:\n  clock_offset: 0s\n", "x.yml:4", "clock_offset"),
        ("gate: {patience: 99999999999d}\n", "x.yml:3", "patience"),
        (f"steps:\n  - {{hosts: 1, flow: 5%, bake: 5m, events: {'9' * 30}}}\n  - {{hosts: 100%}}\n", "x.yml:4", "events"),
        ("gate: {every: 0s}\n", "x.yml:3", "every"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, text: str, where: str, what: str) -> None:
    """D08, D10: a canary that takes too much, or events and gates that nobody would hold it to, is no playbook."""
    with pytest.raises(ConfigError) as caught:
        load_playbook(write(tmp_path, text))
    assert where in str(caught.value.where)
    assert what in caught.value.what


def test_the_canary_in_a_fleet_of_eight() -> None:
    """D08, D09: one host first, with at most 10 % of the fleet's flow; never more than two switched together."""
    cuts = cut(hosts(8), load_playbook(PLAYBOOKS / "canary.yml"))
    assert [[len(wave) for wave in each.waves] for each in cuts] == [[1], [], [], [2, 1], [2, 2]]
    assert [each.cap_ppm for each in cuts] == [80_000, 400_000, 800_000, None, None]
    assert collapsed(cuts, 8) == ["1%, 5% and 10% are all one host of 8; their flow caps differ"]


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (2, [1, 1]), (3, [1, 1, 1]), (9, [1, 3, 3, 2]), (100, [1, 33, 33, 33])])
def test_later_waves_are_at_most_a_third(count: int, sizes: list[int]) -> None:
    """D09: rounded down, at least one, every host once."""
    cuts = cut(hosts(count), book({"hosts": "1"}, {"hosts": "100%"}))
    waves = [wave for each in cuts for wave in each.waves]
    assert [len(wave) for wave in waves] == sizes
    assert [host.name for wave in waves for host in wave] == [f"h{n}" for n in range(1, count + 1)]


def test_a_large_first_step_still_begins_with_one_host() -> None:
    """D08: 10 % of a hundred hosts are ten, and the first of them goes alone."""
    first = cut(hosts(100), book({"hosts": "10%"}, {"hosts": "100%"}))[0]
    assert [len(wave) for wave in first.waves] == [1, 9]


def test_all_at_once_where_the_playbook_says_so_aloud() -> None:
    """D09: a rollback switches everybody together."""
    (only,) = cut(hosts(8), load_playbook(PLAYBOOKS / "rollback.yml"))
    assert [len(wave) for wave in only.waves] == [8]


def test_hosts_by_tag() -> None:
    """Those with the tag, then the rest; a tag that nobody has is a mistake, not an empty canary."""
    playbook = book({"hosts": "tag:london"}, {"hosts": "100%"})
    first, rest = cut(hosts(4, tags={3: "london"}), playbook)
    assert [host.name for host in first.reached] == ["h3"]
    assert len(rest.reached) == 4
    with pytest.raises(UsageError, match="london"):
        cut(hosts(4), playbook)


def test_a_mistyped_tag_is_refused_in_every_step() -> None:
    """D08: a later step that reaches nobody is a mistake too. A tag whose hosts are on the release already, or left out, is none."""
    playbook = book({"hosts": 1}, {"hosts": "tag:eu-west"}, {"hosts": "100%"})
    with pytest.raises(UsageError, match="eu-west"):
        cut(hosts(4, tags={1: "eu-wset"}), playbook)
    assert cut(hosts(4, tags={1: "eu-west"}), playbook)[1].waves == ()
    *stay, gone = hosts(4, tags={4: "eu-west"})
    assert cut(stay, playbook, [gone])[1].waves == ()
    with pytest.raises(UsageError, match="eu-west"):
        cut(stay, book({"hosts": "tag:eu-west"}, {"hosts": "100%"}), [gone])


def test_hosts_tagged_canary_come_first() -> None:
    """Whatever their place in the fleet file."""
    first = cut(hosts(4, tags={4: "canary"}), book({"hosts": 1}, {"hosts": "100%"}))[0]
    assert [host.name for host in first.reached] == ["h4"]


def test_steps_that_differ_in_nothing_but_their_bakes_are_said_aloud() -> None:
    """Two steps that come to the same two hosts."""
    cuts = cut(hosts(4), book({"hosts": 2}, {"hosts": "50%"}, {"hosts": "100%"}))
    assert collapsed(cuts, 4) == ["2 and 50% are both 2 hosts of 4; nothing tells them apart but their bakes"]
