"""What of the nspawn driver needs no root."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradeops.lab.errors import LabError, LabUnsupported
from tradeops.lab.nspawn import cgroups, image, network
from tradeops.lab.nspawn.host import inside
from tradeops.lab.nspawn.image import cache_folder, mounts_below, recipe_digest
from tradeops.lab.state import LabHost
from tradeops.lab.tools import missing, run


def _host(folder: Path) -> LabHost:
    return LabHost("host-1", "10.0.0.1", 22, 1, "", "/opt/tradeops", str(folder), "root", "/usr/bin/python3", "systemd")


def test_links_are_followed_as_the_host_would(tmp_path: Path) -> None:
    """Absolute ones begin at the host's own root, and none leads out of it."""
    tree = tmp_path / "tree"
    (tree / "opt/releases/one").mkdir(parents=True)
    (tree / "opt/current").symlink_to("/opt/releases/one")
    (tree / "opt/relative").symlink_to("releases/../releases/one")
    (tree / "opt/out").symlink_to("../../../../../../etc")
    (tree / "opt/round").symlink_to("/opt/round")
    host = _host(tmp_path)
    assert inside(host, "/opt/current/file") == tree / "opt/releases/one/file"
    assert inside(host, "/opt/relative") == tree / "opt/releases/one"
    assert inside(host, "/opt/out/passwd") == tree / "etc/passwd"
    with pytest.raises(LabError, match="too many links"):
        inside(host, "/opt/round")


def test_names_fit_the_kernel() -> None:
    """Interfaces have at most 15 bytes, and a mac is a local one."""
    assert len(network.bridge_name("abcdef")) <= 15
    assert len(network.veth_name("abcdef", network.HOSTS_MAX)) <= 15
    assert network.mac("abcdef", 258) == "02:ab:cd:ef:01:02"


def test_addresses_come_from_the_network() -> None:
    """The bridge first, hosts from .11 on, the last one still inside."""
    assert network.gateway("10.213.4.0/24") == "10.213.4.1"
    assert network.host_address("10.213.4.0/24", 1) == "10.213.4.11"
    assert network.host_address("10.213.4.0/24", network.HOSTS_MAX) == "10.213.4.210"


@pytest.mark.parametrize("text", ["nonsense", "8.8.8.0/16", "10.0.0.0/30", "fd00::/48"])
def test_only_a_private_range_will_do(text: str) -> None:
    """Anything else is refused before anything is made."""
    with pytest.raises(LabError):
        network.choose(text)


def test_cgroup_roots_of_hybrid_and_unified_machines() -> None:
    """`name=systemd` and the unified hierarchy where both are; the unified one alone elsewhere."""
    hybrid = (
        "37 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
        "38 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "36 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
    )
    assert cgroups.hierarchies(hybrid) == [Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified")]
    assert cgroups.hierarchies("30 23 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n") == [Path("/sys/fs/cgroup")]
    assert cgroups.hierarchies("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n") == []


def test_the_image_is_known_by_its_recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cache follows XDG; an image that is there is not built again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "tradeops" / "lab"
    built = cache_folder() / recipe_digest().removeprefix("sha256:")[:12]
    built.mkdir(parents=True)
    assert image.ensure(lambda _line: None) == built


def test_a_half_made_image_is_discarded(tmp_path: Path) -> None:
    """With all that is in it."""
    (tmp_path / "half" / "etc").mkdir(parents=True)
    image.discard(tmp_path / "half")
    image.discard(tmp_path / "half")
    assert list(tmp_path.iterdir()) == []
    assert mounts_below(tmp_path) == []
    assert "/" in mounts_below(Path("/"))


def test_tools_say_what_went_wrong() -> None:
    """A missing one, a failing one, a slow one: each is an error in its own words."""
    with pytest.raises(LabError, match="not on this machine"):
        run(["tradeops-no-such-tool"])
    with pytest.raises(LabError, match="ended with 3: sorry"):
        run(["sh", "-c", "echo sorry >&2; exit 3"])
    with pytest.raises(LabError, match="took longer"):
        run(["sleep", "5"], timeout_s=0.05)
    assert run(["cat"], text="hello") == "hello"
    assert missing(["sh", "tradeops-no-such-tool"]) == ["tradeops-no-such-tool"]


def test_unsupported_is_a_usage_error() -> None:
    """Exit 2: nothing was done."""
    assert LabUnsupported("x").exit_code == 2


_DEBOOTSTRAP = """#!/bin/sh
for last in "$@"; do :; done
mkdir -p "$last/etc/ssh/sshd_config.d" "$last/etc/systemd/system" "$last/var/lib/dbus" "$last/var/cache/apt/archives"
touch "$last/etc/machine-id" "$last/etc/ssh/ssh_host_rsa_key" "$last/var/cache/apt/archives/x.deb"
echo "I: Retrieving $*"
exit {code}
"""


def _fake_debootstrap(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    program = folder / "bin" / "debootstrap"
    program.parent.mkdir()
    program.write_text(_DEBOOTSTRAP.format(code=code))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_an_image_is_built_whole_without_an_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No machine id, no host keys, no package files; timers masked; leftovers of a killed build go; it is built once."""
    _fake_debootstrap(tmp_path, monkeypatch, 0)
    cache, said = tmp_path / "cache", list[str]()
    (cache / ".build-leftover").mkdir(parents=True)
    built = image.ensure(said.append, cache)
    assert sorted(path.name for path in cache.iterdir()) == [".lock", built.name]
    assert not (built / "etc/machine-id").exists()
    assert (built / "var/lib/dbus/machine-id").readlink() == Path("/etc/machine-id")
    assert list((built / "etc/ssh").glob("ssh_host_*")) == []
    assert not (built / "var/cache/apt/archives").exists()
    assert {(built / "etc/systemd/system" / unit).readlink() for unit in image.MASKED} == {Path("/dev/null")}
    assert any("Retrieving" in line and "sudo" in line and image.SUITE in line for line in said)
    said.clear()
    assert image.ensure(said.append, cache) == built
    assert said == []


def test_a_build_that_fails_leaves_no_image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And says what debootstrap said, or that it is not there."""
    _fake_debootstrap(tmp_path, monkeypatch, 3)
    with pytest.raises(LabError, match="debootstrap ended with 3: I: Retrieving"):
        image.ensure(lambda _line: None, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="not on this machine"):
        image.ensure(lambda _line: None, tmp_path / "cache")
