"""Faults of local hosts. What needs a network, a disk or a kernel of the host's own is refused, with the reason."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from tradeops.base.clock import Clock
from tradeops.lab import processes
from tradeops.lab.driver import Driver, Settings
from tradeops.lab.errors import LabError, LabUnsupported
from tradeops.lab.hands import COMMON
from tradeops.lab.keys import make_key
from tradeops.lab.local import config, sshd
from tradeops.lab.local.manager import Manager
from tradeops.lab.mischief import proxy_argv, start_proxy
from tradeops.lab.state import Fault, LabHost

CONFIG_NAME = "host.json"
_KEPT = ".before-fault"
_SHUTDOWN_S = 15.0
DOORS = ("ssh", "control")

_REASONS = {
    "loss": "local hosts share the machine's loopback: no packet can be lost for one of them alone",
    "slow": "local hosts share the machine's loopback; `delay` holds streams back",
    "disk-full": "local hosts share the machine's disk",
    "read-only": "local hosts share the machine's disk",
    "sshd-freeze": "what runs sshd here is the host's cable too: `partition` stops both",
}


class LocalHands:
    """Hands on hosts with supervisord."""

    def path(self, host: LabHost, inner: Path) -> Path:
        """See Hands."""
        return inner.resolve()

    def unit_pid(self, host: LabHost, unit: str) -> int | None:
        """See Hands."""
        return _manager(host).pid(unit)

    def signal_unit(self, host: LabHost, unit: str, number: signal.Signals) -> None:
        """See Hands. supervisord gives each program a process group of its own."""
        _manager(host).signal(unit, number)

    def start_unit(self, host: LabHost, unit: str) -> None:
        """See Hands."""
        if self.unit_pid(host, unit) is None:
            _manager(host).start(unit)

    def kill_unit(self, host: LabHost, unit: str) -> None:
        """See Hands. Asked to stop while it stands still, it is not started again when it is killed."""
        manager = _manager(host)
        manager.signal(unit, signal.SIGSTOP)
        manager.stop(unit, wait=False)
        manager.signal(unit, signal.SIGKILL)

    def restart_unit(self, host: LabHost, unit: str) -> None:
        """See Hands."""
        if self.unit_pid(host, unit) is not None:
            _manager(host).stop(unit)
        _manager(host).start(unit)

    def spawn(self, host: LabHost, argv: Sequence[str], user: str | None, environment: Mapping[str, str]) -> processes.Proc:
        """See Hands."""
        return processes.spawn(argv, log=Path(host.folder) / "logs" / "spawned.log", environment=environment)


class LocalFaults:
    """Injects and heals on hosts of one driver."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock
        self._hands = LocalHands()
        self._own: dict[str, tuple[Callable[[LabHost, dict[str, str]], Fault], Callable[[LabHost, Fault], None]]] = {
            "partition": (self._freeze, self._thaw),
            "drop": (self._freeze, self._thaw),
            "reject": (self._shut, self._open),
            "delay": (self._divert, self._undivert),
            "reset": (self._divert, self._undivert),
            "truncate": (self._divert, self._undivert),
            "sshd-stop": (self._stop_sshd, self._open),
            "power-cut": (self._power_cut, self._power_on),
            "reboot": (self._reboot, self._nothing),
            "host-key": (self._new_key, self._old_key),
        }

    def inject(self, host: LabHost, kind: str, settings: Settings) -> Fault:
        """See Driver."""
        given = dict(settings) | {"kind": kind}
        if reason := _REASONS.get(kind) or _port_reason(given):
            raise LabUnsupported(f"{kind}: {reason}", where=host.name, next="use the nspawn driver")
        fault = self._own[kind][0](host, given) if kind in self._own else COMMON[kind][0](self._hands, host, given)
        return msgspec.structs.replace(fault, kind=kind)

    def heal(self, host: LabHost, fault: Fault) -> None:
        """See Driver."""
        if fault.kind in self._own:
            self._own[fault.kind][1](host, fault)
        else:
            COMMON[fault.kind][1](self._hands, host, fault)

    # the way in

    def _freeze(self, host: LabHost, settings: dict[str, str]) -> Fault:
        """The kernel still takes connections for both doors, and nothing ever answers; open ones stand still."""
        if host.init is None or not processes.send(host.init, signal.SIGSTOP):
            raise LabError("its sshd does not run", where=host.name)
        return Fault(host.name, "")

    def _thaw(self, host: LabHost, fault: Fault) -> None:
        if host.init is not None:
            processes.send(host.init, signal.SIGCONT)

    def _shut(self, host: LabHost, settings: dict[str, str]) -> Fault:
        doors = DOORS if settings["port"] == "all" else (settings["port"],)
        for door in doors:
            self._order(host, door, None)
        return Fault(host.name, "", {"doors": " ".join(doors)})

    def _stop_sshd(self, host: LabHost, settings: dict[str, str]) -> Fault:
        return self._shut(host, {"port": "ssh"})

    def _open(self, host: LabHost, fault: Fault) -> None:
        for door in fault.detail["doors"].split():
            self._order(host, door, _front(host, door))

    def _divert(self, host: LabHost, settings: dict[str, str]) -> Fault:
        """The door moves aside, and our proxy takes its place."""
        door = settings["port"]
        front = _front(host, door)
        aside = (front[0], front[1] + 1)
        argv = proxy_argv(settings, front, aside)
        self._order(host, door, aside)
        try:
            proc = start_proxy(host, argv, settings["kind"], self._clock)
        except LabError:
            self._order(host, door, front)
            raise
        return Fault(host.name, "", {"doors": door}, (proc,))

    def _undivert(self, host: LabHost, fault: Fault) -> None:
        processes.end(fault.procs, self._clock, grace_s=1.0)
        self._open(host, fault)

    def _new_key(self, host: LabHost, settings: dict[str, str]) -> Fault:
        key = Path(_config(host).host_key)
        key.rename(key.with_name(key.name + _KEPT))
        make_key(key)
        self._order(host, "ssh", _front(host, "ssh"))
        return Fault(host.name, "")

    def _old_key(self, host: LabHost, fault: Fault) -> None:
        key = Path(_config(host).host_key)
        key.with_name(key.name + _KEPT).replace(key)
        key.with_name(key.name + ".pub").write_text(host.host_key + "\n")
        self._order(host, "ssh", _front(host, "ssh"))

    def _order(self, host: LabHost, door: str, listen: tuple[str, int] | None) -> None:
        try:
            answer = sshd.order(_config(host), door, listen)
        except OSError as error:
            raise LabError(f"its sshd does not obey: {error}", where=host.name, next=f"see {host.folder}/logs/sshd.log") from None
        if answer != "ok":
            raise LabError(f"its {door} port cannot be moved: {answer}", where=host.name)

    # power

    def _power_cut(self, host: LabHost, settings: dict[str, str]) -> Fault:
        self._driver.power_cut(host)
        return Fault(host.name, "")

    def _power_on(self, host: LabHost, fault: Fault) -> None:
        self._driver.boot(host)

    def _reboot(self, host: LabHost, settings: dict[str, str]) -> Fault:
        """Its service manager stops what it runs, as an orderly shutdown does."""
        if host.manager is not None:
            processes.end([host.manager], self._clock, grace_s=_SHUTDOWN_S)
        self._driver.power_cut(host)
        self._driver.boot(host)
        return Fault(host.name, "")

    def _nothing(self, host: LabHost, fault: Fault) -> None:
        """It is over by itself."""


def _port_reason(settings: Mapping[str, str]) -> str | None:
    """What loopback cannot do to one port alone."""
    port, kind = settings.get("port"), settings["kind"]
    if kind == "drop" and port != "all":
        return "packets to one port cannot be dropped here: say port=all"
    if kind in ("delay", "reset", "truncate") and port == "all":
        return "one port at a time: say port=ssh or port=control"
    return None


def _front(host: LabHost, door: str) -> tuple[str, int]:
    """Where the fleet file says the door is."""
    return host.address, host.port if door == "ssh" else host.control_port


def _config(host: LabHost) -> config.LocalHost:
    return config.load(Path(host.folder) / CONFIG_NAME)


def _manager(host: LabHost) -> Manager:
    return Manager(host.name, _config(host).supervisor_socket)
