"""A whole lab in one folder: hosts, a venue, a fleet file with keys and signed documents, every host enrolled; and its end."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import msgspec

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.base.errors import TradeopsError, UsageError
from tradeops.fleet.inventory import load_fleet
from tradeops.lab import fleet_folder, processes
from tradeops.lab.driver import Progress, Wish
from tradeops.lab.enrol import enrol_all
from tradeops.lab.errors import LabError
from tradeops.lab.faults import driver_of
from tradeops.lab.state import LabState, StateFile

VENUE = "venue"
_VENUE_S = 20.0
_POLL_S = 0.02
_GONE_S = 5.0


def up(folder: Path, driver: str, hosts: int, clock: Clock, progress: Progress, *, network: str | None = None) -> LabState:
    """Bring a lab up in `folder`, which holds none yet: afterwards every command of the tool works there.

    network: the range to choose addresses from. Raises UsageError (the folder is in use, unknown driver), LabUnsupported,
    LabError, TradeopsError; what was made by then is taken down again.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if used := [name for name in (*fleet_folder.MADE, "lab.json", "hosts") if (folder / name).exists()]:
        raise UsageError(
            f"the folder holds {used[0]} already",
            where=str(folder),
            next="choose an empty folder, or take its lab down with `tradeops lab down`",
        )
    chosen = driver_of(folder, clock, driver)
    keys = fleet_folder.make_keys(folder)
    try:
        chosen.up(Wish(folder, hosts, keys[fleet_folder.OPERATOR], tuple(keys.values()), network), progress)
        return _furnish(folder, clock, progress, tuple(keys.values()))
    except (TradeopsError, OSError):
        if StateFile(folder).exists():
            down(folder, clock, progress)
        _forget(folder)
        raise


def _furnish(folder: Path, clock: Clock, progress: Progress, keys: tuple[str, ...]) -> LabState:
    """Venue, fleet file, signed documents, enrolment."""
    state = start_venue(folder, clock, progress)
    now_ns = clock.wall_ns()
    fleet = load_fleet(fleet_folder.write_fleet(folder, state, now_ns=now_ns))
    fleet_folder.sign_state(fleet, folder, now_ns=now_ns)
    enrol_all(fleet, fleet_folder.operator(folder), keys, clock, progress)
    progress(f"{len(state.hosts)} hosts are enrolled")
    return state


def start_venue(folder: Path, clock: Clock, progress: Progress) -> LabState:
    """Start the lab's venue and wait until it is open. Raises LabError."""
    file = StateFile(folder)
    config = fleet_folder.write_venue(folder, file.read())
    log = folder / "venue.log"
    log.unlink(missing_ok=True)
    venue = processes.spawn(
        [sys.executable, "-m", "tradeops.venue", "--config", str(config)], log=log, environment=file.read().environment()
    )
    state = file.update(lambda now: msgspec.structs.replace(now, daemons=now.daemons | {VENUE: venue}))
    deadline = clock.monotonic_ns() + int(_VENUE_S * NS_PER_S)
    while '"ready": true' not in log.read_text():
        if not processes.alive(venue) or clock.monotonic_ns() > deadline:
            raise LabError(f"the venue does not open: {log.read_text()[-400:].strip()}", where=str(log))
        clock.sleep_s(_POLL_S)
    progress(f"the venue is open on {state.venue_address}")
    return state


def down(folder: Path, clock: Clock, progress: Progress) -> None:
    """Take everything of the lab away, whatever state it is in. Raises LabError when there is none, or something stays."""
    folder = folder.absolute()
    state = StateFile(folder).read()
    noted = [*state.daemons.values(), *(proc for fault in state.faults for proc in fault.procs)]
    ours = [*noted, *processes.marked([state.mark])]  # marked: also what was started and never noted
    for proc in ours:
        processes.send(proc, signal.SIGKILL)
    processes.wait_gone(ours, clock, _GONE_S)
    driver_of(folder, clock).down(progress)
    _forget(folder)


def _forget(folder: Path) -> None:
    """What `up` wrote beside the hosts. Raises OSError."""
    for name in fleet_folder.MADE:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    hosts = folder / "hosts"
    if hosts.is_dir() and not any(hosts.iterdir()):
        hosts.rmdir()
