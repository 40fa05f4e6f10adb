"""Faults of the daemons of a local host, with small daemons in the places of guard and trader."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.wait import until
from tests.unit.lab.conftest import CLOCK, Lab
from tradeops.contracts.host import SCHEMA, HostFile
from tradeops.contracts.layout import HostLayout
from tradeops.lab import processes
from tradeops.lab.errors import LabError
from tradeops.lab.faults import heal, inject
from tradeops.lab.local import config
from tradeops.lab.local.driver import config_path
from tradeops.lab.local.manager import Manager

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(60),
    pytest.mark.skipif(shutil.which("ssh") is None, reason="needs OpenSSH's client"),
]

RELEASE = "ab" * 32
OLDER = "12" * 32


@pytest.fixture
def running(lab: Lab) -> Iterator[tuple[Lab, HostLayout, Manager]]:
    """h2 as enrolment and two deploys would leave it, with small daemons in the places of guard and trader."""
    host = lab.host("h2")
    layout = HostLayout(Path(host.root))
    loop = "import sys, time\nprint(sys.argv, flush=True)\nwhile True: time.sleep(3600)\n"
    for name in (RELEASE, OLDER):
        (layout.releases / name / "tree" / "config").mkdir(parents=True)
        (layout.releases / name / "tree" / "config" / "trader.yml").write_text("limits: 1\n")
    for path in (layout.platform / "guard.py", layout.root / "bin" / "tradeops-start"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(loop)
    layout.slot("blue").mkdir(parents=True)
    (layout.slot("blue") / "current").symlink_to(layout.releases / RELEASE)
    units = {"blue": "trader-blue", "green": "trader-green"}
    who = HostFile(SCHEMA, host.name, "lab", "trader", "supervisord", units, "guard", sys.executable, host.address, host.control_port)
    layout.host_file.parent.mkdir(parents=True)
    layout.host_file.write_bytes(msgspec.json.encode(who))
    told = Manager(host.name, config.load(config_path(host)).supervisor_socket)
    told.start("guard")
    told.start("trader-blue")
    yield lab, layout, told
    heal(lab.folder, "h2", None, CLOCK)
    for program in ("guard", "trader-blue"):
        if told.pid(program):
            told.stop(program)
    shutil.rmtree(layout.root)
    layout.root.mkdir()


def _stat_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize(("kind", "program"), [("guard-freeze", "guard"), ("trader-freeze", "trader-blue")])
def test_frozen_daemons_stand_still_until_healed(running: tuple[Lab, HostLayout, Manager], kind: str, program: str) -> None:
    """SIGSTOP to the process the service manager knows."""
    lab, _layout, told = running
    pid = told.pid(program)
    assert pid is not None
    inject(lab.folder, "h2", kind, {}, CLOCK)
    assert until(lambda: _stat_state(pid) == "T", 5)
    heal(lab.folder, "h2", kind, CLOCK)
    assert until(lambda: _stat_state(pid) != "T", 5)


def test_killed_trader_is_dead_until_healed(running: tuple[Lab, HostLayout, Manager]) -> None:
    """No restart by the manager."""
    lab, _layout, told = running
    inject(lab.folder, "h2", "trader-kill", {"slot": "blue"}, CLOCK)
    assert until(lambda: told.pid("trader-blue") is None, 5)
    heal(lab.folder, "h2", "trader-kill", CLOCK)
    assert told.pid("trader-blue") is not None
    with pytest.raises(LabError, match="no slot 'red'"):
        inject(lab.folder, "h2", "trader-kill", {"slot": "red"}, CLOCK)


def test_one_bit_changes_and_changes_back(running: tuple[Lab, HostLayout, Manager]) -> None:
    """Size, mode and times stay: only a digest tells."""
    lab, layout, _told = running
    path = layout.releases / RELEASE / "tree" / "config" / "trader.yml"
    path.chmod(0o444)
    before, stat = path.read_bytes(), path.stat()
    inject(lab.folder, "h2", "changed-file", {}, CLOCK)
    after = path.stat()
    assert path.read_bytes() != before
    assert (after.st_size, after.st_mode, after.st_mtime_ns) == (stat.st_size, stat.st_mode, stat.st_mtime_ns)
    heal(lab.folder, "h2", "changed-file", CLOCK)
    assert path.read_bytes() == before
    with pytest.raises(LabError, match="no file"):
        inject(lab.folder, "h2", "changed-file", {"file": "../../../etc/host.json"}, CLOCK)


def test_an_extra_process_runs_an_older_release(running: tuple[Lab, HostLayout, Manager]) -> None:
    """Its working folder is the old tree, and no unit knows it."""
    lab, layout, told = running
    fault = inject(lab.folder, "h2", "extra-process", {}, CLOCK)
    (proc,) = fault.procs
    assert until(lambda: Path(f"/proc/{proc.pid}/cwd").readlink() == layout.releases / OLDER / "tree", 5)
    assert proc.pid not in (told.pid("trader-blue"), told.pid("guard"))
    heal(lab.folder, "h2", "extra-process", CLOCK)
    assert until(lambda: not processes.alive(proc), 5)


def test_clock_offset_is_written_and_daemons_restarted(running: tuple[Lab, HostLayout, Manager]) -> None:
    """Daemons read it as they start."""
    lab, layout, told = running
    before = told.pid("guard")
    inject(lab.folder, "h2", "clock", {"ms": "-1500"}, CLOCK)
    assert msgspec.json.decode(layout.host_file.read_bytes(), type=HostFile).clock_offset_ns == -1_500_000_000
    assert told.pid("guard") not in (None, before)
    heal(lab.folder, "h2", "clock", CLOCK)
    assert msgspec.json.decode(layout.host_file.read_bytes(), type=HostFile).clock_offset_ns == 0


def test_an_enrolled_host_starts_its_guard_when_it_boots(running: tuple[Lab, HostLayout, Manager]) -> None:
    """The trader waits to be started; the guard does not."""
    lab, _layout, told = running
    inject(lab.folder, "h2", "power-cut", {}, CLOCK)
    with pytest.raises(LabError, match="does not answer"):
        told.pid("guard")
    heal(lab.folder, "h2", "power-cut", CLOCK)
    assert until(lambda: told.pid("guard"), 5)
    assert told.pid("trader-blue") is None
