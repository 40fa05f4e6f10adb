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
    "docs": Command("docs", "docs", "Print the commented fleet file, or a runbook."),
    "completion": Command("completion", "completion", "Print the completion script for your shell."),
    "trader": Command("daemons", "trader", "Run the trading daemon here."),
    "guard": Command("daemons", "guard", "Run a host's guard here."),
    "venue": Command("daemons", "venue", "Run the simulated exchange here."),
}
"""In the order of `tradeops --help`: set up, release, run, look, stop, records, daemons."""
