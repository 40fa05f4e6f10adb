"""`lab` through the command line: one small lab from up to down, and what is refused."""

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
from tradeops.lab.kinds import KINDS

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed"),
]


def tell(folder: Path, *arguments: str) -> tuple[ExitCode, Any]:
    """The exit code and the JSON document of one command line."""
    out = io.StringIO()
    code = run(["--fleet", str(folder / "fleet.yml"), "--json", *arguments], Printer(as_json=True, out=out, err=io.StringIO()))
    return code, json.loads(out.getvalue())


def test_a_lab_from_up_to_down(tmp_path: Path) -> None:
    """Up, broken, healed, restarted, down; a second `up` in the folder is refused meanwhile."""
    code, up = tell(tmp_path, "lab", "up", "--hosts", "1")
    assert code is ExitCode.PROVED
    assert [host["host"] for host in up["hosts"]] == ["h1"]
    try:
        assert tell(tmp_path, "lab", "up", "--hosts", "1")[0] is ExitCode.USAGE
        code, broken = tell(tmp_path, "lab", "fault", "h1", "delay", "port=ssh", "ms=50")
        assert (code, broken["lasting"]) == (ExitCode.PROVED, True)
        assert tell(tmp_path, "lab", "status")[1]["hosts"][0]["faults"] == ["delay"]
        assert tell(tmp_path, "lab", "heal", "h1")[1]["healed"] == ["delay"]
        assert tell(tmp_path, "lab", "heal", "h1")[1]["healed"] == []
        for words in (("h9", "reject"), ("h1", "quake"), ("h1", "delay", "fast"), ("h1", "loss"), ("h1", "trader-kill")):
            assert tell(tmp_path, "lab", "fault", *words)[0] is ExitCode.USAGE, words
        assert tell(tmp_path, "lab", "restart", "h1")[1]["restarted"] == ["h1:guard"]
    finally:
        code, _ = tell(tmp_path, "lab", "down", str(tmp_path))
    assert code is ExitCode.PROVED
    assert list(tmp_path.iterdir()) == []


def test_where_no_lab_is_every_command_says_so(tmp_path: Path) -> None:
    """Exit 2, and how to make one."""
    for words in (("down",), ("status",), ("restart",), ("heal", "h1"), ("fault", "h1", "reject")):
        code, said = tell(tmp_path, "lab", *words)
        assert code is ExitCode.USAGE
        assert "lab up" in said["error"]["next"]


def test_the_table_of_faults_is_shown(tmp_path: Path) -> None:
    """All of them, without a lab."""
    code, said = tell(tmp_path, "lab", "faults")
    assert (code, said["faults"]) == (ExitCode.PROVED, list(KINDS))
