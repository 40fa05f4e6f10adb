"""On eight hosts with real systemd and sshd: the cold kill beside pdsh stopping the unit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.rounds import CLOCK, in_turn, ratio, tell, timed
from tests.support.fleetlab import FleetLab, bring_up, short_id, take_down
from tradeops.base.clock import NS_PER_S
from tradeops.lab.nspawn.driver import why_not

ROUNDS = 5
UNIT = "tradeops-trader@blue.service"


def _cold_kill(lab: FleetLab) -> tuple[float, float]:
    """Seconds from the start of the process until the last host was told blocked, and until the last was told clear."""
    _trade(lab)
    began_ns = CLOCK.monotonic_ns()
    told = {"blocked": 0.0, "clear": 0.0}
    with subprocess.Popen(
        lab.argv("kill-switch", "--all", "--reason", "bench"), cwd=lab.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        for line in process.stderr:
            for word in told:
                if f" {word} " in line:
                    told[word] = (CLOCK.monotonic_ns() - began_ns) / NS_PER_S
    return told["blocked"], max(told.values())  # a host that is clear no later than it is blocked is told once


def _trade(lab: FleetLab) -> None:
    if lab.run("permit", "--all", "--cause", "bench", "--and", "risk-1").code:
        lab.must("deploy", short_id(lab.releases[1]))
        lab.permit("bench")


def _pdsh(lab: FleetLab) -> float:
    """pdsh stops the unit on the same hosts; started again outside the measurement."""
    hosts = ",".join(f"root@{host.address}" for host in lab.state.hosts)
    known = lab.folder / "known_hosts"
    known.write_text("".join(f"{host.address} {host.host_key}\n" for host in lab.state.hosts))
    options = (
        f"-F none -i {lab.folder / 'keys' / 'operator-1'} -o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes -o LogLevel=ERROR"
    )
    argv = ["pdsh", "-R", "ssh", "-f", "16", "-w", hosts, "systemctl", "stop", UNIT]
    environment = {**os.environ, "PDSH_SSH_ARGS_APPEND": options}
    seconds = timed(lambda: subprocess.run(argv, env=environment, check=True, stdout=subprocess.DEVNULL))
    subprocess.run([*argv[:-2], "start", UNIT], env=environment, check=True, stdout=subprocess.DEVNULL)
    return seconds


def _kills(lab: FleetLab) -> None:
    clear: list[float] = []

    def ours() -> float:
        blocked, cleared = _cold_kill(lab)
        clear.append(cleared)
        return blocked

    found = in_turn({"ours": ours, "pdsh": lambda: _pdsh(lab)}, ROUNDS)
    tell("kill-switch --all, cold, to 8 of 8 blocked", found["ours"])
    tell("kill-switch --all, cold, to 8 of 8 clear", clear)
    tell(f"pdsh systemctl stop {UNIT}", found["pdsh"])
    ratio("kill-switch to blocked against pdsh", found["ours"], found["pdsh"])


def main() -> None:
    """Print the figures, or why there are none."""
    if reason := why_not():
        sys.stdout.write(f"skipped: {reason}\n")
        return
    with TemporaryDirectory(prefix="tradeops-bench-") as folder:
        lab = bring_up(Path(folder), "nspawn", 8)
        try:
            lab.build(1)
            lab.must("deploy", short_id(lab.releases[1]))
            _kills(lab)
        finally:
            take_down(lab)


if __name__ == "__main__":
    main()
