"""Names that vulture cannot see used, since they are reached as text. Each line says by whom; none may be stale."""

from __future__ import annotations

from tradeops.base import errors
from tradeops.cli import approve, backup, completion, docs, doctor, kill

# The command table names its functions as text (tradeops/cli/commands.py).
COMMANDS = (approve.approve, backup.backup, completion.completion, docs.docs, doctor.doctor, kill.kill_switch)

# typer makes the choices of an option from them.
CHOICES = (completion.Shell.BASH, completion.Shell.ZSH, completion.Shell.FISH)

# The documented exit codes 4, 5, 10, 11 and 12: endings of runs carry the code itself; whoever raises instead raises these.
ENDINGS = (errors.GateFailed, errors.Inconclusive, errors.Drift, errors.BroughtBack, errors.StoppedByKill)

USED = (COMMANDS, CHOICES, ENDINGS)
