"""A run's own journal on the operator's machine: plan, playbook and one line per phase, so that a dead run can be taken up.

Who takes a run up begins a new session of its journal. What an earlier session still writes, because it does not know yet
that it was replaced, is told by its number and does not count as how the run stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tradeops.base.durable import append_durable, read_bounded, write_atomic
from tradeops.base.errors import UsageError
from tradeops.contracts.agent import RunEntry
from tradeops.contracts.codec import decode, encode
from tradeops.deploy.plan import Plan
from tradeops.deploy.playbook import Playbook, read_playbook

_JOURNAL_BYTES_MAX = 64 << 20
END, OWN, PUT_OUT, SETBACK, WARM = "end", "own", "put-out", "setback", "warm"
UNFINISHED, DAMAGED = "unfinished", "damaged: what it came to is not known"


class Damaged(UsageError):
    """A run's journal does not read: what it came to is not known."""

    runbook = "run-interrupted"


class Journal:
    """One folder: `plan.json`, `playbook.json` and `journal.jsonl`. session: which one of the run writes to it now."""

    def __init__(self, folder: Path, session: int = 0) -> None:
        self.folder = folder
        self.session = session
        self._seq: int | None = None

    @classmethod
    def begin(cls, runs: Path, run: str, plan: Plan, playbook: Playbook) -> Journal:
        """A new run's journal. Raises OSError when nothing can be written: then nothing is deployed (A03)."""
        folder = runs / run
        folder.mkdir(parents=True, mode=0o700)
        write_atomic(folder / "playbook.json", playbook.text().encode())
        write_atomic(folder / "plan.json", encode(plan))
        return cls(folder)

    def take_up(self) -> Journal:
        """The same journal in a session of its own. Raises OSError."""
        session = 1
        while True:
            try:
                (self.folder / f"session-{session}").touch(mode=0o600, exist_ok=False)
            except FileExistsError:
                session += 1
            else:
                return Journal(self.folder, session)

    @classmethod
    def find(cls, runs: Path, run: str) -> Journal:
        """The journal of an earlier run. Raises UsageError when there is none."""
        folder = runs / run
        if not run or "/" in run or not (folder / "plan.json").is_file():
            raise UsageError(f"there is no run {run!r}", where=str(runs), next="see `tradeops runs list`")
        return cls(folder)

    def sessions(self) -> int:
        """How many the run has had, whoever lives: numbers are given in order."""
        return 1 + len(list(self.folder.glob("session-*")))

    @property
    def run(self) -> str:
        """The run's id."""
        return self.folder.name

    def drawn(self) -> Plan:
        """As it was when the run began. Raises UsageError when it does not decode."""
        path = self.folder / "plan.json"
        return decode(read_bounded(path, _JOURNAL_BYTES_MAX), Plan, source=str(path))

    def plan(self) -> Plan:
        """Without the hosts that were put out since. Raises UsageError when it does not decode."""
        drawn = self.drawn()
        out = [name for entry in self.entries() if entry.phase == PUT_OUT for name in entry.detail["hosts"]]
        return drawn.without(out) if out else drawn

    def playbook(self) -> Playbook:
        """The playbook as it was when the run began. Raises ConfigError."""
        path = self.folder / "playbook.json"
        return read_playbook(read_bounded(path, _JOURNAL_BYTES_MAX).decode(), source=str(path))

    def entries(self) -> tuple[RunEntry, ...]:
        """What was written, in order; a torn last line is left out. Raises Damaged."""
        path = self.folder / "journal.jsonl"
        try:
            lines = read_bounded(path, _JOURNAL_BYTES_MAX).split(b"\n")[:-1] if path.exists() else []
            return tuple(decode(line, RunEntry, source=str(path)) for line in lines)
        except UsageError as error:
            raise Damaged(
                f"the journal of run {self.run} is damaged: {error.what}",
                where=str(path),
                holds="nothing was touched",
                next="`tradeops rollback --to ID` goes without it; or put the run's folder aside as evidence, then `tradeops verify`",
            ) from None

    def newest(self) -> tuple[RunEntry, ...]:
        """What the newest session wrote."""
        entries = self.entries()
        session = max((_session(entry) for entry in entries), default=0)
        return tuple(entry for entry in entries if _session(entry) == session)

    def end(self) -> RunEntry | None:
        """How the run ended, None while it has not."""
        entries = self.newest()
        return entries[-1] if entries and entries[-1].phase == END else None

    def slots(self) -> dict[str, str]:
        """Of a run that has ended: host -> the slot in which it was proved. A journal of a time with one slot names none."""
        end = self.end()
        return dict(end.detail.get("slots", {})) if end else {}

    def note(self, phase: str, outcome: str, wall_ns: int, **detail: Any) -> None:
        """Append one line durably. Raises OSError."""
        if self._seq is None:
            self._seq = len(self.entries())
        detail = {"session": self.session, **detail} if self.session else detail
        append_durable(self.folder / "journal.jsonl", encode(RunEntry(self.run, self._seq, phase, outcome, wall_ns, detail)))
        self._seq += 1


def _session(entry: RunEntry) -> int:
    return int(entry.detail.get("session", 0))


def list_runs(runs: Path) -> tuple[Journal, ...]:
    """Every run, oldest first."""
    plans = sorted(runs.glob("*/plan.json"), key=lambda path: path.stat().st_mtime_ns)
    return tuple(Journal(path.parent) for path in plans)


def ends_of(runs: Path, *, back: bool = False) -> Iterator[tuple[Journal, RunEntry | None]]:
    """Every run with its last line, newest first, None while it has none. No journal is read before its turn: a damaged one blocks
    nobody who finds what they look for in a newer one. Raises Damaged.

    back: of who goes back to a release that they name: damaged ones are passed over.
    """
    for journal in reversed(list_runs(runs)):
        try:
            end = journal.end()
        except Damaged:
            if not back:
                raise
        else:
            yield journal, end


def came_to(end: RunEntry | None) -> int | None:
    """The exit code that a run's last line tells of its own hosts; None while there is none."""
    return None if end is None else end.detail.get(OWN, end.detail.get("exit_code"))


def ending_of(journal: Journal) -> str:
    """The run's end in its own words, or UNFINISHED, or DAMAGED."""
    try:
        end = journal.end()
    except Damaged:
        return DAMAGED
    return end.outcome if end else UNFINISHED


def phase_table(journal: Journal) -> list[dict[str, Any]]:
    """The entries as plain values for a screen."""
    return [msgspec.to_builtins(entry) for entry in journal.entries()]
