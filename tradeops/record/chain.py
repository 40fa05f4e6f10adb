"""Is the chain whole, and is it still the one that its witnesses saw? (A01, A02)"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tradeops.base.errors import TradeopsError, UsageError
from tradeops.contracts.agent import Witness
from tradeops.record.audit import noted_head
from tradeops.record.row import NOTHING_BEFORE, ROW_BYTES_MAX, Kind, Row, parse_row

_PROBLEMS_MAX = 50


@dataclass(frozen=True)
class Problem:
    """What is wrong, at which line of the file (0: of the whole)."""

    line: int
    what: str


@dataclass(frozen=True)
class ChainReport:
    """What a reading of the whole file came to. torn: bytes of an unconfirmed last row.  unfinished: intents without outcome."""

    chain: str
    head: str
    rows: int
    problems: tuple[Problem, ...]
    torn: int
    unfinished: tuple[int, ...]

    def whole(self) -> bool:
        """Whether nothing was edited, deleted or reordered. A cut-off end is for the witnesses to tell."""
        return not self.problems


@dataclass(frozen=True)
class Testimony:
    """What the witnesses say. confirmed_to: highest row of this chain that one of them saw and that is still the same."""

    confirmed_to: int
    witnesses: int
    problems: tuple[str, ...]

    def holds(self) -> bool:
        """Whether at least one witness confirms the chain and none contradicts it. Nobody heard is not a pass."""
        return self.confirmed_to > 0 and not self.problems


def read_lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """(line number, line, whether it ends as a line must). Raises UsageError when there is no file, OSError."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise UsageError("there is no audit log", where=str(path)) from None
    with file:
        number = 0
        while line := file.readline(ROW_BYTES_MAX + 2):
            number += 1
            yield number, line.rstrip(b"\n"), line.endswith(b"\n")


def read_rows(path: Path) -> Iterator[Row]:
    """The rows, oldest first, as far as they can be read; damage is for `verify_chain` to tell. Raises UsageError, OSError."""
    for _, line, _ in read_lines(path):
        try:
            yield parse_row(line)
        except UsageError:
            continue


def verify_chain(path: Path) -> ChainReport:
    """Read the whole file; check every row against the one before, and the end against the head its writer noted.

    Raises UsageError when there is no file, OSError.
    """
    problems: list[Problem] = []
    previous: Row | None = None
    chain, count, torn = "", 0, 0
    unfinished: dict[int, None] = {}
    for number, line, ended in read_lines(path):
        if not ended and len(line) <= ROW_BYTES_MAX:
            torn = len(line)
            break
        try:
            row = parse_row(line)
        except UsageError as error:
            problems.append(Problem(number, error.what))
            # The next row is checked against nothing: one edited row is one problem, not two.
            previous = None
            continue
        if problem := _misfit(row, previous, number, unfinished):
            problems.append(Problem(number, problem))
        chain = chain or row.hash
        previous, count = row, count + 1
    problems += _end_problems(path, previous, count, chain)
    head = previous.hash if previous else ""
    return ChainReport(chain, head, count, tuple(problems[:_PROBLEMS_MAX]), torn, tuple(unfinished))


def _misfit(row: Row, previous: Row | None, number: int, unfinished: dict[int, None]) -> str | None:
    """Why `row` does not stand where it should; keeps the list of unfinished intents."""
    if row.kind is Kind.INTENT:
        unfinished[row.seq] = None
    expected = previous.seq + 1 if previous else row.seq
    if row.seq != expected:
        return f"row {row.seq} stands where row {expected} should"
    if (row.kind is Kind.GENESIS) != (number == 1) or (number == 1 and row.prev != NOTHING_BEFORE):
        return "the chain does not begin here as chains begin"
    if previous is not None and row.prev != previous.hash:
        return "it does not follow from the row before"
    if row.kind is Kind.OUTCOME and (row.of is None or unfinished.pop(row.of, row.of) is not None):
        return f"an outcome of row {row.of}, which is no open intent"
    return None


def _end_problems(path: Path, last: Row | None, count: int, chain: str) -> list[Problem]:
    if count == 0:
        return [Problem(0, "there is no row in it")]
    try:
        noted = noted_head(path)
    except TradeopsError as error:
        return [Problem(0, f"the head its writer noted cannot be read: {error}")]
    if noted is None:
        return [Problem(0, "its writer's note of the newest row is gone")]
    if last is None:
        return []
    if noted.chain != chain:
        return [Problem(0, "it is another chain than the one its writer noted")]
    if noted.seq > last.seq:
        return [Problem(0, f"it ends at row {last.seq}; its writer noted {noted.seq}: the end was cut off")]
    if noted.seq == last.seq and noted.head != last.hash:
        return [Problem(0, "its last row is not the one its writer noted")]
    return []


def compare(path: Path, heads: Mapping[str, Sequence[Witness]], *, others: Collection[str] = ()) -> Testimony:
    """Hold the log against the heads that witnesses keep outside the writer's reach, by witness.

    others: chains of other operators' machines, known by name.

    A log that was rewritten as a whole has other hashes, or another name: either is found here, whatever it says of
    itself. Raises UsageError when there is no file, OSError.
    """
    hashes = {row.seq: row.hash for row in read_rows(path)}
    chain = hashes.get(1, "")
    problems: list[str] = []
    confirmed = 0
    for who in sorted(heads):
        for seen in heads[who]:
            if seen.chain in others:
                continue
            if problem := _contradiction(who, seen, chain, hashes):
                problems.append(problem)
            else:
                confirmed = max(confirmed, seen.seq)
    return Testimony(confirmed, sum(1 for seen in heads.values() if seen), tuple(problems))


def _contradiction(who: str, seen: Witness, chain: str, hashes: Mapping[int, str]) -> str | None:
    if seen.chain != chain:
        return f"{who} saw row {seen.seq} of chain {seen.chain[:19]}…, which this log is not: rewritten, replaced, or another machine's"
    if seen.seq not in hashes:
        return f"{who} saw row {seen.seq}, which is not here: the log was cut off"
    if hashes[seen.seq] != seen.head:
        return f"{who} saw another row {seen.seq}: the log was rewritten"
    return None


def select(rows: Iterable[Row], *, run: str | None = None, verb: str | None = None, host: str | None = None) -> Iterator[Row]:
    """The rows of a run, a verb, a host; all that is None is not asked."""
    for row in rows:
        if (run is None or row.run == run) and (verb is None or row.verb == verb) and (host is None or host in row.hosts):
            yield row


def export(path: Path) -> dict[str, Any]:
    """The whole chain as one document, with what verifying it came to, for whoever must check it elsewhere.

    `lines` are the rows as they are hashed. Raises TradeopsError when there is no file or it is not text, OSError.
    """
    report = verify_chain(path)
    try:
        lines = [line.decode() for _, line, ended in read_lines(path) if ended]
    except UnicodeDecodeError as error:
        raise TradeopsError(f"the audit log is not text: {error}", where=str(path)) from None
    return {
        "schema": "tradeops/audit-export/v1",
        "chain": report.chain,
        "head": report.head,
        "rows": report.rows,
        "problems": [{"line": problem.line, "what": problem.what} for problem in report.problems],
        "unfinished": list(report.unfinished),
        "lines": lines,
    }


def as_document(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Rows as plain JSON values."""
    return [msgspec.to_builtins(row) for row in rows]
