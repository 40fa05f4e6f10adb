"""Reports that CI reads: nothing a host says can break or forge them, and unknown never looks like passed."""

from __future__ import annotations

import json
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from tradeops.record.reports import Case, Report, Verdict, github_annotations, gitlab_code_quality, junit, step_summary

NASTY = "a|b `c` <script> ::error:: 100%\n]]> \x00\x1b[31m \ud800 é"
REPORT = Report(
    "deploy",
    "run-1",
    6,
    (
        Case("host-1", "stage", Verdict.PASSED, 1.25, "12 files\x00"),
        Case("host-2", "stage", Verdict.FAILED, 2.0, NASTY),
        Case("host-1", "prove", Verdict.UNKNOWN, 0.5, "no answer"),
        Case("host-2", "prove", Verdict.SKIPPED),
    ),
    next="tradeops verify",
)


def test_junit_has_a_case_per_host_and_step() -> None:
    """Failed is a failure, unknown an error; counts add up per step."""
    root = ElementTree.fromstring(junit(REPORT).split("\n", 1)[1])
    fleet, stage, prove = root.findall("testsuite")
    assert (fleet.get("name"), fleet.get("failures")) == ("deploy", "1")
    assert (stage.get("name"), stage.get("tests"), stage.get("failures"), stage.get("errors")) == ("stage", "2", "1", "0")
    assert (prove.get("errors"), prove.get("skipped"), prove.get("failures")) == ("1", "1", "0")
    assert [case.get("name") for case in stage] == ["host-1", "host-2"]
    assert stage[1].find("failure") is not None
    assert [stage[0].findtext("system-out"), stage[1].findtext("system-out")] == ["12 files�", None]


def test_a_bad_end_without_a_bad_case_is_still_red() -> None:
    """A refused deploy has no host steps: the exit code, why and what next are a case of their own in each report."""
    refused = Report("deploy", "", 9, (Case("h1", "stage", Verdict.PASSED),), cause="not approved\nby anybody", next="ask for a release")
    assert 'failures="1"' in junit(refused)
    for text in (junit(refused), github_annotations(refused), step_summary(refused), gitlab_code_quality(refused)):
        assert all(words in text for words in ("exit code 9. not approved", "by anybody", "next: ask for a release"))
    assert github_annotations(Report("deploy", "", 0, ())) == ""
    assert 'tests="1" failures="0"' in junit(Report("deploy", "", 0, ()))


def test_annotations_are_one_line_each() -> None:
    """A host's message cannot start a workflow command of its own."""
    lines = github_annotations(REPORT).splitlines()
    assert len(lines) == 3
    assert all(line.startswith("::error file=fleet.yml,title=") for line in lines)
    assert "100%25%0A" in lines[1]


def test_code_quality_names_hosts_with_stable_fingerprints() -> None:
    """The same trouble keeps its fingerprint, so GitLab can follow it."""
    entries = json.loads(gitlab_code_quality(REPORT))
    assert [entry["severity"] for entry in entries] == ["critical", "critical", "blocker"]
    assert json.loads(gitlab_code_quality(REPORT)) == entries
    assert len({entry["fingerprint"] for entry in entries}) == 3


def test_summary_puts_the_bad_hosts_first() -> None:
    """What needs a person is on top, then what to do."""
    lines = [line for line in step_summary(REPORT).splitlines() if line.startswith("| host")]
    assert [line.split("|")[1].strip() for line in lines[1:3]] == ["host-2", "host-1"]
    assert "**Next:** tradeops verify" in step_summary(REPORT)
    assert "<script>" not in step_summary(REPORT).replace("\\<", "")


@given(st.text(st.characters(), max_size=200))
def test_any_text_leaves_the_documents_whole(text: str) -> None:
    """Hostile text: XML parses, annotations stay lines, the table keeps its rows."""
    report = Report(text, text, 1, (Case(text, text, Verdict.FAILED, 0.0, text),), next=text, where="fleet.yml")
    ElementTree.fromstring(junit(report).split("\n", 1)[1])
    assert all(line.startswith("::error") for line in github_annotations(report).split("\n")[:-1])
    json.loads(gitlab_code_quality(report))
    assert sum(line.startswith("| ") for line in step_summary(report).split("\n")) == 3
