"""One yes, no or unknown about one host, with what was measured. Unknown is never yes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """The answer of a check."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """check: what was asked.  detail: what was measured, and what was expected when it is not yes."""

    host: str
    check: str
    verdict: Verdict
    detail: str


def expect(host: str, check: str, actual: object, expected: object) -> Finding:
    """Yes when they are equal; no with both otherwise; unknown when nothing was measured."""
    if actual is None and expected is not None:
        return Finding(host, check, Verdict.UNKNOWN, f"not told, {expected} expected")
    if actual == expected:
        return Finding(host, check, Verdict.YES, str(actual))
    return Finding(host, check, Verdict.NO, f"{actual}, {expected} expected")


def confirm(host: str, check: str, holds: bool | None, detail: str) -> Finding:
    """A finding from a plain truth value; None is unknown."""
    verdict = Verdict.UNKNOWN if holds is None else Verdict.YES if holds else Verdict.NO
    return Finding(host, check, verdict, detail)


def open_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that are not yes."""
    return tuple(finding for finding in findings if finding.verdict is not Verdict.YES)


def odd_first(findings: Mapping[str, Iterable[Finding]]) -> list[str]:
    """Host names, those with a no first, then those with an unknown, then the rest; the most of them first, then by name."""

    def rank(name: str) -> tuple[int, int, str]:
        verdicts = [finding.verdict for finding in findings[name]]
        worst = next((verdict for verdict in (Verdict.NO, Verdict.UNKNOWN) if verdict in verdicts), Verdict.YES)
        return ((Verdict.NO, Verdict.UNKNOWN, Verdict.YES).index(worst), -verdicts.count(worst) if worst != Verdict.YES else 0, name)

    return sorted(findings, key=rank)
