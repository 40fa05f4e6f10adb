"""Faults in what runs on a host, the same with both drivers, over the few things a driver can do to its hosts."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from tradeops.base.durable import write_atomic
from tradeops.contracts.codec import decode
from tradeops.contracts.host import HostFile
from tradeops.contracts.layout import HostLayout
from tradeops.lab import powerpeg, processes
from tradeops.lab.errors import LabError, LabMisused
from tradeops.lab.kinds import number
from tradeops.lab.state import Fault, LabHost

_LONG_MS = 10 * 365 * 86_400_000
_NS_PER_MS = 1_000_000
_IDLE = "import os, signal, sys; os.chdir(sys.argv[1]); signal.pause()"


class Hands(Protocol):
    """What a driver can do on a host. Every method may raise LabError."""

    def path(self, host: LabHost, inner: Path) -> Path:
        """Where this machine finds what the host calls `inner`, links followed."""

    def unit_pid(self, host: LabHost, unit: str) -> int | None:
        """The main process of a unit, as the host numbers it; None when it does not run."""

    def signal_unit(self, host: LabHost, unit: str, number: signal.Signals) -> None:
        """Signal every process of a unit."""

    def kill_unit(self, host: LabHost, unit: str) -> None:
        """SIGKILL to every process of a running unit, which stays dead until it is started."""

    def start_unit(self, host: LabHost, unit: str) -> None:
        """Start it; nothing happens when it runs."""

    def restart_unit(self, host: LabHost, unit: str) -> None:
        """Stop and start it."""

    def spawn(self, host: LabHost, argv: Sequence[str], user: str | None, environment: Mapping[str, str]) -> processes.Proc:
        """Start a process on the host that no unit knows of."""


def host_file(hands: Hands, host: LabHost) -> HostFile:
    """Raises LabError when the host is not enrolled."""
    path = hands.path(host, HostLayout(Path(host.root)).host_file)
    try:
        return decode(path.read_bytes(), HostFile, source=str(path))
    except OSError:
        raise LabMisused("the host is not enrolled", where=host.name, next="`tradeops fleet enroll` it first") from None


def trader_units(hands: Hands, host: LabHost, slot: str) -> dict[str, str]:
    """slot -> unit: the one asked for, else those that run. Raises LabError when none does."""
    units = host_file(hands, host).units
    if slot:
        if slot not in units:
            raise LabMisused(f"has no slot {slot!r}", where=host.name, next=f"one of: {', '.join(units)}")
        return {slot: units[slot]}
    running = {name: unit for name, unit in units.items() if hands.unit_pid(host, unit) is not None}
    if not running:
        raise LabMisused("no trader runs", where=host.name, next="deploy a release, or name the slot")
    return running


def _units(hands: Hands, host: LabHost, settings: dict[str, str]) -> list[str]:
    """Those that the fault is for: the guard's, or those of running traders."""
    if settings["kind"].startswith("guard-"):
        return [host_file(hands, host).guard_unit]
    return list(trader_units(hands, host, settings["slot"]).values())


def _freeze(hands: Hands, host: LabHost, settings: dict[str, str]) -> Fault:
    units = _units(hands, host, settings)
    for unit in units:
        hands.signal_unit(host, unit, signal.SIGSTOP)
    return Fault(host.name, "", {"units": " ".join(units)})


def _kill(hands: Hands, host: LabHost, settings: dict[str, str]) -> Fault:
    units = _units(hands, host, settings)
    for unit in units:
        hands.kill_unit(host, unit)
    return Fault(host.name, "", {"units": " ".join(units)})


def _thaw(hands: Hands, host: LabHost, fault: Fault) -> None:
    for unit in fault.detail["units"].split():
        if hands.unit_pid(host, unit) is not None:
            hands.signal_unit(host, unit, signal.SIGCONT)


def _start(hands: Hands, host: LabHost, fault: Fault) -> None:
    for unit in fault.detail["units"].split():
        hands.start_unit(host, unit)


def _change_file(hands: Hands, host: LabHost, settings: dict[str, str]) -> Fault:
    """Turns the last bit of the file; size, mode and times stay."""
    slot = settings["slot"] or next(iter(trader_units(hands, host, "")))
    tree = hands.path(host, HostLayout(Path(host.root)).slot(slot) / "current") / "tree"
    path = tree / settings["file"] if settings["file"] else _any_file(host, tree)
    if not path.resolve().is_relative_to(tree.resolve()) or not path.is_file():
        raise LabMisused(f"the release has no file {settings['file']!r}", where=host.name)
    _turn_last_bit(host, path)
    return Fault(host.name, "", {"path": str(path)})


