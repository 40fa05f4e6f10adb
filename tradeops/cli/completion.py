"""Shell completion as a command of its own: nothing is written into anybody's start-up files."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from tradeops.cli.report import Report


class Shell(StrEnum):
    """Shells with a completion script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Your shell.")]) -> Report:
    """Print the completion script for your shell: `eval "$(tradeops completion bash)"`."""
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name="tradeops", complete_var="_TRADEOPS_COMPLETE", shell=shell.value)
    return Report("completion", shell.value, raw=script + "\n", data={"shell": shell.value, "script": script})
