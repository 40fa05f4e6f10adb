"""`tradeops`: global options, commands loaded when they are run, and the only error boundary."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from tradeops.base.errors import ExitCode, Interrupted, TradeopsError, UsageError
from tradeops.cli.ci import publish
from tradeops.cli.commands import COMMANDS
from tradeops.cli.context import Context, Options
from tradeops.cli.render import Printer
from tradeops.cli.report import Report, error_report

_FLAGS = ("--json", "--yes")
_VALUES = ("--fleet", "--as", "--key")
_PASS_ON = ("trader", "guard", "venue")
_GROUPS = ("lab", "fleet", "releases", "flags", "runs", "audit", "drill")
"""What is followed by a command of its own."""


class LazyGroup(TyperGroup):
    """Commands from the table; only the one that is run is imported."""

    def list_commands(self, _ctx: Any) -> list[str]:
        """Names in the table's order."""
        return list(COMMANDS)

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:
        """The command, imported now; None when there is none."""
        return load(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """The table's own words: nothing is imported for help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Names from the table; options as usual."""
        from typer._click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=command.help) for name, command in COMMANDS.items() if name.startswith(incomplete)]


def load(name: str) -> Any:
    """Import a command of the table and make it one of typer's."""
    command = COMMANDS[name]
    target = getattr(importlib.import_module(f"tradeops.cli.{command.module}"), command.name)
    if not isinstance(target, typer.Typer):
        passes_on = name in _PASS_ON
        settings = {"allow_extra_args": True, "ignore_unknown_options": True} if passes_on else {}
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name, help=target.__doc__, context_settings=settings, add_help_option=not passes_on)(target)
        target = single
    made = typer.main.get_command(target)
    made.name = name
    return made


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"tradeops {version('tradeops')}")
        raise typer.Exit


def command_line(compose: Callable[[Options, Printer], Context] = Context) -> typer.Typer:
    """The whole command line. compose: makes what commands work with."""
    root = typer.Typer(cls=LazyGroup, add_completion=False, rich_markup_mode=None, no_args_is_help=True)

    @root.callback()
    def options(
        ctx: typer.Context,
        fleet: Annotated[Path, typer.Option("--fleet", metavar="FILE", envvar="TRADEOPS_FLEET", help="The fleet file.")] = Path(
            "fleet.yml"
        ),
        as_json: Annotated[bool, typer.Option("--json", help="Exactly one JSON document on stdout.")] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        person: Annotated[
            str | None, typer.Option("--as", metavar="PERSON", envvar="TRADEOPS_AS", help="Who acts, as the policy names you.")
        ] = None,
        key: Annotated[
            str | None, typer.Option("--key", metavar="KEY", envvar="TRADEOPS_KEY", help="Your SSH key: a file, or SHA256:... in an agent.")
        ] = None,
        _version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
    ) -> None:
        """Puts a trading daemon on many servers, proves what runs there, watches it, and can stop all of it at once.

        The options below may stand before or after the command.
        """
        ctx.obj = compose(Options(fleet, as_json, yes, person, key), Printer(as_json=as_json))

    return root


def hoist(arguments: Sequence[str]) -> list[str]:
    """Global options brought to the front, wherever they were written; what follows `--` or a daemon's name stays."""
    front: list[str] = []
    rest: list[str] = []
    left = list(arguments)
    while left:
        word = left.pop(0)
        if word == "--" or (word in _PASS_ON and not rest):
            rest += [word, *left]
            break
        name = word.partition("=")[0]
        if word in _FLAGS or (name in _VALUES and "=" in word):
            front.append(word)
        elif word in _VALUES and left:
            front += [word, left.pop(0)]
        else:
            rest.append(word)
    return front + rest


def run(arguments: Sequence[str], printer: Printer, app: typer.Typer | None = None) -> ExitCode:
    """Carry out one command line; every error is told here and nowhere else."""
    try:
        result = typer.main.get_command(app or command_line()).main(list(arguments), prog_name="tradeops", standalone_mode=False)
        if isinstance(result, Report):
            return _tell(result, printer)
        if result == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        return ExitCode(result or 0)
    except KeyboardInterrupt:
        error: TradeopsError = Interrupted(
            "stopped before the end", holds="what was written down before it was done", next="`tradeops runs list` shows an open run"
        )
    except TradeopsError as raised:
        error = raised
    except TyperException as raised:
        bare = type(raised).__name__ == "NoArgsIsHelpError"
        if bare and not printer.as_json:
            printer.line(raised.format_message())
            return ExitCode.USAGE
        error = UsageError("no command is named" if bare else raised.format_message(), next=f"`{_path(raised)} --help`")
    except SystemExit:  # typer ends so when its own help meets a closed pipe
        return ExitCode.INTERNAL
    except OSError as raised:
        error = TradeopsError(raised.strerror or str(raised), where=str(raised.filename or "this machine"))
    except Exception as raised:  # noqa: BLE001 - the boundary itself: a bug must still end in the documented way
        error = _bug(raised)
    printer.error(error)
    return _afterwards(error_report(_named(arguments), error), printer)


def _named(arguments: Sequence[str]) -> str:
    """The command of a command line whose global options are in front, as reports name it."""
    left = list(arguments)
    while left and left[0].startswith("-"):
        del left[: 2 if left[0] in _VALUES else 1]
    words = left[: 2 if left and left[0] in _GROUPS else 1]
    return "-".join(word for word in words if not word.startswith("-")) or "tradeops"


def _tell(result: Report, printer: Printer) -> ExitCode:
    """The one document, then what comes after it."""
    try:
        printer.report(result)
    except KeyboardInterrupt:
        return result.exit_code
    return _afterwards(result, printer)


def _afterwards(result: Report, printer: Printer) -> ExitCode:
    """The result is out: what fails from here on is told on stderr and changes nothing of how the command ended."""
    try:
        publish(result, os.environ, printer)
        if result.after is not None:
            result.after()
    except KeyboardInterrupt:
        printer.line("stopped after the result was told; what should have followed it was left out")
    except Exception as raised:  # noqa: BLE001 - the boundary itself: the result is already told and stands
        printer.line(f"after the result was told: {type(raised).__name__}: {raised}")
    return result.exit_code


def _path(raised: TyperException) -> str:
    ctx = getattr(raised, "ctx", None)
    return str(ctx.command_path) if ctx else "tradeops"


def _bug(raised: Exception) -> TradeopsError:
    import traceback

    from tradeops.base.logs import redact

    trace = str(redact("trace", "".join(traceback.format_exception(raised, limit=-8))))
    return TradeopsError(
        f"a mistake in tradeops itself: {type(raised).__name__}: {raised}\n{trace}",
        holds="not known: the command ended in the middle",
        next="`tradeops status` and `tradeops verify`; report the lines above",
    )


def main(app: typer.Typer | None = None) -> None:
    """The console script. Ends the process at once: threads that wait for hosts that hang must not be in its shutdown."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # under nohup a closed terminal is no wish to stop
            signal.signal(number, signal.default_int_handler)
    if "_TRADEOPS_COMPLETE" in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
    arguments = hoist(sys.argv[1:])
    code = ExitCode.INTERNAL
    try:
        code = run(arguments, Printer(as_json="--json" in arguments), app)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
    finally:
        os._exit(code)
