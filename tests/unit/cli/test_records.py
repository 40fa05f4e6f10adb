"""Flags, backups and CI reports through the command line, on a fleet folder as `init` makes it."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tradeops.base.clock import VirtualClock
from tradeops.base.errors import ExitCode
from tradeops.cli.app import run
from tradeops.cli.ci import publish
from tradeops.cli.ending import ending_report
from tradeops.cli.progress import RunProgress
from tradeops.cli.render import Printer
from tradeops.cli.report import Report
from tradeops.deploy.ending import Ending, HostEnd
from tradeops.deploy.site import Progress
from tradeops.record.chain import read_rows

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with fleet file, CA and a policy of two people."""
    keys = [tmp_path / name for name in ("one", "two")]
    for key in keys:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=60)
    code, _ = tell(
        tmp_path, "init", "--name", "lab", "--person", f"operator-1={keys[0]}:operator", "--person", f"risk-1={keys[1]}:risk", person=None
    )
    assert code is ExitCode.PROVED
    return tmp_path


def tell(folder: Path, *arguments: str, person: str | None = "operator-1") -> tuple[ExitCode, Any]:
    """The exit code and the JSON document of one command line."""
    out = io.StringIO()
    front = ["--fleet", str(folder / "fleet.yml"), "--json", *(["--as", person] if person else [])]
    code = run([*front, *arguments], Printer(as_json=True, out=out, err=io.StringIO()))
    return code, json.loads(out.getvalue())


def test_flags_are_declared_once_and_recorded(site: Path) -> None:
    """D05, A01: declare, declare again, list: who did it is in the ledger and in the chain."""
    ledger = ("--flags", str(site / "flags.json"))
    declare = ("flags", "declare", "smars-7", "--meaning", "Sends child orders.", *ledger)
    assert tell(site, *declare)[0] is ExitCode.PROVED
    assert tell(site, *declare)[0] is ExitCode.REFUSED
    code, listed = tell(site, "flags", "list", *ledger)
    assert code is ExitCode.PROVED
    assert [(flag["id"], flag["state"], flag["declared_by"]) for flag in listed["flags"]] == [("smars-7", "declared", "operator-1")]
    rows = [(row.verb, row.kind.value, row.result) for row in read_rows(site / ".tradeops" / "audit.jsonl")]
    assert ("flags-declare", "outcome", "Refused") in rows
    assert ("flags-declare", "outcome", "done") in rows


def test_a_site_is_backed_up_and_restored(site: Path) -> None:
    """O08: the chain in the restored folder is the one that was backed up; a wrong digest restores nothing."""
    code, made = tell(site, "backup", str(site / "b.tar.gz"))
    assert code is ExitCode.PROVED
    wrong = ("restore", str(site / "b.tar.gz"), "--into", str(site / "wrong"), "--digest", "sha256:" + "0" * 64)
    assert tell(site, *wrong)[0] is ExitCode.REFUSED
    assert not (site / "wrong").exists()
    code, back = tell(site, "restore", str(site / "b.tar.gz"), "--into", str(site / "new"), "--digest", made["digest"])
    assert (code, back["audit_head"]) == (ExitCode.PROVED, made["audit_head"])
    assert (site / "new" / "policy.json").read_bytes() == (site / ".tradeops" / "policy.json").read_bytes()


def test_a_wrong_path_is_a_usage_error_and_changes_nothing(site: Path) -> None:
    """Exit 2 naming the option; the audit log is not blamed, and nothing is recorded of what was never begun."""
    assert (
        tell(site, "flags", "declare", "smars-7", "--meaning", "Sends child orders.", "--flags", str(site / "flags.json"))[0]
        is ExitCode.PROVED
    )
    rows = len(list(read_rows(site / ".tradeops" / "audit.jsonl")))
    none = site / "none"
    for words in (
        ("backup", str(none / "b.tar.gz")),
        ("backup", str(site)),
        ("restore", str(none), "--into", str(site / "new")),
        ("restore", str(site / "fleet.yml"), "--into", str(site / "fleet.yml")),
        ("audit", "export", "--out", str(none / "chain.json")),
        ("audit", "export", "--out", str(site)),
        ("permit", "--all", "--cause", "x", "--out", str(none / "p.json")),
        ("permit", "--sign", str(none)),
        ("permit", "--sign", str(site)),
        ("lab", "up", str(site / "fleet.yml")),
        ("lab", "up", str(none), "--network", "nowhere"),
        ("lab", "up", str(none), "--network", "10.0.0.0/30"),
    ):
        code, said = tell(site, *words)
        assert code is ExitCode.USAGE, words
        assert "audit log" not in said["error"]["what"], words
    assert len(list(read_rows(site / ".tradeops" / "audit.jsonl"))) == rows
    assert not none.exists()


def test_who_may_not_release_builds_nothing(site: Path) -> None:
    """Exit 9 before anything is kept: no host would take it."""
    assert tell(site, "build", str(site / "service"), person="risk-1")[0] is ExitCode.REFUSED
    assert not (site / ".tradeops" / "releases").exists()


def ended() -> Report:
    """A run of two hosts, one of them brought to no proof."""
    printer = Printer(as_json=False, out=io.StringIO(), err=io.StringIO())
    progress = RunProgress(printer, VirtualClock(), "deploy", ("host-1", "host-2"), Path("nowhere"))
    for host, phase, state in (("host-1", "stage", "done"), ("host-2", "stage", "started"), ("host-2", "stage", "failed")):
        progress(Progress("run-1", phase, host, state, "disk full" if state == "failed" else ""))
    hosts = (HostEnd("host-1", "proved", "sha256:1", True), HostEnd("host-2", "not proved", None, None, "no answer"))
    return ending_report("deploy", Ending("run-1", ExitCode.MIXED, "1 of 2 hosts", hosts, "tradeops verify"), progress)


def test_ci_gets_a_case_per_host_and_step(tmp_path: Path) -> None:
    """JUnit, code quality, summary and annotations, each only where its environment asks for it."""
    err = io.StringIO()
    environ = {
        "TRADEOPS_JUNIT": str(tmp_path / "junit.xml"),
        "TRADEOPS_CODE_QUALITY": str(tmp_path / "quality.json"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_ACTIONS": "true",
    }
    publish(ended(), environ, Printer(as_json=True, out=io.StringIO(), err=err))
    suites = ElementTree.parse(tmp_path / "junit.xml").getroot()
    told = [(suite.get("name"), suite.get("tests"), suite.get("failures")) for suite in suites]
    assert told == [("deploy", "1", "1"), ("stage", "2", "1"), ("end", "2", "1")]
    assert len(json.loads((tmp_path / "quality.json").read_text())) == 3
    assert "exit code 6" in (tmp_path / "summary.md").read_text()
    assert err.getvalue().count("::error ") == 3


def test_nothing_is_written_unasked_and_a_report_that_fails_changes_nothing(tmp_path: Path) -> None:
    """Outside CI there is no trace; an unwritable path is told on stderr."""
    err = io.StringIO()
    printer = Printer(as_json=True, out=io.StringIO(), err=err)
    publish(ended(), {}, printer)
    assert err.getvalue() == ""
    publish(ended(), {"TRADEOPS_JUNIT": str(tmp_path / "missing" / "junit.xml")}, printer)
    assert "could not be written" in err.getvalue()
