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
from tradeops.lab.hands import COMMON, host_file
from tradeops.lab.keys import make_key
from tradeops.lab.local import config, sshd
from tradeops.lab.local.manager import Manager
from tradeops.lab.mischief import proxy_argv, start_proxy
from tradeops.lab.state import Fault, LabHost
from tradeops.lab.waiting import wait_for_ssh

CONFIG_NAME = "host.json"
_KEPT = ".before-fault"
_PROXIED_PORT = 2223
_SSHD_S = 10.0

_REASONS = {
    "loss": "local hosts share the machine's loopback: no packet can be lost for one of them alone",
    "slow": "local hosts share the machine's loopback; `delay` holds streams back",
    "disk-full": "local hosts share the machine's disk",
    "read-only": "local hosts share the machine's disk",
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
            "partition": (self._silence, self._unsilence),
            "drop": (self._freeze, self._thaw),
            "reject": (self._shut, self._open),
            "delay": (self._divert, self._undivert),
            "reset": (self._divert, self._undivert),
            "truncate": (self._divert, self._undivert),
            "sshd-freeze": (self._freeze, self._thaw),
            "sshd-stop": (self._shut, self._open),
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

    # sshd and guard

    def _silence(self, host: LabHost, settings: dict[str, str]) -> Fault:
        """Nothing of the host answers. Without a cable to cut its guard must stand still, so that its trader soon pauses."""
        fault = self._freeze(host, settings)
        if config.enrolled(Path(host.root)) and self._hands.unit_pid(host, unit := host_file(self._hands, host).guard_unit):
            self._hands.signal_unit(host, unit, signal.SIGSTOP)
            return msgspec.structs.replace(fault, detail={"guard": unit})
        return fault

    def _unsilence(self, host: LabHost, fault: Fault) -> None:
        if unit := fault.detail.get("guard"):
            self._hands.signal_unit(host, unit, signal.SIGCONT)
        self._thaw(host, fault)

    def _freeze(self, host: LabHost, settings: dict[str, str]) -> Fault:
        """The kernel still takes connections for it, and nothing ever answers."""
        if host.init is None or not processes.send(host.init, signal.SIGSTOP):
            raise LabError("its sshd does not run", where=host.name)
        return Fault(host.name, "")

    def _thaw(self, host: LabHost, fault: Fault) -> None:
        if host.init is not None:
            processes.send(host.init, signal.SIGCONT)

    def _shut(self, host: LabHost, settings: dict[str, str]) -> Fault:
        self._order(host, None)
        return Fault(host.name, "")

    def _open(self, host: LabHost, fault: Fault) -> None:
        self._order(host, (host.address, host.port))

    def _divert(self, host: LabHost, settings: dict[str, str]) -> Fault:
        """sshd moves aside, and our proxy takes its place."""
        aside = (host.address, _PROXIED_PORT)
        argv = proxy_argv(settings, (host.address, host.port), aside)
        self._order(host, aside)
        try:
            proc = start_proxy(host, argv, settings["kind"], self._clock)
        except LabError:
            self._order(host, (host.address, host.port))
            raise
        return Fault(host.name, "", procs=(proc,))

    def _undivert(self, host: LabHost, fault: Fault) -> None:
        processes.end(fault.procs, self._clock, grace_s=1.0)
        self._order(host, (host.address, host.port))

    def _new_key(self, host: LabHost, settings: dict[str, str]) -> Fault:
        key = Path(_config(host).host_key)
        key.rename(key.with_name(key.name + _KEPT))
        make_key(key)
        self._order(host, (host.address, host.port))
        return Fault(host.name, "")

    def _old_key(self, host: LabHost, fault: Fault) -> None:
        key = Path(_config(host).host_key)
        key.with_name(key.name + _KEPT).replace(key)
        key.with_name(key.name + ".pub").write_text(host.host_key + "\n")
        self._order(host, (host.address, host.port))

    def _order(self, host: LabHost, listen: tuple[str, int] | None) -> None:
        try:
            answer = sshd.order(_config(host), listen)
        except OSError as error:
            raise LabError(f"its sshd does not obey: {error}", where=host.name, next=f"see {host.folder}/logs/sshd.log") from None
        if answer != "ok":
            raise LabError(f"its sshd cannot listen: {answer}", where=host.name)
        if listen is not None:
            wait_for_ssh(host.name, *listen, self._clock, within_s=_SSHD_S)

    # power

    def _power_cut(self, host: LabHost, settings: dict[str, str]) -> Fault:
        self._driver.power_cut(host)
        return Fault(host.name, "")

    def _power_on(self, host: LabHost, fault: Fault) -> None:
        self._driver.boot(host)

    def _reboot(self, host: LabHost, settings: dict[str, str]) -> Fault:
        self._driver.power_cut(host)
        self._driver.boot(host)
        return Fault(host.name, "")

    def _nothing(self, host: LabHost, fault: Fault) -> None:
        """It is over by itself."""


def _port_reason(settings: Mapping[str, str]) -> str | None:
    """The guard listens for itself: nothing stands between it and the operator."""
    return "only its SSH port can be reached: say port=ssh" if settings.get("port", "ssh") != "ssh" else None


def _config(host: LabHost) -> config.LocalHost:
    return config.load(Path(host.folder) / CONFIG_NAME)


def _manager(host: LabHost) -> Manager:
    return Manager(host.name, _config(host).supervisor_socket)
