"""The command line itself: what it imports, how it ends, what it prints where."""

from __future__ import annotations

import errno
import io
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tests.support.wait import until
from tradeops.base.errors import ExitCode, MixedFleet, TradeopsError, UsageError
from tradeops.cli.app import command_line, hoist, load, run
from tradeops.cli.commands import COMMANDS
from tradeops.cli.render import Printer
from tradeops.cli.report import Report

ROOT = Path(__file__).parents[3]
HEAVY = ("rich", "paramiko", "fabric", "httpx", "pydantic", "yaml", "cryptography", "msgspec", "asyncio", "asyncssh", "aiohttp")


def modules(*argv: str) -> set[str]:
    """Modules that a command line imports, in a process of its own."""
    code = (
        "import sys\nfrom tradeops.cli import app\nfrom tradeops.cli.render import Printer\n"
        f"app.run(app.hoist({list(argv)!r}), Printer(as_json=False))\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.split())


def test_help_imports_no_room() -> None:
    """`tradeops --help` reads a table: nothing of any room, no heavy library."""
    seen = modules("--help")
    ours = {name for name in seen if name.startswith("tradeops.") and not name.startswith(("tradeops.cli", "tradeops.base"))}
    assert ours == set()
    assert not seen & set(HEAVY)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_a_command_imports_no_room(command: str) -> None:
    """`tradeops COMMAND --help` reads options; rooms come when the command runs."""
    seen = modules(command, "--help")
    ours = {name for name in seen if name.startswith("tradeops.") and not name.startswith(("tradeops.cli", "tradeops.base"))}
    assert ours == set()
    assert not seen & set(HEAVY) - {"pydantic"}  # typer itself reads options with it


def test_the_kill_imports_no_deployer(tmp_path: Path) -> None:
    """K04: the kill works without deployer, releases, builds, and without waiting for a screen library."""
    seen = modules("kill-switch", "--all", "--reason", "x", "--fleet", str(tmp_path / "none.yml"))
    assert not any(name.startswith(("tradeops.deploy", "tradeops.release", "tradeops.lab", "rich")) for name in seen)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_loads_and_has_help(name: str) -> None:
    """The table's words and the module agree."""
    command = load(name)
    assert command.name == name
    assert COMMANDS[name].help.endswith(".")
    assert command.help


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["deploy", "r1", "--json"], ["--json", "deploy", "r1"]),
        (["--fleet", "f.yml", "status"], ["--fleet", "f.yml", "status"]),
        (["status", "--fleet=f.yml", "--as", "p"], ["--fleet=f.yml", "--as", "p", "status"]),
        (["permit", "--", "--json"], ["permit", "--", "--json"]),
        (["venue", "run", "--json"], ["venue", "run", "--json"]),
        (["--json", "venue", "run", "--fleet", "x"], ["--json", "venue", "run", "--fleet", "x"]),
        (["status", "--as"], ["status", "--as"]),
        ([], []),
    ],
)
def test_global_options_stand_anywhere(written: list[str], read: list[str]) -> None:
    """Before or after the command; a daemon's own options are left alone."""
    assert hoist(written) == read


def toy() -> typer.Typer:
    """Commands that end in every way there is."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    @app.command()
    def good(number: int = 1) -> Report:
        return Report("good", "all well", hosts=({"host": "h1"},), data={"number": number})

    @app.command()
    def mixed() -> Report:
        return Report("mixed", "odd", ExitCode.MIXED)

    @app.command()
    def refuse() -> Report:
        raise MixedFleet("two\nlines", where="h1", holds="the rest", next="look")

    @app.command()
    def bug() -> Report:
        raise ZeroDivisionError("surprise")

    @app.command()
    def disk() -> Report:
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere")

    @app.command()
    def trail(how: str) -> Report:
        def after() -> None:
            raise {"bug": ZeroDivisionError, "refused": UsageError, "stop": KeyboardInterrupt}[how]("later")

        return Report("trail", "odd", ExitCode.MIXED, after=after)

    @app.command()
    def stop() -> Report:
        raise KeyboardInterrupt

    return app


def play(*argv: str, as_json: bool = False) -> tuple[ExitCode, str, str]:
    """Exit code, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    code = run(argv, Printer(as_json=as_json, out=out, err=err), toy())
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["good"], 0),
        (["mixed"], 6),
        (["refuse"], 6),
        (["bug"], 1),
        (["disk"], 1),
        (["stop"], 130),
        (["good", "--number", "x"], 2),
        (["good", "--strange"], 2),
        (["nothing"], 2),
    ],
)
def test_every_end_has_its_exit_code_and_one_document(argv: list[str], code: int) -> None:
    """With --json stdout holds exactly one JSON document, whatever happens."""
    ended, out, _ = play(*argv, as_json=True)
    document = json.loads(out)
    assert ended == code == document["exit_code"]
    assert document["ok"] == (code == 0)
    assert re.fullmatch(r"tradeops/[a-z-]+/v1", document["schema"])
    assert "hosts" in document
    assert "run" in document


@pytest.mark.parametrize("how", ["bug", "refused", "stop"])
def test_what_comes_after_the_result_changes_nothing_of_it(how: str) -> None:
    """Still one document, still its exit code; what failed is told on stderr."""
    code, out, err = play("trail", how, as_json=True)
    assert code == ExitCode.MIXED == json.loads(out)["exit_code"]
    assert "the result was told" in err


