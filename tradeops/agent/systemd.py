"""systemd through systemctl's argument list: nothing from data ever meets a shell."""

from __future__ import annotations

import subprocess

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

    def state(self, unit: str) -> UnitState:
        shown = dict(
            line.split("=", 1) for line in _systemctl(unit, "show", "-p", "LoadState,ActiveState,MainPID").splitlines() if "=" in line
        )
        if shown.get("LoadState") != "loaded":
            raise unit_error(unit, f"systemd says it is {shown.get('LoadState')}: enrol the host again")
        pid = int(shown.get("MainPID", "0"))
        return UnitState(_WORDS.get(shown.get("ActiveState", ""), CHANGING), pid or None)

    def start(self, unit: str) -> None:
        _systemctl(unit, "reset-failed", check=False)
        _systemctl(unit, "start")

    def stop(self, unit: str) -> None:
        _systemctl(unit, "stop", "--no-block")

    def kill(self, unit: str) -> None:
        _systemctl(unit, "kill", "--signal=SIGKILL", check=False)
        _systemctl(unit, "stop", "--no-block", check=False)

    def restart(self, unit: str) -> None:
        _systemctl(unit, "reset-failed", check=False)
        _systemctl(unit, "restart")


def _systemctl(unit: str, verb: str, *options: str, check: bool = True) -> str:
    argv = ["systemctl", "--no-ask-password", verb, *options, "--", unit]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise unit_error(unit, f"systemctl {verb} did not answer: {error}") from None
    if check and done.returncode:
        raise unit_error(unit, f"systemctl {verb}: {done.stderr.strip()[-400:]}")
    return done.stdout
