"""Brings nspawn hosts up side by side and takes them down by what the state file says."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from tradeops.base.clock import Clock
from tradeops.lab import processes
from tradeops.lab.driver import Progress, Settings, Wish, host_name
from tradeops.lab.errors import LabError, LabUnsupported
from tradeops.lab.nspawn import cgroups, image, network
from tradeops.lab.nspawn import host as one
from tradeops.lab.nspawn.faults import NspawnFaults
from tradeops.lab.state import SCHEMA, Fault, LabHost, LabState, StateFile, new_id
from tradeops.lab.tools import missing
from tradeops.lab.waiting import wait_for_ssh

TOOLS = ("debootstrap", "systemd-nspawn", "ip", "nft", "tc", "nsenter", "mkfs.ext4", "mount", "umount", "losetup")
SSH_PORT = 22
CONTROL_PORT = 8443
ROOT = "/opt/tradeops"
_SSHD_S = 30.0
_GONE_S = 5.0
_INOTIFY, _INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances"), 1024


def why_not() -> str | None:
    """Why this machine cannot run nspawn hosts; None when it can."""
    if os.geteuid() != 0:
        return "the nspawn driver needs root"
    if absent := missing(TOOLS):
        return f"not on this machine: {', '.join(absent)}"
    return None


def _make_room(progress: Progress) -> None:
    """Every systemd holds some of the inotify instances that one user may have: 128 on Debian, not enough for twenty hosts."""
    have = int(_INOTIFY.read_text())
    if have < _INOTIFY_INSTANCES:
        _INOTIFY.write_text(str(_INOTIFY_INSTANCES))
        progress(f"fs.inotify.max_user_instances raised from {have} to {_INOTIFY_INSTANCES} until this machine restarts")


class NspawnDriver:
    """Hosts with real systemd and sshd."""

    name = "nspawn"

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._state = StateFile(folder)
        self._clock = clock

    def up(self, wish: Wish, progress: Progress) -> LabState:
        """See Driver. Raises LabUnsupported where the machine cannot, LabError where it fails; then nothing is left."""
        if reason := why_not():
            raise LabUnsupported(reason, next="use --driver local")
        if not 1 <= wish.hosts <= network.HOSTS_MAX:
            raise LabUnsupported(f"{wish.hosts} hosts: the nspawn driver makes 1 to {network.HOSTS_MAX}")
        base = image.ensure(progress)
        _make_room(progress)
        with network.choosing():
            state = _plan(wish, network.choose(wish.network or network.DEFAULT_RANGE))
            self._state.create(state)
            try:
                network.make_bridge(state)
            except LabError:
                self.down(progress)
                raise
        try:
            return self._make_hosts(state, base, wish.admin_key, progress)
        except (LabError, OSError):
            self.down(progress)
            raise

    def _make_hosts(self, state: LabState, base: Path, admin_key: str, progress: Progress) -> LabState:
        progress(f"making {len(state.hosts)} hosts on {state.network}")
        network.connect(state)
        environment = state.environment()

        def make(host: LabHost) -> None:
            one.make_disk(host, base, environment)
            key = one.give_identity(host, state.hosts, admin_key)
            booted = msgspec.structs.replace(one.boot(host, self._clock, environment), host_key=key)
            self._state.update(lambda now: now.with_host(booted))
            wait_for_ssh(host.name, host.address, host.port, self._clock, within_s=_SSHD_S)
            progress(f"{host.name} answers on {host.address}")

        _each(state.hosts, make)
        return self._state.read()

    def down(self, progress: Progress) -> None:
        """See Driver."""
        state = self._state.read()
        self._end_marked(state)

        def remove(host: LabHost) -> None:
            one.power_cut(host, self._clock)
            one.remove_disk(host, self._clock)

        _each(state.hosts, remove)
        network.remove(state.hosts, state.bridge)
        progress(f"{len(state.hosts)} hosts are gone")
        self._state.remove()

    def _end_marked(self, state: LabState) -> None:
        """Keepers, and tools that outlived a killed operator: they would go on making what we take away."""
        left = processes.marked([state.mark])
        for proc in left:
            processes.send(proc, signal.SIGKILL)
        processes.wait_gone(left, self._clock, _GONE_S)

    def boot(self, host: LabHost) -> LabHost:
        """See Driver."""
        network.cable(host, up=True)
        booted = one.boot(host, self._clock, self._state.read().environment())
        self._state.update(lambda now: now.with_host(booted))
        wait_for_ssh(host.name, host.address, host.port, self._clock, within_s=_SSHD_S)
        return booted

    def power_cut(self, host: LabHost) -> None:
        """See Driver. The cable goes dead with it: a host without power does not refuse, it is silent."""
        network.cable(host, up=False)
        one.power_cut(host, self._clock)

    def inject(self, host: LabHost, kind: str, settings: Settings) -> Fault:
        """See Driver."""
        return NspawnFaults(self, self._clock).inject(host, kind, settings)

    def heal(self, host: LabHost, fault: Fault) -> None:
        """See Driver."""
        NspawnFaults(self, self._clock).heal(host, fault)


def _plan(wish: Wish, chosen: str) -> LabState:
    """All names and addresses, before anything is made."""
    lab = new_id()
    folder = wish.folder.absolute()

    def host(index: int) -> LabHost:
        name = host_name(index)
        own = folder / "hosts" / name
        return LabHost(
            name=name,
            address=network.host_address(chosen, index),
            port=SSH_PORT,
            control_port=CONTROL_PORT,
            host_key="",
            root=ROOT,
            folder=str(own),
            admin_user="root",
            interpreter="/usr/bin/python3",
            service_manager="systemd",
            mac=network.mac(lab, index),
            netns=network.netns_name(lab, name),
            veth=network.veth_name(lab, index),
            cgroups=cgroups.paths(lab, name),
            mounts=(str(own / "disk"), str(own / "tree")),
        )

    hosts = tuple(host(index) for index in range(1, wish.hosts + 1))
    return LabState(SCHEMA, lab, NspawnDriver.name, str(folder), chosen, network.bridge_name(lab), network.gateway(chosen), hosts)


def _each(hosts: Sequence[LabHost], act: Callable[[LabHost], None]) -> None:
    """On all side by side; every one ends, then the first error is raised."""
    with ThreadPoolExecutor(max_workers=max(1, min(16, len(hosts)))) as pool:
        futures = [pool.submit(act, host) for host in hosts]
    for future in futures:
        future.result()
