"""A run's own journal on the operator's machine: the plan and one line per phase, so that a dead run can be taken up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tradeops.base.durable import append_durable, read_bounded, write_atomic
from tradeops.base.errors import UsageError
from tradeops.contracts.agent import RunEntry
from tradeops.contracts.codec import decode, encode
from tradeops.deploy.plan import Plan

_JOURNAL_BYTES_MAX = 64 << 20


class Journal:
    """One folder: `plan.json` and `journal.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def begin(cls, runs: Path, run: str, plan: Plan) -> Journal:
        """A new run's journal. Raises OSError when nothing can be written: then nothing is deployed (A03)."""
        folder = runs / run
        folder.mkdir(parents=True, mode=0o700)
        write_atomic(folder / "plan.json", encode(plan))
        return cls(folder)

    @classmethod
    def find(cls, runs: Path, run: str) -> Journal:
        """The journal of an earlier run. Raises UsageError when there is none."""
        folder = runs / run
        if not run or "/" in run or not (folder / "plan.json").is_file():
            raise UsageError(f"there is no run {run!r}", where=str(runs), next="see `tradeops runs list`")
        return cls(folder)

    @property
    def run(self) -> str:
        """The run's id."""
        return self.folder.name

    def plan(self) -> Plan:
        """Raises UsageError when it does not decode."""
        path = self.folder / "plan.json"
        return decode(read_bounded(path, _JOURNAL_BYTES_MAX), Plan, source=str(path))

    def entries(self) -> tuple[RunEntry, ...]:
        """What was written, in order; a torn last line is left out."""
        path = self.folder / "journal.jsonl"
        lines = read_bounded(path, _JOURNAL_BYTES_MAX).split(b"\n")[:-1] if path.exists() else []
        return tuple(decode(line, RunEntry, source=str(path)) for line in lines)

    def note(self, phase: str, outcome: str, wall_ns: int, **detail: Any) -> RunEntry:
        """Append one line durably. Raises OSError."""
        entry = RunEntry(self.run, len(self.entries()), phase, outcome, wall_ns, detail)
        append_durable(self.folder / "journal.jsonl", encode(entry))
        return entry


def list_runs(runs: Path) -> tuple[Journal, ...]:
    """Every run, oldest first."""
    folders = sorted((path for path in runs.glob("*") if (path / "plan.json").is_file()), key=lambda path: path.stat().st_mtime_ns)
    return tuple(Journal(folder) for folder in folders)


def ending_of(journal: Journal) -> str:
    """The run's end in its own words, or `unfinished`."""
    entries = journal.entries()
    return entries[-1].outcome if entries and entries[-1].phase == "end" else "unfinished"


def phase_table(journal: Journal) -> list[dict[str, Any]]:
    """The entries as plain values for a screen."""
    return [msgspec.to_builtins(entry) for entry in journal.entries()]