def _restore_file(hands: Hands, host: LabHost, fault: Fault) -> None:
    path = Path(fault.detail["path"])
    if path.exists():  # the release may have been pruned meanwhile
        _turn_last_bit(host, path)


def _any_file(host: LabHost, tree: Path) -> Path:
    """The configuration when there is one, else the first file that is not empty."""
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink() and path.stat().st_size)
    if not files:
        raise LabError("the release has no file to change", where=host.name)
    return next((path for path in files if path.parent.name == "config"), files[0])


def _turn_last_bit(host: LabHost, path: Path) -> None:
    before = path.stat()
    if before.st_size == 0:
        raise LabError(f"{path} is empty", where=host.name)
    path.chmod(before.st_mode | 0o200)
    try:
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)[0]
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last ^ 1]))
    finally:
        path.chmod(before.st_mode)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _extra_process(hands: Hands, host: LabHost, settings: dict[str, str]) -> Fault:
    """A process in the tree of a release, an older one than the running when there is one."""
    tree = _old_tree(hands, host, settings["release"])
    return _spawned(hands, host, tree, [host.interpreter, "-I", "-c", _IDLE, tree])


def _power_peg(hands: Hands, host: LabHost, settings: dict[str, str]) -> Fault:
    """The same, and it trades."""
    tree, slot = _old_tree(hands, host, settings["release"]), next(iter(host_file(hands, host).units))
    bounds = {name: number(settings, name, 1, powerpeg.ORDERS_MAX) for name in ("parents", "orders")}
    argv = powerpeg.argv(host.interpreter, root=host.root, slot=slot, tree=tree, host=host.name, settings=bounds)
    return _spawned(hands, host, tree, argv)


def _old_tree(hands: Hands, host: LabHost, release: str) -> str:
    """The tree of the release that was asked for, or of one that is not the running, as the host calls it."""
    layout, who = HostLayout(Path(host.root)), host_file(hands, host)
    releases = hands.path(host, layout.releases)
    names = sorted(path.name for path in releases.iterdir() if (path / "tree").is_dir()) if releases.is_dir() else []
    current = {hands.path(host, layout.slot(slot) / "current").name for slot in who.units}
    wanted = release.removeprefix("sha256:")
    chosen = [name for name in names if name.startswith(wanted)] if wanted else [n for n in names if n not in current] or names
    if not chosen:
        raise LabMisused("has no such release" if wanted else "has no release", where=host.name, next="deploy one first")
    return str(layout.releases / chosen[0] / "tree")


def _spawned(hands: Hands, host: LabHost, tree: str, argv: list[str]) -> Fault:
    who = host_file(hands, host)
    said = {"TRADEOPS_ROOT": host.root, "TRADEOPS_SLOT": next(iter(who.units))}
    return Fault(host.name, "", {"release": Path(tree).parent.name}, (hands.spawn(host, argv, who.trader_user, said),))


def _end_processes(hands: Hands, host: LabHost, fault: Fault) -> None:
    for proc in fault.procs:
        processes.send(proc, signal.SIGKILL)


def _skew(hands: Hands, host: LabHost, settings: dict[str, str]) -> Fault:
    before = _set_offset(hands, host, number(settings, "ms", -_LONG_MS, _LONG_MS) * _NS_PER_MS)
    return Fault(host.name, "", {"before_ns": str(before)})


def _unskew(hands: Hands, host: LabHost, fault: Fault) -> None:
    _set_offset(hands, host, int(fault.detail["before_ns"]))


def _set_offset(hands: Hands, host: LabHost, offset_ns: int) -> int:
    """Write the offset and restart what runs, for daemons read it as they start. The offset before."""
    who = host_file(hands, host)
    path = hands.path(host, HostLayout(Path(host.root)).host_file)
    changed = msgspec.json.decode(path.read_bytes()) | {"clock_offset_ns": offset_ns}
    owner = path.stat()
    write_atomic(path, msgspec.json.encode(changed), mode=owner.st_mode & 0o777)
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)
    for unit in (who.guard_unit, *who.units.values()):
        if hands.unit_pid(host, unit) is not None:
            hands.restart_unit(host, unit)
    return who.clock_offset_ns


Inject = Callable[[Hands, LabHost, dict[str, str]], Fault]
Heal = Callable[[Hands, LabHost, Fault], None]

COMMON: dict[str, tuple[Inject, Heal]] = {
    "guard-freeze": (_freeze, _thaw),
    "guard-kill": (_kill, _start),
    "trader-freeze": (_freeze, _thaw),
    "trader-kill": (_kill, _start),
    "changed-file": (_change_file, _restore_file),
    "extra-process": (_extra_process, _end_processes),
    "power-peg": (_power_peg, _end_processes),
    "clock": (_skew, _unskew),
}
