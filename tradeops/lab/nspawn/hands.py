"""How faults reach into an nspawn host: its file tree, its systemd, its namespaces."""

from __future__ import annotations

import pwd
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.lab import processes
from tradeops.lab.errors import LabError
from tradeops.lab.nspawn import host as one
from tradeops.lab.state import LabHost

_SPAWN_S = 5.0
_POLL_S = 0.01


class NspawnHands:
    """Hands on hosts with systemd."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def path(self, host: LabHost, inner: Path) -> Path:
        """See Hands."""
        return one.inside(host, inner)

    def unit_pid(self, host: LabHost, unit: str) -> int | None:
        """See Hands."""
        return int(one.enter(host, ["systemctl", "show", "--property=MainPID", "--value", "--", unit])) or None

    def signal_unit(self, host: LabHost, unit: str, number: signal.Signals) -> None:
        """See Hands."""
        one.enter(host, ["systemctl", "kill", f"--signal={number.name}", "--kill-whom=all", "--", unit])

    def kill_unit(self, host: LabHost, unit: str) -> None:
        """See Hands. A drop-in that a reboot forgets keeps systemd from starting it again."""
        drop_in = _drop_in(unit)
        one.enter(host, ["mkdir", "-p", str(drop_in.parent)])
        one.enter(host, ["tee", str(drop_in)], text="[Service]\nRestart=no\n")
        one.enter(host, ["systemctl", "daemon-reload"])
        self.signal_unit(host, unit, signal.SIGKILL)

    def start_unit(self, host: LabHost, unit: str) -> None:
        """See Hands."""
        one.enter(host, ["rm", "-f", str(_drop_in(unit))])
        one.enter(host, ["systemctl", "daemon-reload"])
        one.enter(host, ["systemctl", "reset-failed", "--", unit])
        one.enter(host, ["systemctl", "start", "--", unit])

    def restart_unit(self, host: LabHost, unit: str) -> None:
        """See Hands."""
        one.enter(host, ["systemctl", "restart", "--", unit])

    def spawn(self, host: LabHost, argv: Sequence[str], user: str | None, environment: Mapping[str, str]) -> processes.Proc:
        """See Hands. It lies outside the host's units, as what a person left running does."""
        first = one.leader(host)
        nsenter = shutil.which("nsenter")
        if first is None or nsenter is None:
            raise LabError("the host is down", where=host.name)
        enter = [nsenter, "-t", str(first.pid), "-m", "-p", "-u", "-i", "-n"]
        if user:
            account = _account(host, user)
            enter += ["-S", str(account.pw_uid), "-G", str(account.pw_gid)]
        outer = processes.spawn([*enter, "--", *argv], log=Path(host.folder) / "console.log", environment=environment)
        deadline = self._clock.monotonic_ns() + int(_SPAWN_S * NS_PER_S)
        while self._clock.monotonic_ns() < deadline:
            for child in processes.children(outer.pid):
                if proc := processes.find(child):
                    return proc
            self._clock.sleep_s(_POLL_S)
        raise LabError(f"{argv[0]} does not start", where=host.name, next=f"see {host.folder}/console.log")


def _drop_in(unit: str) -> Path:
    return Path("/run/systemd/system", f"{unit}.d", "lab-stays-dead.conf")


def _account(host: LabHost, user: str) -> pwd.struct_passwd:
    """The user as the host's own passwd file has it. Raises LabError."""
    for line in one.inside(host, "/etc/passwd").read_text().splitlines():
        name, password, uid, gid, gecos, home, shell = line.split(":")
        if name == user:
            return pwd.struct_passwd((name, password, int(uid), int(gid), gecos, home, shell))
    raise LabError(f"has no user {user!r}", where=host.name)
