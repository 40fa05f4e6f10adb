"""Enrolment and upgrades of the platform: everything may be run again, nothing goes back, a bad platform leaves the old one."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.agenthost import AGENT, GUARD, ManagedHost, frame, plain
from tests.support.agentsession import Agent
from tests.support.wait import until
from tradeops.agent import install_units
from tradeops.agent.clock import Clock
from tradeops.agent.hostfile import Context, HostFile
from tradeops.agent.install import answer
from tradeops.agent.names import Layout
from tradeops.base.errors import Refused
from tradeops.contracts.pages import StopPage
from tradeops.fleet.platform import Platform


def test_enrolment_lays_out_the_host(running: ManagedHost) -> None:
    """Folders and files with their modes, the guard running, the page halted."""
    layout = running.layout
    running.enrol()
    modes = {
        path: stat.S_IMODE(path.stat().st_mode) for path in (layout.agent_state, layout.blobs, layout.guard_state, layout.tls, layout.data)
    }
    assert modes == {layout.agent_state: 0o700, layout.blobs: 0o700, layout.guard_state: 0o700, layout.tls: 0o700, layout.data: 0o750}
    assert stat.S_IMODE((layout.tls / "guard.key").stat().st_mode) == 0o600
    page = StopPage(layout.stop_page, writable=False)
    words = page.read()
    assert words and not words.may_send and not words.latched
    page.close()
    assert (layout.platform / "guard.py").read_text() == GUARD


def test_enrolment_may_be_run_again_and_mends_what_is_wrong(running: ManagedHost) -> None:
    """Twice: nothing changed. Damaged launcher, page, platform file: put right, and said."""
    running.enrol()
    assert running.enrol().changed == ()
    layout = running.layout
    before = layout.stop_page.stat().st_ino
    layout.agent_launcher.write_text("#!/bin/sh\n")
    library = layout.platform.resolve() / "lib" / "library.py"
    library.chmod(0o644)
    library.write_text("changed")
    assert running.enrol().changed == ("platform files", "tradeops-agent")
    assert layout.stop_page.stat().st_ino == before
    layout.stop_page.unlink()
    assert running.enrol().changed == ("stop page",)


def test_enrolment_takes_no_number_back(running: ManagedHost) -> None:
    """An older policy, roster or platform: refused with what to do, the host as it was."""
    running.enrol(running.platform(3), running.policy(3), running.roster(3))
    for older in ((running.platform(3), running.policy(2), running.roster(3)), (running.platform(3), running.policy(3), running.roster(2))):
        with pytest.raises(Refused, match="not newer than 3"):
            running.enrol(*older)
    with pytest.raises(Refused, match="older than 3"):
        running.enrol(running.platform(2), running.policy(3), running.roster(3))
    assert running.agent().hello["platform"] == running.platform(3).id


def test_enrolment_refuses_what_nobody_entitled_signed(running: ManagedHost) -> None:
    """The admin's rights bring a platform to the host; they do not make it trusted."""
    with pytest.raises(Refused, match="platform needs 1"):
        running.enrol(running.platform(2, signer=running.nobody))