def test_a_group_without_a_command_is_one_document() -> None:
    """`tradeops lab --json` is a usage error like any other."""
    out = io.StringIO()
    assert run(["--json", "lab"], Printer(as_json=True, out=out, err=io.StringIO())) == ExitCode.USAGE
    assert json.loads(out.getvalue())["error"]["what"] == "no command is named"


def test_the_process_ends_although_a_thread_does_not() -> None:
    """A thread that waits for a host that hangs holds up nothing, and what was printed is whole."""
    code = (
        "import sys, threading\nfrom tradeops.cli import app\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "sys.argv = ['tradeops', 'docs', 'fleet']\napp.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.endswith("\n")


def test_an_error_says_its_four_words_on_stderr() -> None:
    """stdout stays empty for whoever pipes it."""
    _, out, err = play("refuse")
    assert out == ""
    assert err == "error: h1: two\n  lines\n  holds: the rest\n  next: look\n  read: tradeops docs mixed-fleet\n"


def test_a_bug_leaves_its_trace_and_says_that_the_state_is_unknown() -> None:
    """Not a bare traceback, and never exit 0."""
    _, _, err = play("bug")
    assert "ZeroDivisionError: surprise" in err
    assert "not known" in err


def test_a_full_disk_names_the_file() -> None:
    """The system's own words, without a trace."""
    assert play("disk")[2] == "error: somewhere: No space left on device\n"


def test_usage_errors_point_to_help() -> None:
    """A wrong option is told with where its help is."""
    assert "`tradeops good --help`" in play("good", "--strange")[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_with_130_and_says_what_holds(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C, SIGTERM and a lost session end alike: documented, resumable."""
    ready = tmp_path / "ready"
    code = (
        "import signal, sys, pathlib, typer\nfrom tradeops.cli import app\n"
        "toy = typer.Typer(add_completion=False)\n"
        f"@toy.command()\ndef wait():\n    pathlib.Path({str(ready)!r}).touch()\n    signal.pause()\n"
        "sys.argv = ['tradeops']\napp.main(toy)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(ready.exists, timeout_s=30)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "tradeops runs list" in err


def test_a_reader_that_goes_away_is_no_error_message() -> None:
    """`tradeops docs | head -1` prints nothing about broken pipes."""
    line = f"{sys.executable} -m tradeops docs fleet | head -n 1"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("# fleet.yml")
    assert done.stderr == ""


def test_without_a_command_it_prints_help_and_ends_with_2() -> None:
    """Nothing was asked for, nothing was done."""
    out, err = io.StringIO(), io.StringIO()
    assert run([], Printer(as_json=False, out=out, err=err)) == ExitCode.USAGE
    assert "kill-switch" in err.getvalue()


def test_a_daemon_without_run_is_refused() -> None:
    """`tradeops venue` alone does not start an exchange by accident."""
    out, err = io.StringIO(), io.StringIO()
    assert run(["venue"], Printer(as_json=False, out=out, err=err)) == ExitCode.USAGE
    assert "run" in err.getvalue()
    assert run(["--json", "venue", "run"], Printer(as_json=True, out=out, err=err)) == ExitCode.USAGE
    assert "--json is no option of the venue" in json.loads(out.getvalue())["error"]["what"]


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "runbooks").glob("*.md"))], ids=lambda page: page.name)
def test_every_command_in_a_page_exists(page: Path) -> None:
    """A person in trouble is never sent to a command, or a command's part, that is not there."""
    for name, part in re.findall(r"(?:`|^|&& )tradeops ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", page.read_text(), flags=re.MULTILINE):
        assert name in COMMANDS, name
        parts = getattr(load(name), "commands", {})
        assert not parts or not part or part in parts, f"{name} {part}"


def test_every_page_is_in_the_list_of_pages() -> None:
    """Whoever looks for a page finds it."""
    listed = set(re.findall(r"\]\(([a-z-]+\.md)\)", (ROOT / "runbooks" / "README.md").read_text()))
    assert {page.name for page in (ROOT / "runbooks").glob("*.md")} - {"README.md"} == listed


def test_errors_carry_their_document() -> None:
    """Kind, what, where, holds, next, runbook."""
    _, out, _ = play("refuse", as_json=True)
    assert json.loads(out)["error"] == {
        "kind": "MixedFleet",
        "what": "two\nlines",
        "where": "h1",
        "holds": "the rest",
        "next": "look",
        "runbook": "mixed-fleet",
    }
    assert isinstance(UsageError("x"), TradeopsError)


@pytest.mark.parametrize(
    ("shell", "words"), [("bash", "complete -o"), ("zsh", "#compdef tradeops"), ("fish", "complete --command tradeops")]
)
def test_completion_is_a_script_for_the_shell(shell: str, words: str) -> None:
    """Printed for the shell to read, and written into nobody's start-up files."""
    out = io.StringIO()
    assert run(["completion", shell], Printer(as_json=False, out=out, err=io.StringIO()), command_line()) == 0
    assert words in out.getvalue() and "_TRADEOPS_COMPLETE" in out.getvalue()
