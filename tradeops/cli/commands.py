"""Every command with its one line of help and where it lives: `tradeops --help` reads this and imports nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """module, name: `tradeops.cli.MODULE.NAME`, a function or a typer.Typer of further commands."""

    module: str
    name: str
    help: str


COMMANDS = {
    "init": Command("init", "init", "Scaffold fleet file, service, playbooks, CA and first policy."),
    "doctor": Command("doctor", "doctor", "What is missing here and on the hosts, and how to fix it."),
    "docs": Command("docs", "docs", "Print a fleet file, playbook or CI pipeline to start from, its schema, or a runbook."),
    "completion": Command("completion", "completion", "Print the completion script for your shell."),
    "lab": Command("lab", "lab", "A fleet on this machine, and faults for it."),
    "fleet": Command("fleet", "fleet", "The hosts: list, sign, enroll, facts, include."),
    "build": Command("build", "build", "Build, sign and keep a release."),
    "releases": Command("releases", "releases", "Releases: list, show, diff, lift, export, import."),
    "flags": Command("flags", "flags", "Flags: list, declare, activate, disable, retire."),
    "plan": Command("deploy", "plan", "What a deploy would do now, with a digest."),
    "approve": Command("approve", "approve", "Approve one plan, for somebody else to carry out."),
    "deploy": Command("deploy", "deploy", "Bring a release to every host, and prove it."),
    "runs": Command("runs", "runs", "Runs: list, show, resume, abort."),
    "rollback": Command("deploy", "rollback", "Take the whole fleet back to an earlier release."),
    "verify": Command("verify", "verify", "Is every host what it should be? The odd one first."),
    "status": Command("status", "status", "What every host is doing. The odd one first."),
    "kill-switch": Command("kill", "kill_switch", "Stop trading, by every road there is."),
    "halt": Command("halt", "halt", "Take no new risk on some hosts."),
    "resume": Command("halt", "resume", "End halts and holds."),
    "permit": Command("permit", "permit", "Let hosts trade: two people, two keys."),
    "audit": Command("audit", "audit", "The audit chain: show, verify, export."),
    "backup": Command("backup", "backup", "Write the fleet's state into one file, and read it back."),
    "restore": Command("backup", "restore", "Unpack a backup whole, or not at all."),
    "demo": Command("demo", "demo", "The whole story on a local lab of eight hosts."),
    "drill": Command("drill", "drill", "Rehearsals on a lab of their own: knight."),
    "trader": Command("daemons", "trader", "Run the trading daemon here."),
    "guard": Command("daemons", "guard", "Run a host's guard here."),
    "venue": Command("daemons", "venue", "Run the simulated exchange here."),
}
"""In the order of `tradeops --help`: set up, release, run, look, stop, records, daemons."""