def test_an_archive_that_is_not_the_signed_tree_is_refused(running: ManagedHost) -> None:
    """A byte changed on the way, or an extra file: the platform in force stays."""
    built = running.platform(2)
    changed = Platform(built.id, built.envelope, built.manifest, running.folder / "changed")
    for file in built.manifest.predicate.files:
        target = changed.folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((built.folder / file.path).read_bytes())
    text = (changed.folder / "guard.py").read_text()
    (changed.folder / "guard.py").write_text(text.replace("time", "Time", 1))
    before = running.layout.platform.readlink()
    with pytest.raises(Refused, match=r"did not arrive as it was signed: guard\.py"):
        running.enrol(changed)
    assert running.layout.platform.readlink() == before
    assert not list((running.root / "platform").glob(".partial-*"))


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "link"])
def test_the_bootstrap_unpacks_plain_files_below_its_folder_alone(tmp_path: Path, name: str) -> None:
    """Paths out of the folder and links are refused before anything runs."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.type = tarfile.SYMTYPE if name == "link" else tarfile.REGTYPE
        member.linkname = "/etc"
        tar.addfile(member)
    script = (AGENT / "bootstrap.py").read_bytes()
    spec = json.dumps({"root": str(tmp_path / "opt")}).encode() + b"\n"
    done = subprocess.run([sys.executable, "-c", script.decode()], input=spec + out.getvalue(), capture_output=True, check=False)
    assert done.returncode == 1 and b"no plain file below its folder" in done.stderr
    assert not (tmp_path / "outside").exists()


def test_a_host_without_its_tools_is_told_so(running: ManagedHost) -> None:
    """Unknown service manager: refused before anything is touched."""
    spec: dict[str, Any] = {
        "schema": "tradeops/enrolment/v1",
        "root": str(running.root),
        "host": json.loads(running.layout.host_file.read_text()),
    }
    spec["host"]["service_manager"] = "runit"
    refusal = answer(spec, running.folder / "none")
    assert refusal["error"]["code"] == "bad_request" and "runit" in refusal["error"]["what"]
    assert answer({"schema": "other"}, running.folder / "none")["error"]["code"] == "bad_request"


def _offer(agent: Agent, platform: Platform) -> dict[str, Any]:
    """Announce and send a platform as a run would."""
    body = zlib.compress(msgspec.json.encode(platform.envelope))
    missing = agent.do("missing", body)["missing"]
    parts = [platform.part(digest) for digest in missing]
    parcel = zlib.compress(b"".join(frame(path.read_bytes(), digest) for digest, _, path in parts))
    if missing:
        agent.do("receive", parcel)
    return plain(platform.envelope)


def test_the_platform_there_installs_the_next_one(running: ManagedHost) -> None:
    """Verified by the old one, guard restarted, the next session is the new agent's; the old tree is kept to go back to."""
    running.enrol()
    old, new = running.platform(), running.platform(2, guard=GUARD + "# two\n")
    agent = running.locked()
    before = _guard_pid(running)
    assert agent.do("upgrade", platform=_offer(agent, new)) == {"platform": new.id}
    assert running.agent().hello["platform"] == new.id
    assert _guard_pid(running) != before
    kept = {path.name for path in (running.root / "platform").iterdir() if path.is_dir() and not path.is_symlink()}
    assert kept == {new.id[7:], old.id[7:]}
    assert agent.code("upgrade", platform=plain(running.platform(1, guard=GUARD + "# older\n").envelope)) == "older"


def test_a_platform_whose_guard_does_not_come_up_is_taken_back(running: ManagedHost) -> None:
    """The one before is in force again, its guard runs, and the answer says so."""
    running.enrol()
    agent = running.locked()
    broken = running.platform(2, guard="raise SystemExit(3)\n")
    answer = agent.ask("upgrade", platform=_offer(agent, broken))
    assert answer["error"]["code"] == "service" and "in force again" in answer["error"]["what"]
    assert running.agent().hello["platform"] == running.platform().id
    assert until(lambda: _guard_pid(running), 10)


def test_an_upgrade_is_a_signed_platform_and_nothing_else(running: ManagedHost) -> None:
    """A release, or a platform by a stranger: refused."""
    agent = running.locked()
    assert agent.code("upgrade", platform=plain(running.release().envelope)) == "bad_request"
    assert agent.code("upgrade", platform=plain(running.platform(2, signer=running.nobody).envelope)) == "signature"
    assert agent.code("upgrade", platform=plain(running.platform(2).envelope)) == "not_found"


def _guard_pid(managed: ManagedHost) -> int | None:
    """From /proc: the process that runs this host's guard.py."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if str(managed.layout.platform / "guard.py").encode() in words:
            return int(entry.name)
    return None


def test_units_are_hardened_and_never_restart_the_service(tmp_path: Path) -> None:
    """A template where units are instances of one name, else a file each; the guard always comes back."""
    units = {"blue": "tradeops-trader@blue.service", "green": "tradeops-trader@green.service"}
    host = HostFile(
        "s", "h", "f", "trader", "systemd", units, "tradeops-guard.service", "/usr/bin/python3", "::", 1, trader_user="t", guard_user="g"
    )
    files = install_units.unit_files(Context(Layout(Path("/opt/tradeops")), host, Clock()))
    trader, guard = files["tradeops-trader@.service"], files["tradeops-guard.service"]
    for line in ("User=t", "Restart=no", "NoNewPrivileges=yes", "ProtectSystem=strict", "KillMode=control-group"):
        assert line in trader.splitlines()
    assert "ReadWritePaths=/opt/tradeops/data /opt/tradeops/vitals" in trader
    assert "ExecStart=/usr/bin/python3 -IB /opt/tradeops/bin/tradeops-start %i" in trader
    for line in ("User=g", "Restart=always", "NoNewPrivileges=yes"):
        assert line in guard.splitlines()
    assert "PathExists=/opt/tradeops/guard/stop-request" in files["tradeops-stop.path"]
    named = HostFile(**{**host.__dict__, "units": {"blue": "trader.service"}})
    files = install_units.unit_files(Context(Layout(tmp_path), named, Clock()))
    assert f"tradeops-start {'blue'}" in files["trader.service"]
