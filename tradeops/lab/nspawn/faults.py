"""Faults of nspawn hosts: in the cable, in sshd, on the disk, in power; the rest is hands.COMMON."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable

import msgspec

from tradeops.base.clock import NS_PER_S, Clock
from tradeops.lab import processes
from tradeops.lab.driver import Driver, Settings
from tradeops.lab.errors import LabError, LabUnsupported
from tradeops.lab.hands import COMMON
from tradeops.lab.keys import make_key
from tradeops.lab.kinds import number
from tradeops.lab.mischief import proxy_argv, start_proxy
from tradeops.lab.nspawn import host as one
from tradeops.lab.nspawn import network
from tradeops.lab.nspawn.hands import NspawnHands
from tradeops.lab.state import Fault, LabHost
from tradeops.lab.tools import run
from tradeops.lab.waiting import wait_for_ssh

_SSHD = "ssh.service"
_KEY = "/etc/ssh/ssh_host_ed25519_key"
_KEPT = ".before-fault"
_PROXY_OFFSET = 40000
_BALLAST = "ballast"
_REBOOT_S = 60.0
_POLL_S = 0.02


class NspawnFaults:
    """Injects and heals on hosts of one driver."""

    def __init__(self, driver: Driver, clock: Clock) -> None:
        self._driver = driver
        self._clock = clock
        self._hands = NspawnHands(clock)
        self._own: dict[str, tuple[Callable[[LabHost, dict[str, str]], Fault], Callable[[LabHost, Fault], None]]] = {
            "partition": (self._cut, self._mend),
            "drop": (self._nft(lambda host, settings: f"{_ports(host, settings)} drop"), self._forget_table),
            "reject": (self._nft(lambda host, settings: f"{_ports(host, settings)} reject with tcp reset"), self._forget_table),
            "loss": (self._lose, self._forget_table),
            "slow": (self._slow, self._unslow),
            "delay": (self._divert, self._undivert),
            "reset": (self._divert, self._undivert),
            "truncate": (self._divert, self._undivert),
            "sshd-freeze": (self._sshd("kill", "--signal=SIGSTOP", "--kill-whom=all"), self._thaw_sshd),
            "sshd-stop": (self._sshd("stop"), self._start_sshd),
            "disk-full": (self._fill, self._empty),
            "read-only": (self._protect, self._unprotect),
            "power-cut": (self._power_cut, self._power_on),
            "reboot": (self._reboot, self._nothing),
            "host-key": (self._new_key, self._old_key),
        }

    def inject(self, host: LabHost, kind: str, settings: Settings) -> Fault:
        """See Driver."""
        given = dict(settings) | {"kind": kind}
        if kind in self._own:
            fault = self._own[kind][0](host, given)
        elif kind in COMMON:
            fault = COMMON[kind][0](self._hands, host, given)
        else:
            raise LabUnsupported(f"the nspawn driver cannot do {kind}", where=host.name)
        return msgspec.structs.replace(fault, kind=kind)

    def heal(self, host: LabHost, fault: Fault) -> None:
        """See Driver."""
        if fault.kind in self._own:
            self._own[fault.kind][1](host, fault)
        else:
            COMMON[fault.kind][1](self._hands, host, fault)

    # the cable

    def _cut(self, host: LabHost, settings: dict[str, str]) -> Fault:
        network.cable(host, up=False)
        return Fault(host.name, "")

    def _mend(self, host: LabHost, fault: Fault) -> None:
        network.cable(host, up=True)

    def _nft(self, rule: Callable[[LabHost, dict[str, str]], str]) -> Callable[[LabHost, dict[str, str]], Fault]:
        def inject(host: LabHost, settings: dict[str, str]) -> Fault:
            return self._table(host, settings["kind"], f"chain in {{ type filter hook input priority -10; {rule(host, settings)}; }}")

        return inject

    def _lose(self, host: LabHost, settings: dict[str, str]) -> Fault:
        rule = f"numgen random mod 100 < {number(settings, 'percent', 1, 100)} drop;"
        arriving = f"chain in {{ type filter hook input priority -10; iifname != lo {rule} }}"
        leaving = f"chain out {{ type filter hook output priority -10; oifname != lo {rule} }}"
        return self._table(host, "loss", f"{arriving}\n{leaving}")

    def _table(self, host: LabHost, kind: str, chains: str) -> Fault:
        """A table of its own in the host's network namespace: it goes with the namespace, whatever happens to us."""
        name = f"{host.veth.replace('-', '_')}_{kind}"
        _in_net(host, ["nft", "-f", "-"], text=f"table inet {name} {{\n{chains}\n}}\n")
        return Fault(host.name, "", {"table": name})

    def _forget_table(self, host: LabHost, fault: Fault) -> None:
        _in_net(host, ["nft", "delete", "table", "inet", fault.detail["table"]])

    def _slow(self, host: LabHost, settings: dict[str, str]) -> Fault:
        bucket = ["root", "tbf", "rate", f"{number(settings, 'kbit', 8, 1_000_000)}kbit", "burst", "16kb", "latency", "400ms"]
        run(["tc", "qdisc", "replace", "dev", host.veth, *bucket], where=host.name)
        _in_net(host, ["tc", "qdisc", "replace", "dev", "eth0", *bucket])
        return Fault(host.name, "")

    def _unslow(self, host: LabHost, fault: Fault) -> None:
        run(["tc", "qdisc", "del", "dev", host.veth, "root"], where=host.name)
        _in_net(host, ["tc", "qdisc", "del", "dev", "eth0", "root"])

    def _divert(self, host: LabHost, settings: dict[str, str]) -> Fault:
        """New connections to the port go through a proxy of ours, which runs in the host's network namespace."""
        port = {"ssh": host.port, "control": host.control_port}.get(settings["port"])
        if port is None:
            raise LabUnsupported(f"{settings['kind']} takes one port: ssh or control", where=host.name)
        listen = (host.address, _PROXY_OFFSET + port)
        argv = ["nsenter", f"--net=/run/netns/{host.netns}", *proxy_argv(settings, listen, (host.address, port))]
        proc = start_proxy(host, argv, settings["kind"], self._clock)
        chains = f"chain pre {{ type nat hook prerouting priority -100; tcp dport {port} redirect to :{listen[1]}; }}"
        try:
            fault = self._table(host, settings["kind"], chains)
        except LabError:
            processes.send(proc, signal.SIGKILL)
            raise
        return msgspec.structs.replace(fault, procs=(proc,))

    def _undivert(self, host: LabHost, fault: Fault) -> None:
        self._forget_table(host, fault)
        processes.end(fault.procs, self._clock, grace_s=1.0)

    # sshd

    def _sshd(self, *words: str) -> Callable[[LabHost, dict[str, str]], Fault]:
        def inject(host: LabHost, settings: dict[str, str]) -> Fault:
            one.enter(host, ["systemctl", *words, _SSHD])
            return Fault(host.name, "")

        return inject

    def _thaw_sshd(self, host: LabHost, fault: Fault) -> None:
        one.enter(host, ["systemctl", "kill", "--signal=SIGCONT", "--kill-whom=all", _SSHD])

    def _start_sshd(self, host: LabHost, fault: Fault) -> None:
        one.enter(host, ["systemctl", "start", _SSHD])
        self._wait_for_ssh(host)

    def _new_key(self, host: LabHost, settings: dict[str, str]) -> Fault:
        key = one.inside(host, _KEY)
        key.rename(key.with_name(key.name + _KEPT))
        make_key(key)
        self._restart_sshd(host)
        return Fault(host.name, "")

    def _old_key(self, host: LabHost, fault: Fault) -> None:
        key = one.inside(host, _KEY)
        key.with_name(key.name + _KEPT).replace(key)
        key.with_name(key.name + ".pub").write_text(host.host_key + "\n")
        self._restart_sshd(host)

    def _restart_sshd(self, host: LabHost) -> None:
        one.enter(host, ["systemctl", "restart", _SSHD])
        self._wait_for_ssh(host)

    def _wait_for_ssh(self, host: LabHost) -> None:
        wait_for_ssh(host.name, host.address, host.port, self._clock, within_s=_REBOOT_S)

    # the disk

    def _fill(self, host: LabHost, settings: dict[str, str]) -> Fault:
        """One file takes every block that is left."""
        with (one.disk(host) / _BALLAST).open("wb") as file:
            for piece in (1 << 30, 64 << 20, 1 << 20, 64 << 10, 4 << 10):
                _grow(file.fileno(), piece)
        return Fault(host.name, "")

    def _empty(self, host: LabHost, fault: Fault) -> None:
        (one.disk(host) / _BALLAST).unlink(missing_ok=True)

    def _protect(self, host: LabHost, settings: dict[str, str]) -> Fault:
        """A read-only mount over the root of tradeops: what is open for writing stays so, as after a remount in an emergency."""
        one.enter(host, ["mount", "--bind", host.root, host.root])
        one.enter(host, ["mount", "-o", "remount,bind,ro", host.root])
        return Fault(host.name, "")

    def _unprotect(self, host: LabHost, fault: Fault) -> None:
        one.enter(host, ["umount", "--lazy", host.root])

    # power

    def _power_cut(self, host: LabHost, settings: dict[str, str]) -> Fault:
        self._driver.power_cut(host)
        return Fault(host.name, "")

    def _power_on(self, host: LabHost, fault: Fault) -> None:
        self._driver.boot(host)

    def _reboot(self, host: LabHost, settings: dict[str, str]) -> Fault:
        before = one.leader(host)
        one.enter(host, ["systemctl", "--no-block", "reboot"])
        deadline = self._clock.monotonic_ns() + int(_REBOOT_S * NS_PER_S)
        while one.leader(host) in (before, None):
            if self._clock.monotonic_ns() > deadline:
                raise LabError(f"does not come back within {_REBOOT_S:g} s", where=host.name, next=f"see {host.folder}/console.log")
            self._clock.sleep_s(_POLL_S)
        self._wait_for_ssh(host)
        return Fault(host.name, "")

    def _nothing(self, host: LabHost, fault: Fault) -> None:
        """It is over by itself."""


def _ports(host: LabHost, settings: dict[str, str]) -> str:
    both = {"ssh": [host.port], "control": [host.control_port], "all": [host.port, host.control_port]}
    return f"tcp dport {{ {', '.join(str(port) for port in both[settings['port']])} }}"


def _in_net(host: LabHost, argv: list[str], text: str | None = None) -> None:
    """Run one of the machine's own tools in the host's network namespace."""
    run(["nsenter", f"--net=/run/netns/{host.netns}", "--", *argv], text=text, where=host.name)


def _grow(handle: int, piece: int) -> None:
    while True:
        try:
            os.posix_fallocate(handle, os.fstat(handle).st_size, piece)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return
