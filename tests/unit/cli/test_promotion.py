"""A release from staging to production through the command line: the same digest, or nothing."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tradeops.base.errors import ExitCode
from tradeops.cli.app import run
from tradeops.cli.render import Printer
from tradeops.deploy.quarantine import Quarantine
from tradeops.lab.keys import make_key
from tradeops.record.chain import read_rows

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")

SERVICE = """\
service: hello
version: "1.0"
start: {argv: ["{python}", main.py]}
identity: /identity
health: /health
port: 8080
"""


def tell(folder: Path, *words: str) -> tuple[ExitCode, Any]:
    """The exit code and the JSON document of a command line for the fleet in `folder`."""
    out = io.StringIO()
    front = ["--fleet", str(folder / "fleet.yml"), "--json", "--as", "ci"]
    code = run([*front, *words], Printer(as_json=True, out=out, err=io.StringIO()))
    return code, json.loads(out.getvalue())


def make_fleet(folder: Path, name: str, *, keys: Path) -> Path:
    """A fleet whose policy knows `ci`, who releases, and two people."""
    folder.mkdir()
    people = [
        word
        for who, role in (("ci", "release"), ("one", "operator"), ("two", "risk"))
        for word in ("--person", f"{who}={keys / who}:{role}")
    ]
    out = io.StringIO()
    code = run(["--fleet", str(folder / "fleet.yml"), "--json", "init", "--name", name, *people], Printer(as_json=True, out=out, err=out))
    assert code is ExitCode.PROVED, out.getvalue()
    return folder


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    """Staging, with a service beside it."""
    (tmp_path / "keys").mkdir()
    for who in ("ci", "one", "two"):
        make_key(tmp_path / "keys" / who)
    folder = make_fleet(tmp_path / "staging", "staging", keys=tmp_path / "keys")
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "service.yml").write_text(SERVICE)
    (tmp_path / "hello" / "main.py").write_text("print('hello')\n")
    return folder


def test_what_staging_tried_is_promoted_by_its_digest(staging: Path, tmp_path: Path) -> None:
    """D16: the same id in production, recorded; built again under its number it is another release, and refused."""
    production = make_fleet(tmp_path / "production", "production", keys=tmp_path / "keys")
    built = tell(staging, "build", str(tmp_path / "hello"))[1]["release"]
    archive = str(tmp_path / "release.tar")
    assert tell(staging, "releases", "export", built, "--out", archive)[0] is ExitCode.PROVED
    code, there = tell(production, "releases", "import", archive, "--digest", built)
    assert (code, there["release"], there["number"]) == (ExitCode.PROVED, built, 1)
    assert tell(production, "releases", "show", built)[0] is ExitCode.PROVED
    (tmp_path / "hello" / "main.py").write_text("print('hello again')\n")
    again = make_fleet(tmp_path / "again", "again", keys=tmp_path / "keys")
    rebuilt = tell(again, "build", str(tmp_path / "hello"))[1]["release"]
    assert tell(again, "releases", "export", rebuilt, "--out", str(tmp_path / "again.tar"))[0] is ExitCode.PROVED
    code, said = tell(production, "releases", "import", str(tmp_path / "again.tar"))
    assert code is ExitCode.REFUSED
    assert "D16" in said["error"]["what"]
    assert tell(production, "build", str(tmp_path / "hello"), "--number", "1")[0] is ExitCode.REFUSED
    rows = [(row.verb, row.result) for row in read_rows(production / ".tradeops" / "audit.jsonl") if row.result]
    assert rows == [("releases-import", "done"), ("releases-import", "Refused"), ("build", "Refused")]


def test_what_a_gate_said_of_a_release_is_shown_with_it(staging: Path, tmp_path: Path) -> None:
    """D11: why it stands rejected; and afterwards who has allowed it again, and for what reason."""
    built = tell(staging, "build", str(tmp_path / "hello"))[1]["release"]
    assert tell(staging, "releases", "show", built)[1]["quarantine"] is None
    Quarantine(staging / ".tradeops" / "quarantine").put(built, run="r1", why="gate failed on h1: reject_ratio: 36 of 100")
    shown = tell(staging, "releases", "show", built)[1]
    assert shown["title"].endswith("; in quarantine") and "reject_ratio" in shown["quarantine"]["why"]
    assert tell(staging, "releases", "lift", built, "--reason", "the venue was down")[0] is ExitCode.PROVED
    shown = tell(staging, "releases", "show", built)[1]
    assert "; in quarantine" not in shown["title"] and shown["quarantine"]["lifted_by"] == "ci"
    out = io.StringIO()
    run(["--fleet", str(staging / "fleet.yml"), "--as", "ci", "releases", "show", built], Printer(as_json=False, out=out, err=out))
    assert "lifted by ci: the venue was down" in " ".join(out.getvalue().split())


def test_production_takes_only_what_its_own_policy_knows(staging: Path, tmp_path: Path) -> None:
    """A05: the key of staging's builder is nobody's there; a file that is none is a usage error."""
    (tmp_path / "others").mkdir()
    for who in ("ci", "one", "two"):
        make_key(tmp_path / "others" / who)
    production = make_fleet(tmp_path / "production", "production", keys=tmp_path / "others")
    built = tell(staging, "build", str(tmp_path / "hello"))[1]["release"]
    assert tell(staging, "releases", "export", built, "--out", str(tmp_path / "release.tar"))[0] is ExitCode.PROVED
    assert tell(production, "releases", "import", str(tmp_path / "release.tar"))[0] is ExitCode.REFUSED
    assert tell(production, "releases", "import", str(tmp_path / "none.tar"))[0] is ExitCode.USAGE
    assert tell(production, "releases", "list")[1]["releases"] == []
