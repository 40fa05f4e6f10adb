"""How long a person waits for help: whole processes, beside a bare interpreter."""

from __future__ import annotations

import subprocess
import sys

from tests.bench.rounds import in_turn, tell, timed

ROUNDS = 7
COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "tradeops --help": ("-m", "tradeops", "--help"),
    "tradeops deploy --help": ("-m", "tradeops", "deploy", "--help"),
    "tradeops kill-switch --help": ("-m", "tradeops", "kill-switch", "--help"),
}


def _seconds(words: tuple[str, ...]) -> float:
    return timed(lambda: subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL))


def main() -> None:
    """Print the figures."""
    found = in_turn({name: lambda words=words: _seconds(words) for name, words in COMMANDS.items()}, ROUNDS)  # type: ignore[misc]  # the default binds the words
    for name, seconds in found.items():
        tell(name, seconds)


if __name__ == "__main__":
    main()
