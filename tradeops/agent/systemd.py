"""systemd through systemctl's argument list: nothing from data ever meets a shell."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from .units import ACTIVE, CHANGING, FAILED, INACTIVE, UnitState, unit_error

_WORDS = {
    "active": ACTIVE,
    "inactive": INACTIVE,
    "failed": FAILED,
    "activating": CHANGING,
    "deactivating": CHANGING,
    "reloading": CHANGING,
    "refreshing": CHANGING,
}
_TIMEOUT_S = 15.0


class Systemd:
    """The system manager of this host. See units.Manager."""

    def states(self, *units: str) -> dict[str, UnitState]:
        shown = _systemctl("show", "-p", "LoadState,ActiveState,MainPID", units=units).strip().split("\n\n")
        if len(shown) != len(units):
            raise unit_error(" ".join(units), f"systemctl show told of {len(shown)} units")
        return {unit: _state(unit, each) for unit, each in zip(units, shown, strict=True)}

    def start(self, unit: str) -> None:
        _systemctl("reset-failed", units=(unit,), check=False)
        _systemctl("start", units=(unit,))

    def stop(self, unit: str) -> None:
        _systemctl("stop", "--no-block", units=(unit,))

    def kill(self, unit: str) -> None:
        _systemctl("kill", "--signal=SIGKILL", units=(unit,), check=False)
        _systemctl("stop", "--no-block", units=(unit,), check=False)

    def restart(self, unit: str) -> None:
        _systemctl("reset-failed", units=(unit,), check=False)
        _systemctl("restart", units=(unit,))


def _state(unit: str, text: str) -> UnitState:
    shown = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if shown.get("LoadState") != "loaded":
        raise unit_error(unit, f"systemd says it is {shown.get('LoadState')}: enrol the host again")
    pid = int(shown.get("MainPID", "0"))
    return UnitState(_WORDS.get(shown.get("ActiveState", ""), CHANGING), pid or None)


def _systemctl(verb: str, *options: str, units: Sequence[str], check: bool = True) -> str:
    argv, named = ["systemctl", "--no-ask-password", verb, *options, "--", *units], " ".join(units)
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise unit_error(named, f"systemctl {verb} did not answer: {error}") from None
    if check and done.returncode:
        raise unit_error(named, f"systemctl {verb}: {done.stderr.strip()[-400:]}")
    return done.stdout
