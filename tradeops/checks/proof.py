"""Does the running process match what was asked for? Agent and guard are asked apart and must agree (D01, D02)."""

from __future__ import annotations

from dataclasses import dataclass, field

from tradeops.base.digest import short
from tradeops.checks.finding import Finding, Verdict, confirm, expect
from tradeops.contracts.agent import Process, Proof
from tradeops.contracts.identity import Identity, IdentityReport
from tradeops.fleet.host import Host

PROCESS = "process"
"""The check that the service has a process at all."""


@dataclass(frozen=True)
class Expected:
    """What one host must run. flags: active flag id -> digest of its meaning; flags, overlay None: not compared.

    before: (pid, start ticks) of the process that ran before the switch; the proved one must be another.  standby: whether its
    slot holds the activation token is not asked.
    """

    release: str
    binding: str
    overlay: int | None
    slot: str
    flags: dict[str, str] | None = None
    before: frozenset[tuple[int, int]] = field(default_factory=frozenset)
    standby: bool = False


def prove_host(host: Host, expected: Expected, proof: Proof, report: IdentityReport | None, *, files: bool = True) -> tuple[Finding, ...]:
    """Every fact that makes "host runs the release" true. report: None when the guard did not answer.

    files: whether the proof re-hashed the release; without that, what is found is a first look and no proof.
    """
    name = host.name
    findings = [
        expect(name, "linked release", _short(proof.linked), short(expected.release)),
        expect(name, "unit", proof.unit_state, "active"),
        confirm(name, "no other process", not proof.others, _processes(proof.others)),
        expect(name, "binding on host", _short(proof.binding), short(expected.binding)),
    ]
    if files:
        findings += _file_findings(name, proof)
    findings += _process_findings(host, expected, proof)
    findings += _identity_findings(name, expected, proof, proof.vitals, "agent")
    findings += _report_findings(host, expected, proof, report)
    return tuple(findings)


def _file_findings(name: str, proof: Proof) -> list[Finding]:
    return [
        confirm(name, "files", not proof.bad_files and proof.files_checked > 0, _files_detail(proof)),
        confirm(name, "removed code absent", not proof.present_removed, ", ".join(proof.present_removed) or "none present"),
    ]


def _process_findings(host: Host, expected: Expected, proof: Proof) -> list[Finding]:
    process = proof.process
    if process is None:
        return [Finding(host.name, PROCESS, Verdict.NO, "none runs")]
    tree = f"{host.root}/releases/{expected.release.removeprefix('sha256:')}"
    inside = _within(process.working_folder, tree)
    program = any(_within(part, tree) for part in (process.executable, *process.command))
    fresh = (process.pid, process.start_ticks) not in expected.before
    return [
        confirm(host.name, "working folder", inside, process.working_folder),
        confirm(host.name, "program", program, " ".join(process.command)[:120]),
        confirm(host.name, "started after the switch", fresh, f"pid {process.pid}, start {process.start_ticks}"),
    ]


def _within(path: str, folder: str) -> bool:
    """Whether an absolute path is the folder or lies in it, taken by its words; one that climbs may lie anywhere."""
    return (path == folder or path.startswith(f"{folder}/")) and ".." not in path.split("/")


def _identity_findings(name: str, expected: Expected, proof: Proof, identity: Identity | None, source: str) -> list[Finding]:
    if identity is None:
        return [Finding(name, f"identity by {source}", Verdict.UNKNOWN, "the process has not said what it is")]
    findings = [
        expect(name, f"release by {source}", short(identity.release), short(expected.release)),
        expect(name, f"binding by {source}", short(identity.binding), short(expected.binding)),
        expect(name, f"slot by {source}", identity.slot, expected.slot),
        confirm(name, f"same process by {source}", _same_process(identity, proof.process), f"pid {identity.pid}"),
    ]
    if expected.overlay is not None:
        findings.append(expect(name, f"overlay by {source}", identity.overlay, expected.overlay))
    if expected.flags is not None:
        findings.append(expect(name, f"flags by {source}", identity.flags, expected.flags))
    return findings


def _report_findings(host: Host, expected: Expected, proof: Proof, report: IdentityReport | None) -> list[Finding]:
    if report is None:
        return [Finding(host.name, "identity by guard", Verdict.UNKNOWN, "the guard did not answer")]
    return [
        expect(host.name, "guard's host", report.host, host.name),
        *_identity_findings(host.name, expected, proof, _said_of(report, expected), "guard"),
    ]


def _said_of(report: IdentityReport, expected: Expected) -> Identity | None:
    """Of the slot that holds the token, or held it last; or of the one that is asked about."""
    if expected.standby and (report.identity is None or report.identity.slot != expected.slot):
        return report.standby
    return report.identity


def _same_process(identity: Identity, process: Process | None) -> bool:
    return process is not None and (identity.pid, identity.start_ticks) == (process.pid, process.start_ticks)


def _short(digest: str | None) -> str | None:
    return None if digest is None else short(digest)


def _files_detail(proof: Proof) -> str:
    if not proof.bad_files:
        return f"{proof.files_checked} files as in the manifest"
    more = f" and {len(proof.bad_files) - 3} more" if len(proof.bad_files) > 3 else ""
    return "not as in the manifest: " + ", ".join(proof.bad_files[:3]) + more


def _processes(processes: tuple[Process, ...]) -> str:
    return ", ".join(f"pid {process.pid} in {process.working_folder}" for process in processes) or "none"
